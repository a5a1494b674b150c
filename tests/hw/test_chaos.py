"""Random programs, some of them flawed, on the simulator and on hardware that stalls."""

from dataclasses import replace

import pytest
from vtakit.isa.config import PRESETS

from . import chaos
from .both import Both


def test_some_programs() -> None:
    machines = {"tiny": PRESETS["tiny"], "banked": replace(PRESETS["tiny"], acc_banks=2)}
    seen = chaos.run(machines, 300, seed=3)
    assert seen.total() >= 300
    assert {"NONE, bus stalls", "NONE, bus does not stall"} < set(seen)
    assert any(not outcome.startswith("NONE") for outcome in seen)


@pytest.mark.slow
def test_many_programs_on_several_machines() -> None:
    assert chaos.main(["--programs", "3000", "--seed", "4"]) == 0


def test_a_difference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory of the hardware's that is not what it should be, once in a while."""
    original = Both.run

    def run(self: Both, insns, dram):
        outcomes = original(self, insns, dram)
        self.rtl.dram[-1] ^= len(insns) > 8
        return outcomes

    monkeypatch.setattr(Both, "run", run)
    with pytest.raises(AssertionError, match="memory: 1 bytes from"):
        chaos.run({"tiny": PRESETS["tiny"]}, 100, seed=5)
