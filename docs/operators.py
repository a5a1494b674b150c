"""Writes operators.md: which node tests of the onnx package pass, operator by operator."""

import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
PAGE = HERE / "operators.md"
sys.path[:0] = [str(HERE.parent / "tests" / ".root"), str(HERE.parent / "tests" / "compiler")]

import onnx  # noqa: E402 (after the path)
from node_tests import CLAIMED, NodeTest, Unmet, node_tests, reference, run  # noqa: E402
from vtakit.compiler.importers.onnx_operators import MICROSOFT  # noqa: E402

HEAD = """\
# ONNX operators

Written by `python docs/operators.py`; tests/compiler/test_node_tests.py says when to run it again.

An operator's tests are the node tests of the onnx package, version {version}, all of them: a model
of one node, or of its ONNX function, with inputs and the outputs expected. One passes when the
model is read and the NumPy reference gives these outputs, within rtol 1e-3 and atol 1e-7. The same
tests pass as native code for the CPU (the slow tests hold that), and two of each operator as PTX
on an interpreter of it. Operators not listed are refused with one line that names the node, except
where all their inputs are constants: those are computed while the model is read, by the onnx
package.

**{passing} of {total} tests of {operators} operators pass ({percent:.1f} %).** Of the other
{failing}, {typed} are of types that there are none of here: strings, sequences, optional tensors.
Element types that NumPy has none of are held in wider ones: int4, uint4, int2 and uint2 in 8 bits;
bfloat16, the five of float8 and float4e2m1 in float32, with every result rounded to their numbers.

Inputs in *constants* have to be known when the model is read: initializers, or computed from shapes
and initializers. A type under *not passing* stands for tests that differ by it alone.

| operator | passing | of | constants | not passing |
|---|---:|---:|---|---|
"""

TAIL = """
Besides, as ONNX Runtime's quantizer writes them (QOperator), of the domain com.microsoft:
{microsoft}.
Each is read as DequantizeLinear, the layer in float32 and QuantizeLinear, so that both forms of a
quantized network become the same integers.

Operators with node tests that are not supported: {others}.
"""


def row(operator: str, tests: tuple[NodeTest, ...], folder: Path) -> tuple[str, int, int]:
    """Return an operator's line, how many tests pass, and how many do not for their types."""
    constants: dict[str, None] = {}
    typed: Counter[str] = Counter()
    other: Counter[str] = Counter()
    for test in tests:
        try:
            constants.update(dict.fromkeys(run(test, reference, folder)))
        except Unmet as reason:
            (typed if reason.type_only else other)[str(reason)] += 1
    failing = [f"{name} ({count})" if count > 1 else name for name, count in sorted(typed.items())]
    failing += [f"{count} x {reason}" for reason, count in sorted(other.items())]
    passing = len(tests) - typed.total() - other.total()
    names = ", ".join(sorted(constants))
    line = f"| {operator} | {passing} | {len(tests)} | {names} | {', '.join(failing)} |"
    return line, passing, typed.total()


def page() -> str:
    """Return the page as it has to be."""
    lines: list[str] = []
    passing = typed = 0
    tests = node_tests()
    with TemporaryDirectory() as folder:
        for operator in CLAIMED:
            line, passed, of_types = row(operator, tests[operator], Path(folder))
            lines.append(line)
            passing, typed = passing + passed, typed + of_types
    total = sum(len(tests[operator]) for operator in CLAIMED)
    others = sorted(set(tests) - set(CLAIMED))
    head = HEAD.format(
        version=onnx.__version__, passing=passing, total=total, operators=len(CLAIMED),
        failing=total - passing, typed=typed, percent=100 * passing / total,
    )  # fmt: skip
    tail = TAIL.format(microsoft=", ".join(sorted(MICROSOFT)), others=", ".join(others))
    return head + "\n".join(lines) + "\n" + tail


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"{PAGE.name} is written")
