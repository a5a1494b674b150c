"""Simulator and hardware: the same results, counters and cycles, of every instruction."""

import itertools
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.instructions import Instruction, Load, Memory
from vtakit.isa.program import Program

from ..sim.programs import (
    RECORDED,
    SLOW_DRAWS,
    UOPS,
    in_order,
    instructions,
    memory_image,
    program,
    with_tokens,
)
from .both import Both

LATENCIES = (0, 20, 100)
BUSES = (64, 256)
QUICK = (("tiny", 64), ("small", 256), ("tiny, banked", 64), ("small, banked", 256))
"""Machines that are compiled soonest, for `make test`."""

RECORDING = {Program.load(path).config for path in RECORDED}
SHAPES = {
    **PRESETS,
    "tiny, banked": replace(PRESETS["tiny"], acc_banks=2, acc_read_ports=2),
    "small, banked": replace(PRESETS["small"], acc_banks=2),
    "batch2, banked": replace(PRESETS["batch2"], acc_banks=2),
}
PROGRAMS = 60
"""Random programs for each machine."""


def each_machine(names: Iterable[str]) -> pytest.MarkDecorator:
    machines = [
        pytest.param(name, bus, marks=[] if (name, bus) in QUICK else [pytest.mark.slow])
        for name, bus in itertools.product(names, BUSES)
    ]
    return pytest.mark.parametrize(("name", "bus_bits"), machines)


@contextmanager
def at_latencies(
    config: Config, latencies: Iterable[int] = LATENCIES, *, dram_bytes: int = 0
) -> Generator[dict[int, Both]]:
    """Hold both machines at each memory latency."""
    pairs = {latency: Both(config, latency, dram_bytes=dram_bytes) for latency in latencies}
    try:
        yield pairs
    finally:
        for both in pairs.values():
            both.close()


@each_machine(name for name, config in PRESETS.items() if config in RECORDING)
def test_recorded_programs(name: str, bus_bits: int) -> None:
    recorded = {path.stem: Program.load(path) for path in RECORDED}
    own = {stem: one for stem, one in recorded.items() if one.config == PRESETS[name]}
    assert len(own) >= 5
    config = replace(PRESETS[name], bus_bits=bus_bits)
    most = max(one.dram_before.size for one in own.values())
    with at_latencies(config, dram_bytes=most) as pairs:
        for (latency, both), (stem, one) in itertools.product(pairs.items(), own.items()):
            found = both.differences(one.insns, one.dram_before)
            assert not found, (stem, latency, found)
            assert one.dram_after is not None
            assert (both.rtl.dram[: one.dram_after.size] == one.dram_after).all(), stem


def test_every_recorded_program_is_of_a_preset() -> None:
    assert set(PRESETS.values()) > RECORDING
    assert len(RECORDING) == 5


@each_machine(SHAPES)
def test_random_programs(name: str, bus_bits: int) -> None:
    """Tokens in order of the program, or at random, with races then, of which memory may differ."""
    config = replace(SHAPES[name], bus_bits=bus_bits)
    dram = memory_image(config, 11)
    fill = Load(memory=Memory.UOP, dram_base=UOPS // 4, y_size=1, x_size=28)

    with at_latencies(config) as pairs:

        @settings(
            max_examples=PROGRAMS // 2,
            deadline=None,
            suppress_health_check=SLOW_DRAWS,
            derandomize=True,
            database=None,
            phases=(Phase.generate, Phase.shrink),
        )
        @given(
            with_tokens(config),
            st.lists(instructions(config), min_size=1, max_size=14),
            st.sampled_from(LATENCIES),
            st.booleans(),
        )
        def check(
            free: list[Instruction], ordered: list[Instruction], latency: int, filled: bool
        ) -> None:
            begin = [fill] * filled
            both = pairs[latency]
            assert not both.differences(program(config, *begin, *free), dram, racy=True)
            assert not both.differences(
                program(config, *in_order([*begin, *ordered], config.acc_banks)), dram
            )

        check()
