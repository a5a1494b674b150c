"""ONNX products of matrices in our operators."""

import numpy as np

from ..graph import Value
from ..ops.elementwise import Add, Mul
from ..ops.linear import Dense, MatMul
from ..ops.reduce import Reduce
from ..ops.shape import Transpose
from .onnx_node import OnnxNode


def gemm(node: OnnxNode) -> Value:
    """alpha * A * B + beta * C, either matrix maybe transposed."""
    a, b = node.value(0), node.value(1)
    node.floats(a, b)
    if node.attribute("transA", 0):
        a = node.emit(Transpose((1, 0)), a)
    if not node.attribute("transB", 0):
        b = node.emit(Transpose((1, 0)), b)
    out = node.emit(Dense(), a, b)
    alpha, beta = float(node.attribute("alpha", 1.0)), float(node.attribute("beta", 1.0))
    if alpha != 1:
        out = node.emit(Mul(), out, node.scalar(alpha, out))
    c = node.optional(2)
    if c is None:
        return out
    if beta != 1:
        c = node.emit(Mul(), c, node.scalar(beta, c))
    return node.emit(Add(), out, c)


def matmul(node: OnnxNode) -> Value:
    """Product of matrices; with a matrix on the right it is a dense layer."""
    a, b = node.value(0), node.value(1)
    node.floats(a, b)
    if not a.shape or not b.shape:
        node.fail(f"{a.type} times {b.type}: scalars are not matrices")
    lead = a.shape[:-1]
    if len(b.shape) == 2:
        flat = node.reshape(a, (int(np.prod(lead)), a.shape[-1]))
        out = node.emit(Dense(), flat, node.emit(Transpose((1, 0)), b))
        return node.reshape(out, (*lead, b.shape[1]))
    left = node.reshape(a, (1, *a.shape)) if len(a.shape) == 1 else a
    right = node.reshape(b, (*b.shape, 1)) if len(b.shape) == 1 else b
    out = node.emit(MatMul(), left, right)
    shape = list(out.shape)
    if len(b.shape) == 1:
        del shape[-1]
    if len(a.shape) == 1:
        del shape[-1 if len(b.shape) == 1 else -2]
    return node.reshape(out, shape)


def einsum(node: OnnxNode) -> Value:
    """Sums of products of one or two tensors, each index at most once in a tensor."""
    equation = str(node.attribute("equation", "")).replace(" ", "")
    left, _, right = equation.partition("->")
    terms = left.split(",")
    values = [node.value(index) for index in range(len(node.inputs))]
    node.floats(*values)
    terms, right = _without_dots(node, terms, right, "->" in equation, values)
    fits = len(terms) == len(values) <= 2 and all(
        len(set(term)) == len(term) == len(value.shape)
        for term, value in zip(terms, values, strict=True)
    )
    if not fits:
        node.fail(
            f"equation {equation} is not supported; products of one or two tensors are, with no "
            f"index twice in one"
        )
    kept = set(right).union(*(set(term) for term in terms[1:]))
    first, a = _summed(node, terms[0], values[0], kept)
    if len(values) == 1:
        return _ordered(node, first, a, right)
    second, b = _summed(node, terms[1], values[1], set(right) | set(first))
    batch = [i for i in first if i in second and i in right]
    summed = [i for i in first if i in second and i not in right]
    rows = [i for i in first if i not in second]
    columns = [i for i in second if i not in first]
    extents = dict(zip([*second, *first], [*b.shape, *a.shape], strict=True))

    def flat(indices: list[str]) -> int:
        return int(np.prod([extents[index] for index in indices], dtype=np.int64))

    lead = [extents[index] for index in batch]
    a = _ordered(node, first, a, "".join([*batch, *rows, *summed]))
    b = _ordered(node, second, b, "".join([*batch, *summed, *columns]))
    a = node.reshape(a, (*lead, flat(rows), flat(summed)))
    b = node.reshape(b, (*lead, flat(summed), flat(columns)))
    out = node.emit(MatMul(), a, b)
    order = [*batch, *rows, *columns]
    out = node.reshape(out, [extents[index] for index in order])
    return _ordered(node, "".join(order), out, right)


def _without_dots(
    node: OnnxNode, terms: list[str], right: str, explicit: bool, values: list[Value]
) -> tuple[list[str], str]:
    """Return terms with indices in the place of dots, and the result's."""
    most = 0
    counts: list[int] = []
    for term, value in zip(terms, values, strict=False):
        counts.append(len(value.shape) - len(term.replace("...", "")) if "..." in term else 0)
        most = max(most, counts[-1])
    if most > 9 or min(counts, default=0) < 0:
        node.fail(f"equation {','.join(terms)} does not fit its inputs")
    digits = "0123456789"[:most]
    terms = [
        term.replace("...", digits[most - count :])
        for term, count in zip(terms, counts, strict=False)
    ]
    if explicit:
        return terms, right.replace("...", digits)
    letters = "".join(terms)
    once = sorted(letter for letter in set(letters) - set(digits) if letters.count(letter) == 1)
    return terms, digits + "".join(once)


def _summed(node: OnnxNode, term: str, value: Value, kept: set[str]) -> tuple[str, Value]:
    axes = tuple(axis for axis, index in enumerate(term) if index not in kept)
    if not axes:
        return term, value
    left = "".join(index for index in term if index in kept)
    return left, node.emit(Reduce("sum", axes, False), value)


def _ordered(node: OnnxNode, term: str, value: Value, wanted: str) -> Value:
    if sorted(term) != sorted(wanted):
        node.fail(f"its result has the indices {wanted}, its inputs leave {term}")
    perm = tuple(term.index(index) for index in wanted)
    return value if perm == tuple(range(len(perm))) else node.emit(Transpose(perm), value)
