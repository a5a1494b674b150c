"""Imports run one way: the table of LAYERS, held against every import of every file."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS: dict[str, set[str]] = {
    "isa": set(),
    "hw": {"isa"},
    "sim": {"isa"},
    "runtime": {"isa", "sim"},
    "compiler": {"isa", "sim", "runtime"},
    "bitstreams": {"isa", "hw"},
    "cli": {"isa", "hw", "sim", "runtime", "compiler", "bitstreams"},
}
"""What each folder may import of the others."""

LIBRARIES: dict[str, set[str]] = {
    "isa": {"numpy"},
    "hw": {"amaranth"},
    "sim": {"numpy", "numba", "llvmlite"},
    "runtime": {"numpy", "llvmlite", "cuda", "serial"},  # cuda.bindings, pyserial
    "compiler": {"numpy", "numba", "llvmlite", "onnx", "google"},  # google.protobuf, onnx's
    "bitstreams": {"amaranth", "amaranth_boards"},
    "cli": {"numpy", "llvmlite", "onnx", "onnxruntime", "openvino", "typer", "rich"},
}
"""What each folder may import from outside, besides the standard library."""

FOLDERS = [name for name in LAYERS if (ROOT / name).is_dir()]
FILES = [path for name in FOLDERS for path in sorted((ROOT / name).rglob("*.py"))]
each_file = pytest.mark.parametrize(
    "path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES]
)


def module_of(path: Path) -> tuple[str, ...]:
    """Return the dotted name of a file, under vtakit, as its parts."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports(path: Path, tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """Give what a tree imports: ('.', 'isa', 'config') of ours, ('numpy', 'typing') of others."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path)[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            name = tuple(node.module.split(".")) if node.module else ()
            if not node.level:
                yield name
                continue
            up = len(package) + 1 - node.level
            assert up >= 0, f"{path}:{node.lineno} climbs out of vtakit"
            base = (*package[:up], *name)
            if node.module:
                yield (".", *base)
            else:
                for alias in node.names:
                    yield (".", *base, alias.name)


def at_import(tree: ast.Module) -> ast.Module:
    """Return the part of a module that runs when it is imported."""

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            checking = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
            return None if checking else self.generic_visit(node)

    return Strip().visit(tree)


@each_file
def test_a_folder_imports_only_what_the_table_allows(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    for name in imports(path, ast.parse(path.read_text())):
        assert name[0] != "vtakit", f"{path}: import {'.'.join(name)} relatively"
        if name[0] == ".":
            if len(name) > 1:
                assert name[1] in LAYERS[folder] | {folder}, f"{path} imports {name[1]}"
        else:
            allowed = sys.stdlib_module_names | LIBRARIES[folder]
            assert name[0] in allowed, f"{path} imports {name[0]}"


@each_file
def test_no_file_imports_a_star(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names), f"{path}:{node.lineno}"


def test_no_module_imports_itself_in_a_circle() -> None:
    modules = {module_of(path): path for path in FILES}
    graph: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for name, path in modules.items():
        tree = at_import(ast.parse(path.read_text()))
        graph[name] = {other[1:] for other in imports(path, tree) if other[1:] in modules}
    done: set[tuple[str, ...]] = set()

    def visit(name: tuple[str, ...], trail: list[tuple[str, ...]]) -> None:
        circle = [".".join(step) for step in trail[trail.index(name) :]] if name in trail else []
        assert not circle, " imports ".join([*circle, circle[0]])
        if name not in done:
            for other in graph[name]:
                visit(other, [*trail, name])
            done.add(name)

    for name in graph:
        visit(name, [])


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "__init__.py"], ids=str)
def test_a_folders_init_is_its_page_in_the_manual_and_nothing_else(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


def modules_of(folder: str) -> list[str]:
    return [
        ".".join(("vtakit", *module_of(path)))
        for path in FILES
        if path.is_relative_to(ROOT / folder) and path.name != "__main__.py"
    ]


def loaded_by(modules: list[str]) -> set[str]:
    """Return the libraries that a Python has loaded once it has imported these modules."""
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "tests" / ".root"), "PATH": ""},
    )
    return set(found.stdout.split())


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        (modules_of("isa"), {"numba", "llvmlite", "onnx", "typer", "rich"}),
        (modules_of("sim"), {"onnx", "onnxruntime", "typer", "rich", "cuda"}),
        (modules_of("runtime"), {"onnx", "onnxruntime", "typer", "rich", "cuda"}),
        (
            [name for name in modules_of("runtime/native") if not name.endswith(".team_ir")],
            {"numba", "llvmlite"},
        ),
        (modules_of("compiler"), {"onnx", "onnxruntime", "typer", "rich", "cuda"}),
        (modules_of("cli"), {"numba", "llvmlite", "onnx", "onnxruntime", "openvino", "cuda"}),
        (["vtakit.cli.main"], {"numba", "llvmlite", "onnx", "onnxruntime", "numpy"}),
    ],
    ids=["isa", "sim", "runtime", "runtime.native", "compiler", "cli", "vtakit --help"],
)
def test_importing_a_layer_does_not_load_what_it_may_not_need(
    modules: list[str], unwanted: set[str]
) -> None:
    assert not loaded_by(modules) & unwanted
