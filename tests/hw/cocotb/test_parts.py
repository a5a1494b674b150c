"""Parts of the core under cocotb: every stream is kept waiting at random."""

import json

import pytest
from vtakit.isa.config import Config

from .design_parts import parts
from .designs import CORES
from .simulation import built, run

each_bench = pytest.mark.parametrize(
    "bench",
    [f"bench_{name}" for name in ("parts", "registers", "fetch", "memory", "load", "store")],
)


def run_parts(config: Config, bench: str, seed: int) -> None:
    """Run a bench on the parts of a machine."""
    document = config.to_json()
    design = built(f"parts {json.dumps(document)}", lambda: parts(config))
    run(design, bench, seed, config=document)


@each_bench
def test_parts(bench: str) -> None:
    run_parts(CORES["tiny-64"], bench, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
@pytest.mark.parametrize("name", CORES)
@each_bench
def test_parts_of_each_machine_with_other_seeds(bench: str, name: str, seed: int) -> None:
    run_parts(CORES[name], bench, seed)
