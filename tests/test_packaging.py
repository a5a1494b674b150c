"""What is installed: pyproject.toml against the tree, and wheels and source archives that work."""

import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = [path.parent.name for path in sorted(ROOT.glob("*/py.typed"))]


def test_packages_lists_every_folder_of_modules() -> None:
    found = {
        ".".join(("vtakit", *path.parent.relative_to(ROOT).parts))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
    }
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == found


def test_every_top_folder_is_mapped_and_linked() -> None:
    mapped = PYPROJECT["tool"]["setuptools"]["package-dir"]
    assert mapped == {f"vtakit.{folder}": folder for folder in FOLDERS}
    links = ROOT / "tests" / ".root" / "vtakit"
    assert {link.name for link in links.iterdir()} == set(FOLDERS)
    for folder in FOLDERS:
        assert (links / folder).resolve() == ROOT / folder


def test_every_folder_of_modules_has_its_init() -> None:
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), path.parent


def test_the_checker_looks_at_every_folder() -> None:
    assert set(FOLDERS) <= set(PYPROJECT["tool"]["pyright"]["include"])


def test_the_command_exists() -> None:
    module, _, function = PYPROJECT["project"]["scripts"]["vtakit"].partition(":")
    assert callable(getattr(import_module(module), function))


def test_the_license_is_the_one_declared() -> None:
    assert PYPROJECT["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def installed_files() -> set[str]:
    """Return the files that belong into an installation, under vtakit/."""
    files = (
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".md", ".cpp", ".h") or path.name == "py.typed"
    )
    return {f"vtakit/{path.relative_to(ROOT)}" for path in files}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made from a source archive, which is made from a copy of the tree."""
    pytest.importorskip("build", reason="needs the package build: pip install build")
    tree = tmp_path_factory.mktemp("tree")
    for name in (*FOLDERS, "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tree / name)
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(out), str(tree)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert len(list(out.glob("vtakit-*.tar.gz"))) == 1
    (found,) = out.glob("vtakit-*.whl")
    return found


@pytest.mark.slow
def test_the_wheel_holds_every_file_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert names == installed_files()
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in archive.namelist())


@pytest.mark.slow
def test_the_wheel_works_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    """Its dependencies are those of the Python that runs the tests."""
    home = tmp_path / "env"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True)
    libraries = [entry for entry in sys.path if entry.endswith("site-packages")]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(libraries)}

    def run(*command: str) -> str:
        return subprocess.run(
            [home / "bin" / "vtakit", *command],
            cwd=tmp_path,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert "replay" in run("--help")
    (tmp_path / "nothing.s").write_text("FINISH\n")
    run("asm", "nothing.s")
    assert "FINISH ; 0" in run("disasm", "nothing.npz")
    run("replay", "nothing.npz")
    code = "import vtakit.isa.config as c; print(c.__file__)"
    where = subprocess.run(
        [python, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True
    )
    assert Path(where.stdout.decode().strip()).is_relative_to(home)
