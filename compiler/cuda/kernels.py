"""From a group of operators to what a GPU runs for it."""

from dataclasses import replace

from ..bounds import whole
from ..cpu.bodies import on_blocks, row_by_row
from ..cpu.groups import Group, Plan
from ..cpu.images import Anchor, anchored
from ..cpu.kernels import Kernel
from ..cpu.operands import Array, Operands
from ..cpu.stored import Stored
from ..expr import Compute, Expr, Placeholder, Read, Tensor, compute, placeholder
from ..graph import Value
from ..loops import Block, Buffer, Program, transform
from ..lower import lower
from ..ops.linear import Conv2d, Dense
from ..schedule import Schedule
from ..tensorize import tensorize
from .anchors import multiplied, pixel, sums, whole_blocks
from .intrinsics import STEP
from .templates import dots, elements, matrix, rows, windows


def kernel(group: Group, made: Plan, constants: dict[Value, Array]) -> Kernel:
    """Return what computes a group: each statement of its program is one launch."""
    (result,) = group.results
    operands = Operands(made.before(group), constants)
    if not result.block:
        out = row_by_row(group, operands)
        operands.out(out, result)
        return _made(lower(rows(out)), operands)
    anchor, step = _anchor(group, made, operands, result)
    n, blocks, high, wide, block = result.inner

    def element(c: Expr, p: Expr, lane: Expr) -> Expr:
        number, y, x = pixel(p, result.inner)
        found = anchor
        if anchor is not None and step:
            found = replace(anchor, place=(c, p, lane))
        return on_blocks(group, found, operands, result)(number, c, y, x, lane)

    out = compute("out", (blocks, n * high * wide, block), element)
    image = placeholder("image", result.inner, out.element)
    operands.out(image, result)
    schedule = _scheduled(out, anchor, step)
    return _made(_on_images(lower(schedule), out, image, result), operands)


def _anchor(
    group: Group, made: Plan, operands: Operands, result: Stored
) -> tuple[Anchor | None, int]:
    """Return a group's sums, and how many are multiplied at a time where they are of products."""
    node = group.anchor
    if group not in made.data or node is None:
        return None, 0
    data = made.data[group]
    n, _, rows_, cols, _ = result.inner
    if isinstance(node.op, Conv2d | Dense):
        weights = operands.constants.get(node.inputs[1])
        if weights is not None and whole_blocks(node, weights, data):
            step = multiplied(data, n * rows_ * cols)
            return Anchor(sums(node, data, weights, operands, result.inner, step), "dot"), step
    return anchored(node, data, operands, result.inner), 0


def _scheduled(out: Compute, anchor: Anchor | None, step: int) -> Schedule:
    if anchor is None:
        return elements(out)
    if step == STEP:
        return matrix(out, anchor.acc)
    return dots(out, anchor.acc) if step else windows(out, anchor.acc)


def _on_images(program: Program, out: Compute, image: Placeholder, result: Stored) -> Program:
    """Let a result (CB, P, block) be written where its pixels lie in images."""
    buffers: dict[Tensor, Buffer] = {out: whole(image)}

    def written(block: Block) -> list[Block]:
        home = block.target.tensor
        if not isinstance(home, Buffer) or home.tensor is not out:
            return [block]
        c, p, lane = block.target.indices
        number, y, x = pixel(p, result.inner)
        return [replace(block, target=Read(buffers[out], (number, c, y, x, lane)))]

    tensors = tuple(buffers.get(buffer.tensor, buffer) for buffer in program.tensors)
    return Program(tensors, transform(program.body, written))


def _made(program: Program, operands: Operands) -> Kernel:
    program = tensorize(program, [], required=False)
    known = {**operands.views, **operands.arrays}
    scratch = [b.tensor for b in program.tensors if b.tensor not in known]
    return Kernel(program, operands.views, operands.arrays, scratch)
