"""The whole core under cocotb: results, errors and resets on a bus that waits; what was covered."""

import json
from pathlib import Path

import pytest
from vtakit.isa.config import Config
from vtakit.isa.program import Program

from ...sim.programs import RECORDED
from .coverage import CHANNELS, KINDS, PADS, PRESSURES, TOKENS, Coverage, pads_for
from .designs import CORES, LARGE_CORES, core
from .simulation import ROOT, run

REPORT = ROOT / "build" / "coverage"
SHORT = 200
"""Instructions that a recorded program may have here: more take minutes."""


def recorded(config: Config) -> list[str]:
    """Return recorded programs of the machine, but for its bus, queues and ports."""
    found: list[str] = []
    for path in RECORDED:
        program = Program.load(path)
        same = program.config.block_in, program.config.batch
        if same == (config.block_in, config.batch) and len(program.insns) <= SHORT:
            found.append(str(path))
    assert found
    return found


def covered(config: Config, folder: Path, seed: int, programs: int) -> dict[str, int]:
    """Run the benches of the core in an empty folder; return hits by bin."""
    run(
        core(config),
        "bench_core",
        folder,
        seed,
        config=config.to_json(),
        programs=programs,
        recorded=recorded(config),
    )
    return json.loads((folder / "coverage.json").read_text())


def test_the_core_and_what_is_covered(tmp_path: Path) -> None:
    coverage = Coverage()
    for seed, (name, config) in enumerate(CORES.items()):
        coverage.update(covered(config, tmp_path / name, seed, 60))
    REPORT.mkdir(parents=True, exist_ok=True)
    (REPORT / "hw.json").write_text(json.dumps(coverage.to_json(), indent=1))
    (REPORT / "hw.txt").write_text(coverage.table())
    assert not coverage.missed("kind")
    assert not coverage.missed("pressure")
    assert all(coverage.flags()[flag] for flag in TOKENS)
    hits = coverage.along("kind", "pads")
    assert all(hits[kind, pads] for kind in KINDS for pads in pads_for(kind))
    assert set(PADS) == {pads for kind in KINDS for pads in pads_for(kind)}
    assert set(PRESSURES) == {"none", *CHANNELS}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 13))
@pytest.mark.parametrize("name", [*CORES, *LARGE_CORES])
def test_more_programs(name: str, seed: int, tmp_path: Path) -> None:
    covered({**CORES, **LARGE_CORES}[name], tmp_path, seed, 80)
