"""docs/operators.md: the onnx package's tests of operators, on the reference and on LLVM."""

import importlib.util
import re
from pathlib import Path

import pytest
from vtakit.compiler.importers.onnx_operators import OPERATORS

from .node_tests import Engine, cases, on_llvm, on_numpy, outcome

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operators.md"


def test_the_page_of_operators_is_what_the_tests_give(tmp_path: Path) -> None:
    where = importlib.util.spec_from_file_location("operators_page", PAGE.with_suffix(".py"))
    assert where is not None
    assert where.loader is not None
    script = importlib.util.module_from_spec(where)
    where.loader.exec_module(script)
    found = list(script.outcomes(tmp_path))
    assert script.page(found) == PAGE.read_text(), "run python docs/operators.py"
    wrong = [one for one in found if one.problem.startswith("WRONG")]
    assert not wrong
    assert sum(not one.problem for one in found) > 600


def test_every_operator_is_in_the_page() -> None:
    text = PAGE.read_text()
    for name in OPERATORS:
        assert re.search(rf"\b{name}\b", text), name


@pytest.mark.parametrize("engine", [on_numpy, on_llvm])
def test_wrong_results_are_found_out(tmp_path: Path, engine: Engine) -> None:
    (case,) = (case for case in cases() if case.name == "test_add")
    assert outcome(case, tmp_path, lambda graph, inputs: engine(graph, inputs)).problem == ""
    more = outcome(case, tmp_path, lambda graph, inputs: {"sum": engine(graph, inputs)["sum"] + 1})
    assert more.problem == "WRONG: other numbers"
    less = outcome(case, tmp_path, lambda graph, inputs: {"sum": engine(graph, inputs)["sum"][0]})
    assert less.problem.startswith("WRONG: float32(4, 5), and not")
