"""Parts of the core under cocotb: every stream is kept waiting at random."""

import json
from pathlib import Path

import pytest
from vtakit.isa.config import Config

from .design_parts import parts
from .designs import CORES
from .simulation import built, run

each_bench = pytest.mark.parametrize(
    "bench",
    [f"bench_{name}" for name in ("parts", "registers", "fetch", "memory", "load", "store")],
)


def run_parts(config: Config, bench: str, folder: Path, seed: int) -> None:
    """Run a bench on the parts of a machine, in an empty folder."""
    document = config.to_json()
    design = built(f"parts {json.dumps(document)}", lambda: parts(config))
    run(design, bench, folder, seed, config=document)


@each_bench
def test_parts(bench: str, tmp_path: Path) -> None:
    run_parts(CORES["tiny-64"], bench, tmp_path, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
@pytest.mark.parametrize("name", CORES)
@each_bench
def test_parts_of_each_machine_with_other_seeds(
    bench: str, name: str, seed: int, tmp_path: Path
) -> None:
    run_parts(CORES[name], bench, tmp_path, seed)
