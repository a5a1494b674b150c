"""The machine's clock against TIMING.md cycle by cycle (`cycle_reference`), and by hand."""

from dataclasses import astuple, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.instructions import Alu, AluOp, Finish, Gemm, Instruction, Load, Memory, Store, Unit
from vtakit.isa.program import Program
from vtakit.isa.stream import encode_stream
from vtakit.sim.errors import DeadlockError
from vtakit.sim.machine import Result, UnitCycles

from .cycle_reference import CycleReference, StandstillError
from .interpreter import Interpreter
from .programs import (
    DATA,
    ODD,
    RECORDED,
    SLOW_DRAWS,
    UOPS,
    Bytes,
    in_order,
    machine,
    memory_image,
    program,
    uop_bytes,
    with_tokens,
)


def agree(config: Config, dram: Bytes, insns: Bytes, latency: int) -> None:
    """Compare starts, ends, cycles, memory and what units spent their cycles on, or a deadlock."""
    reference = CycleReference(insns, Interpreter(config, dram.copy()), latency)
    vta = machine(config, dram, latency)
    try:
        cycles = reference.run()
    except StandstillError:
        with pytest.raises(DeadlockError):
            vta.run(insns)
        return
    result = vta.run(insns, record=True)
    assert result.starts is not None
    assert result.ends is not None
    pairs = list(zip(result.starts.tolist(), result.ends.tolist(), strict=True))
    assert pairs == list(zip(reference.starts, reference.ends, strict=True))
    assert result.cycles == cycles
    assert tuple(vta.tokens.values()) == tuple(reference.tokens)
    np.testing.assert_array_equal(vta.dram[: dram.size], reference.state.dram)
    assert result.counters.original() == reference.state.counters
    _agree_on_causes(result, reference)


def _agree_on_causes(result: Result, reference: CycleReference) -> None:
    spent = result.counters.cycles
    assert spent is not None
    for unit, row in zip(Unit, (spent.load, spent.compute, spent.store, spent.matrix), strict=True):
        expected = {field.name: reference.spent[unit][field.name] for field in fields(UnitCycles)}
        assert dict(zip(expected, astuple(row), strict=True)) == expected, unit


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_programs_take_the_cycles_of_the_rules(path: Path) -> None:
    recorded = Program.load(path)
    agree(recorded.config, recorded.dram_before, recorded.insns, 32)


VARIED = [path for path in RECORDED if any(name in path.stem for name in ("rand_mix", "strides"))]


@pytest.mark.parametrize("path", VARIED, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ("latency", "changes"),
    [
        (0, {"bus_bits": 64}),
        (1, {"bus_bits": 32}),
        (100, {"bus_bits": 512, "acc_read_ports": 2}),
        (20, {"bus_bits": 128, "command_queue_depth": 2}),
        (3, {"bus_bits": 256, "command_queue_depth": 1}),
    ],
    ids=str,
)
def test_on_other_machines_too(path: Path, latency: int, changes: dict[str, int]) -> None:
    recorded = Program.load(path)
    config = replace(recorded.config, **changes)
    agree(config, recorded.dram_before, recorded.insns, latency)


@st.composite
def varied(draw: st.DrawFn, config: Config) -> Config:
    """Draw a machine of the same instructions with another bus, other queues or ports."""
    depths = st.sampled_from([1, 2, 3, 4, 512, 512, 512])
    return replace(
        config,
        bus_bits=draw(st.sampled_from([32, 64, 128, 256, 512])),
        command_queue_depth=draw(depths),
        token_queue_depth=draw(depths),
        acc_read_ports=draw(st.sampled_from([1, 2])),
    )


MACHINES = PRESETS | {"banks": ODD["default, banks"], "tiny, banks": ODD["tiny, banks"]}


