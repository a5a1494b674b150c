"""What a timed run counts: cycles by unit and cause, words, and the same work on both engines."""

from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.instructions import (
    Alu,
    AluOp,
    Finish,
    Gemm,
    Instruction,
    Load,
    Memory,
    Store,
    Unit,
)
from vtakit.isa.program import Program
from vtakit.isa.stream import encode_stream
from vtakit.sim.machine import Cycles, Result, UnitCycles

from .programs import (
    DATA,
    RECORDED,
    SLOW_DRAWS,
    UOPS,
    in_order,
    instructions,
    machine,
    memory_image,
    program,
    uop_bytes,
)


def units(cycles: Cycles) -> dict[Unit, UnitCycles]:
    rows = (cycles.load, cycles.compute, cycles.store, cycles.matrix)
    return dict(zip(Unit, rows, strict=True))


def check_sums(result: Result, insns: np.ndarray, config: Config) -> None:
    """Each unit does one thing in each cycle; every instruction and word is accounted for."""
    cycles = result.counters.cycles
    assert cycles is not None
    assert result.cycles is not None
    for unit, spent in units(cycles).items():
        assert sum(astuple(spent)) == result.cycles, unit
        assert min(astuple(spent)) >= 0, unit
    assert cycles.fetch_words * config.bus_bytes >= insns.nbytes
    assert cycles.gemm + cycles.alu <= cycles.compute.busy + cycles.matrix.busy
    words = cycles.fetch_words + cycles.load_words + cycles.compute_words
    assert words <= result.cycles
    assert cycles.store_words <= result.cycles


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_each_unit_accounts_for_every_cycle_of_the_recorded_programs(path: Path) -> None:
    recorded = Program.load(path)
    vta = machine(recorded.config, recorded.dram_before)
    check_sums(vta.run(recorded.insns), recorded.insns, recorded.config)


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_each_unit_accounts_for_every_cycle_of_random_programs(config: Config) -> None:
    @settings(max_examples=30, deadline=None, suppress_health_check=SLOW_DRAWS)
    @given(
        st.lists(instructions(config), min_size=1, max_size=15),
        st.booleans(),
        st.sampled_from([1, 20, 100]),
        st.sampled_from([32, 64, 256, 512]),
    )
    def check(drawn: list[Instruction], ordered: bool, latency: int, bus_bits: int) -> None:
        wide = replace(config, bus_bits=bus_bits)
        insns = program(wide, *(in_order(drawn, wide.acc_banks) if ordered else drawn))
        vta = machine(wide, memory_image(wide, 5), latency)
        check_sums(vta.run(insns), insns, wide)

    check()


def timed(insns: list[Instruction], config: Config, latency: int = 32) -> tuple[int, Cycles]:
    dram = memory_image(config, 2)
    dram[UOPS : UOPS + 8] = uop_bytes(config, (0, 0, 0), (0, 1, 0))
    result = machine(config, dram, latency).run(encode_stream([*insns, Finish()], config))
    assert result.cycles is not None
    assert result.counters.cycles is not None
    return result.cycles, result.counters.cycles


WALK: dict[str, Any] = {"uop_end": 1, "iter_out": 10, "iter_in": 50}
UOP = Load(memory=Memory.UOP, dram_base=UOPS // 4, y_size=1, x_size=2)


def test_gemm_issues_a_micro_op_a_cycle() -> None:
    cycles, spent = timed([UOP, Gemm(**WALK), Gemm(**WALK, reset=True)], PRESETS["default"])
    assert spent.gemm == 1000
    assert cycles < 1000 + 150


@pytest.mark.parametrize("ports", [1, 2])
def test_alu_takes_two_cycles_where_a_second_operand_is_read(ports: int) -> None:
    config = replace(PRESETS["default"], acc_read_ports=ports)
    again = 2 if ports == 1 else 1

    def alu(**fields: Any) -> tuple[int, int]:
        _, spent = timed([UOP, Alu(**WALK | fields, alu_opcode=AluOp.MAX)], config)
        return spent.alu, spent.operand_hits

    assert alu(use_imm=True) == (500, 0)
    assert alu(dst_factor_in=2, src_factor_in=1) == (again * 500, 0)
    # One micro-op, (0, 0): it writes what it reads, so the register never holds the tile.
    assert alu() == (again * 500, 0)
    # One micro-op, (0, 1): the source stays for the whole instruction, or for each inner loop.
    one: dict[str, Any] = {"uop_begin": 1, "uop_end": 2}
    assert alu(**one) == ((501, 499) if ports == 1 else (500, 0))
    assert alu(**one, src_factor_out=1) == ((510, 490) if ports == 1 else (500, 0))
    # The second step of each inner loop writes the source, so the third reads it again.
    assert alu(**one, dst_factor_in=1) == ((511, 489) if ports == 1 else (500, 0))


def test_words_are_counted_by_who_moves_them() -> None:
    config = replace(PRESETS["default"], bus_bits=128)
    at = {memory: DATA // memory.element_bytes(config) for memory in Memory}
    one: dict[str, Any] = {"y_size": 1, "x_size": 4}
    insns: list[Instruction] = [
        Load(memory=Memory.INP, dram_base=at[Memory.INP], **one),
        Load(memory=Memory.WGT, dram_base=at[Memory.WGT], **one),
        Load(memory=Memory.ACC, dram_base=at[Memory.ACC], **one),
        Load(memory=Memory.ACC_8BIT, dram_base=at[Memory.ACC_8BIT], **one),
        Load(memory=Memory.UOP, dram_base=UOPS // 4 + 1, **one),
        Store(dram_base=at[Memory.OUT], y_size=2, x_size=3, x_stride=1),
    ]
    _, spent = timed(insns, config)
    assert spent.fetch_words == 7
    assert spent.load_words == 4 * (16 + 256) // 16
    assert spent.compute_words == 4 * (64 + 16) // 16 + 2  # five bytes into a word, and over it
    assert spent.store_words == 6


def test_waits_are_put_down_to_their_causes() -> None:
    config, latency = PRESETS["default"], 500
    inp = Load(memory=Memory.INP, dram_base=DATA // config.inp_tile_bytes, y_size=1, x_size=1)
    out = Store(dram_base=DATA // config.out_tile_bytes, y_size=1, x_size=1)
    _, spent = timed([replace(inp, push_next=True), Gemm(pop_prev=True)], config, latency)
    assert spent.compute.token_prev >= latency
    _, spent = timed([replace(out, push_prev=True), Gemm(pop_next=True)], config, latency)
    assert spent.compute.token_next >= latency
    _, spent = timed([UOP, Gemm(**WALK)], config, latency)
    assert spent.compute.memory >= latency
    _, spent = timed([UOP, Gemm(**WALK), Alu(**WALK, use_imm=True)], config, latency)
    assert 0 < spent.compute.pipeline < 20
    assert spent.load.no_instruction == sum(astuple(spent.load))
    full = replace(config, token_queue_depth=1)
    pushes: list[Instruction] = [Gemm(**WALK, push_prev=True), Gemm(push_prev=True), Alu()]
    slow = replace(inp, x_size=60, pop_next=True)
    _, spent = timed([UOP, inp, *[slow] * 2, *pushes], full, latency)
    assert spent.load.token_next > 0
    pushes = [Gemm(push_next=True), Gemm(push_next=True), Alu()]
    _, spent = timed([replace(out, push_prev=True), Gemm(), *pushes,
                      replace(out, pop_prev=True), replace(out, pop_prev=True)],
                     full, latency)  # fmt: skip
    assert spent.compute.token_full > 0
