"""Parts of the core under cocotb: every stream is kept waiting at random."""

from pathlib import Path

import pytest
from vtakit.isa.config import PRESETS

from .design_parts import parts as design
from .simulation import built, run

each_bench = pytest.mark.parametrize(
    "bench",
    [f"bench_{name}" for name in ("parts", "registers", "fetch", "memory", "load", "store")],
)


@pytest.fixture(scope="module")
def parts() -> Path:
    """The parts of the machine `tiny`."""
    return built("parts tiny", lambda: design(PRESETS["tiny"]))


@each_bench
def test_parts(parts: Path, bench: str) -> None:
    run(parts, bench, seed=1, config="tiny")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 8))
@each_bench
def test_parts_with_other_seeds(parts: Path, bench: str, seed: int) -> None:
    run(parts, bench, seed=seed, config="tiny")