@pytest.mark.parametrize("config", MACHINES.values(), ids=MACHINES)
def test_random_programs_take_the_cycles_of_the_rules(config: Config) -> None:
    dram = memory_image(config, 11)

    @settings(max_examples=60, deadline=None, suppress_health_check=SLOW_DRAWS)
    @given(with_tokens(config), varied(config), st.sampled_from([0, 1, 2, 20, 100]), st.booleans())
    def check(drawn: list[Instruction], other: Config, latency: int, fill: bool) -> None:
        begin = [Load(memory=Memory.UOP, dram_base=UOPS // 4, y_size=1, x_size=28)] * fill
        agree(other, dram, program(other, *begin, *drawn), latency)

    check()


@pytest.mark.parametrize("bus_bits", [32, 64, 512])
@pytest.mark.parametrize("latency", [0, 1, 63, 200])
def test_long_transfers_take_the_cycles_of_the_rules(bus_bits: int, latency: int) -> None:
    """Bursts cut at pages and lengths, many short rows, readers that compete, pads beside words."""
    config = replace(PRESETS["default"], bus_bits=bus_bits)
    inp, acc, out = (
        DATA // memory.element_bytes(config) for memory in (Memory.INP, Memory.ACC, Memory.OUT)
    )
    insns: list[Instruction] = [
        Load(memory=Memory.INP, dram_base=inp + 7, y_size=2, x_size=300, x_stride=301),
        Load(memory=Memory.ACC, dram_base=acc + 3, y_size=3, x_size=20, x_stride=65, y_pad_0=2,
             x_pad_0=1, x_pad_1=3),
        Load(memory=Memory.INP, dram_base=inp, y_size=45, x_size=1, x_stride=9, x_pad_1=2),
        Load(memory=Memory.ACC_8BIT, dram_base=out + 1, y_size=40, x_size=1, x_stride=3),
        Load(memory=Memory.WGT, dram_base=DATA // config.wgt_tile_bytes, y_size=1, x_size=9,
             y_pad_1=3),
        Load(memory=Memory.ACC, dram_base=acc, y_size=0, x_size=5, y_pad_0=15, y_pad_1=1),
        Store(dram_base=out + 9, y_size=40, x_size=1, x_stride=5),
        Store(dram_base=out + 250, y_size=2, x_size=70, x_stride=255),
        *[Gemm()] * 40,
    ]  # fmt: skip
    for order in (insns, in_order(insns)):
        agree(config, memory_image(config, 4), program(config, *order), latency)


@pytest.mark.parametrize("latency", [0, 20, 100])
@pytest.mark.parametrize("first", [5, 16, 27])
def test_bursts_of_a_word_in_a_row_take_the_cycles_of_the_rules(first: int, latency: int) -> None:
    """More bursts than words can be on their way, and pauses in which all of them arrive."""
    config = replace(PRESETS["tiny"], bus_bits=256)
    base = DATA // config.inp_tile_bytes
    insns = [
        Load(memory=Memory.INP, dram_base=base, y_size=rows, x_size=1, x_stride=20)
        for rows in (first, 60, 60, 60)
    ]
    agree(
        config, memory_image(config, 4), program(config, *in_order([*insns, Gemm()] * 3)), latency
    )


@pytest.mark.parametrize("latency", [0, 1, 63, 200])
def test_short_instructions_in_a_row_take_the_cycles_of_the_rules(latency: int) -> None:
    """More of one kind than a unit has under way."""
    config = PRESETS["default"]
    inp = Load(memory=Memory.INP, dram_base=DATA // config.inp_tile_bytes, y_size=1, x_size=1)
    acc = replace(inp, memory=Memory.ACC, dram_base=DATA // config.acc_tile_bytes)
    out = Store(dram_base=DATA // config.out_tile_bytes, y_size=1, x_size=1)
    rows: list[list[Instruction]] = [[inp] * 30, [acc] * 30, [out] * 30, [Gemm()] * 30]
    mixed = [insn for four in zip(*rows, strict=True) for insn in four]
    for insns in (*rows, mixed):
        agree(config, memory_image(config, 4), program(config, *insns), latency)


EXAMPLE = [(35, 71), (71, 87), (39, 106), (42, 122), (122, 138), (138, 152), (152, 204), (204, 206)]
"""Start and end of each instruction of TIMING.md's example."""


def test_an_example_by_hand() -> None:
    """The example of TIMING.md: latency 32, 64-bit bus."""
    config = PRESETS["default"]
    dram = memory_image(config, 1)
    dram[UOPS : UOPS + 4] = uop_bytes(config, (0, 0, 0))
    walk: dict[str, Any] = {"uop_end": 1, "iter_out": 1, "iter_in": 8, "dst_factor_in": 1}
    out = DATA // config.out_tile_bytes
    insns: list[Instruction] = [
        Load(memory=Memory.UOP, dram_base=UOPS // 4, y_size=1, x_size=1),
        Gemm(**walk, reset=True),
        Load(memory=Memory.WGT, dram_base=DATA // config.wgt_tile_bytes, y_size=1, x_size=1),
        Load(memory=Memory.INP, dram_base=DATA // config.inp_tile_bytes, y_size=1, x_size=8,
             push_next=True),
        Gemm(**walk, src_factor_in=1, pop_prev=True),
        Alu(**walk, src_factor_in=1, alu_opcode=AluOp.SHR, use_imm=True, imm=8, push_next=True),
        Store(dram_base=out, y_size=1, x_size=8, pop_prev=True, push_prev=True),
        Finish(pop_next=True),
    ]  # fmt: skip
    result = machine(config, dram).run(encode_stream(insns, config), record=True)
    assert result.starts is not None
    assert result.ends is not None
    pairs = list(zip(result.starts.tolist(), result.ends.tolist(), strict=True))
    assert pairs == EXAMPLE
    assert result.cycles == EXAMPLE[-1][1]
