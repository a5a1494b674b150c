"""Write docs/operators.md, the ONNX operators that are imported: `python docs/operators.py`.

The tests are those of the onnx package; each is run by the NumPy reference and by code for this
CPU, and counts when both give the results that the test has.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / ".root"), str(ROOT / "tests" / "compiler")]

import onnx  # noqa: E402
from node_tests import Outcome, cases, on_llvm, outcome  # noqa: E402
from vtakit.compiler.importers.onnx_operators import OPERATORS  # noqa: E402
from vtakit.isa.files import replacing  # noqa: E402

PAGE = Path(__file__).with_suffix(".md")
LONGEST = 90

HEAD = """# ONNX operators

What of ONNX is imported, held against the tests of operators in the onnx package {version} (those
of operators written as functions of others left out). A test passes when the NumPy reference and
the code that LLVM makes for the CPU both give the results that it has. `python docs/operators.py`
writes this page.

{passed} of {total} tests pass of the {count} operators that are imported; the package has {others}
tests of operators that are not.

| operator | tests that pass | the others |
|---|---|---|
"""

FOOT = """
Imported too, but without tests in the package: {untested}.

Not imported, with tests in the package: {missing}.
"""


def page(found: Iterable[Outcome]) -> str:
    """Return the page that tells what became of the tests."""
    by_operator: dict[str, list[Outcome]] = {}
    for one in found:
        by_operator.setdefault(one.operator, []).append(one)
    known = sorted(name for name in by_operator if name in OPERATORS)
    missing = sorted(name for name in by_operator if name not in OPERATORS)
    every = [one for name in known for one in by_operator[name]]
    text = HEAD.format(
        version=onnx.__version__,
        passed=sum(not one.problem for one in every),
        total=len(every),
        count=len(known),
        others=sum(len(by_operator[name]) for name in missing),
    )
    for name in known:
        tests = by_operator[name]
        passed = sum(not one.problem for one in tests)
        text += f"| {name} | {passed} of {len(tests)} | {_reasons(tests)} |\n"
    untested = sorted(set(OPERATORS) - set(by_operator))
    return text + FOOT.format(missing=", ".join(missing), untested=", ".join(untested))


def _reasons(tests: Iterable[Outcome]) -> str:
    """Return the tests that do not pass, those of one reason together."""
    reasons: dict[str, list[str]] = {}
    for one in tests:
        if one.problem:
            reasons.setdefault(_short(one.problem), []).append(one.test)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())


def _short(problem: str) -> str:
    said = problem.partition("; ")[0].partition(", which is not supported")[0].replace("|", "/")
    return said if len(said) <= LONGEST else said[:LONGEST].rpartition(" ")[0] + " ..."


def outcomes(folder: Path) -> Iterator[Outcome]:
    """Run every test on both engines; what the reference does not pass tells why."""
    for case in cases():
        one = outcome(case, folder)
        yield one if one.problem else outcome(case, folder, on_llvm)


def main() -> None:
    """Run every test and write the page."""
    with TemporaryDirectory() as folder:
        found = list(outcomes(Path(folder)))
    with replacing(PAGE) as file:
        file.write(page(found).encode())
    print(f"{PAGE.name}: {sum(not one.problem for one in found)} of {len(found)} tests pass")


if __name__ == "__main__":
    main()
