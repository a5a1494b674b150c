"""Both engines against the interpreter: random programs, and what is easily got wrong."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.isa.config import PAGE_BYTES, PRESETS, Config
from vtakit.isa.instructions import Alu, AluOp, Gemm, Instruction, Load, Memory, Store
from vtakit.sim.machine import Machine

from .interpreter import Interpreter, operate
from .programs import (
    DATA,
    ENGINES,
    ODD,
    SLOW_DRAWS,
    TOP,
    UOPS,
    Bytes,
    in_order,
    instructions,
    machine,
    memory_image,
    program,
    show_buffers,
    uop_bytes,
)

CONFIGS = PRESETS | ODD
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
each_engine = pytest.mark.parametrize("timing", ENGINES.values(), ids=ENGINES)


def compare(config: Config, dram: Bytes, insns: Bytes) -> Bytes:
    """Run a program on the interpreter and both engines; return the memory that all leave."""
    interpreter = Interpreter(config, dram.copy())
    interpreter.run(insns)
    for timing in ENGINES.values():
        vta = machine(config, dram)
        result = vta.run(insns, timing=timing)
        np.testing.assert_array_equal(vta.dram[: dram.size], interpreter.dram)
        assert result.counters.original() == interpreter.counters
    return interpreter.dram


@each_config
def test_random_programs_do_what_the_interpreter_does(config: Config) -> None:
    @settings(max_examples=50, deadline=None, suppress_health_check=SLOW_DRAWS)
    @given(st.lists(instructions(config), min_size=1, max_size=12), st.integers(0, 99))
    def check(drawn: list[Instruction], seed: int) -> None:
        dram = np.concatenate([memory_image(config, seed), uop_bytes(config, (0, 0, 0))])
        begin = [Load(memory=Memory.UOP, dram_base=UOPS // 4, y_size=1, x_size=24)]
        for memory in (Memory.INP, Memory.WGT, Memory.ACC):
            fits = min(6, memory.depth(config))
            base = DATA // memory.element_bytes(config)
            begin.append(Load(memory=memory, dram_base=base, y_size=1, x_size=fits))
        compare(
            config,
            dram,
            program(config, *in_order([*begin, *drawn, *show_buffers(config)], config.acc_banks)),
        )

    check()


@each_config
@pytest.mark.parametrize("operation", AluOp)
def test_alu_operations_on_extremes(config: Config, operation: AluOp) -> None:
    edges = [0, 1, -1, 2, 7, 31, 32, 33, 100, -2, -31, -32, -33, -100]
    edges += [(1 << 31) - 1, -(1 << 31), 0x12345678, -0x12345678, 1 << 16, -(1 << 16)]
    pairs = [(x, y) for x in edges for y in edges]
    lanes = config.batch * config.block_out
    tiles = -(-len(pairs) // lanes)
    per_run = min(tiles, config.acc_depth // 2)
    for first in range(0, tiles, per_run):
        part = np.resize(np.array(pairs[first * lanes : (first + per_run) * lanes]), (
            per_run * lanes, 2))  # fmt: skip
        dram = np.zeros(TOP, np.uint8)
        dram[UOPS : UOPS + 4] = uop_bytes(config, (0, per_run, 0))
        data = part.T.astype("<i4").reshape(-1).view(np.uint8)
        dram[DATA : DATA + data.size] = data
        walk: dict[str, Any] = {"uop_end": 1, "iter_out": 1, "iter_in": per_run, "dst_factor_in": 1}
        insns: list[Instruction] = [
            Load(memory=Memory.UOP, dram_base=UOPS // 4, y_size=1, x_size=1),
            Load(memory=Memory.ACC, dram_base=DATA // config.acc_tile_bytes, y_size=1,
                 x_size=2 * per_run),
            Alu(**walk, src_factor_in=1, alu_opcode=operation),
        ]  # fmt: skip
        out = DATA // config.out_tile_bytes
        for byte in range(4):
            insns.append(Store(dram_base=out + byte * per_run, y_size=1, x_size=per_run))
            insns.append(Alu(**walk, alu_opcode=AluOp.SHR, use_imm=True, imm=8))
        left = compare(config, dram, program(config, *in_order(insns, config.acc_banks)))
        count = per_run * lanes
        found = left[DATA : DATA + 4 * count].reshape(4, count).T.copy().view("<i4").reshape(-1)
        x, y = part.T.astype(np.int64)
        np.testing.assert_array_equal(found, operate(operation, x, y).astype(np.int32))


def test_the_interpreters_shift_is_a_division_by_a_power_of_two() -> None:
    for x in (0, 1, -1, 5, -5, (1 << 31) - 1, -(1 << 31)):
        for y in range(-70, 71):
            exact = x << -y if y < 0 else x >> y
            found = int(operate(AluOp.SHR, np.array([x]), np.array([y]))[0])
            assert (found - exact) % (1 << 32) == 0


@each_config
def test_immediates_are_sign_extended(config: Config) -> None:
    dram = memory_image(config, 3)
    lanes = config.batch * config.block_out
    dram[UOPS : UOPS + 4] = uop_bytes(config, (0, 0, 0))
    acc = DATA // config.acc_tile_bytes
    out = TOP // 2 // config.out_tile_bytes
    insns: list[Instruction] = [Load(memory=Memory.UOP, dram_base=UOPS // 4, y_size=1, x_size=1)]
    for operation in AluOp:
        for imm in (-32768, -256, -33, -32, -31, -1, 0, 1, 31, 32, 33, 32767):
            insns.append(Load(memory=Memory.ACC, dram_base=acc, y_size=1, x_size=1))
            once: dict[str, Any] = {"uop_end": 1, "iter_out": 1, "iter_in": 1, "use_imm": True}
            insns.append(Alu(**once, alu_opcode=operation, imm=imm))
            for _ in range(2):  # bytes 0 and 3
                insns.append(Store(dram_base=out, y_size=1, x_size=1))
                insns.append(Alu(**once, alu_opcode=AluOp.SHR, imm=24))
                out += 1
    left = compare(config, dram, program(config, *in_order(insns, config.acc_banks)))
    x = dram[DATA : DATA + 4 * lanes].view("<i4")
    expected = (x.astype(np.int64) - 32768).astype(np.int32)
    at = TOP // 2 // config.out_tile_bytes + 2 * 12 * int(AluOp.ADD)
    found = left[at * lanes : (at + 2) * lanes].view(np.int8).reshape(2, lanes)
    np.testing.assert_array_equal(found, [expected.astype(np.int8), expected >> 24])


@each_engine
def test_micro_ops_see_what_earlier_ones_wrote(timing: bool) -> None:
    """Fibonacci numbers: tile n+2 = tile n + tile n+1, each made in turn by one instruction."""
    config = PRESETS["default"]
    dram = np.zeros(TOP, np.uint8)
    dram[UOPS : UOPS + 8] = uop_bytes(config, (2, 0, 0), (2, 1, 0))
    lanes = config.block_out
    tiles = np.zeros((20, lanes), "<i4")
    tiles[1] = 1
    dram[DATA : DATA + tiles.nbytes] = tiles.reshape(-1).view(np.uint8)
    insns: list[Instruction] = [
        Load(memory=Memory.UOP, dram_base=UOPS // 4, y_size=1, x_size=2),
        Load(memory=Memory.ACC, dram_base=DATA // config.acc_tile_bytes, y_size=1, x_size=20),
        Alu(uop_end=2, iter_out=3, iter_in=4, dst_factor_out=4, dst_factor_in=1,
            src_factor_out=4, src_factor_in=1, alu_opcode=AluOp.ADD),
        Store(dram_base=DATA // config.out_tile_bytes, y_size=1, x_size=14),
    ]  # fmt: skip
    vta = machine(config, dram)
    vta.run(program(config, *in_order(insns, config.acc_banks)), timing=timing)
    found = vta.dram[DATA : DATA + 14 * lanes].reshape(14, lanes)[:, 0].tolist()
    assert found == [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233]


@each_engine
def test_a_gemm_accumulates_into_one_tile_and_wraps(timing: bool) -> None:
    config = PRESETS["default"]
    dram = np.zeros(TOP, np.uint8)
    dram[DATA : DATA + config.wgt_tile_bytes] = 0x80  # -128, and -128 in inp: 16 * 2**14 a step
    base = {memory: DATA // memory.element_bytes(config) for memory in (Memory.INP, Memory.WGT)}
    steps = (1 << 31) // (16 << 14) + 1
    insns: list[Instruction] = [
        Load(memory=Memory.INP, dram_base=base[Memory.INP], y_size=1, x_size=1),
        Load(memory=Memory.WGT, dram_base=base[Memory.WGT], y_size=1, x_size=1),
        Load(memory=Memory.UOP, dram_base=UOPS // 4, y_size=1, x_size=1),
        Gemm(uop_end=1, iter_out=1, iter_in=steps),
        Alu(uop_end=1, iter_out=1, iter_in=1, alu_opcode=AluOp.SHR, use_imm=True, imm=24),
        Store(dram_base=DATA // config.out_tile_bytes, y_size=1, x_size=1),
    ]
    vta = machine(config, dram)
    vta.run(program(config, *in_order(insns, config.acc_banks)), timing=timing)
    total = steps * (16 << 14) - (1 << 32)
    assert set(vta.dram[DATA : DATA + 16].view(np.int8).tolist()) == {total >> 24}


@each_engine
def test_rows_wrap_at_the_end_of_the_address_space(timing: bool) -> None:
    config = PRESETS["default"]
    vta = Machine(config, dram_bytes=1 << 32)
    size, stride = config.inp_tile_bytes, 0x1234
    first = (1 << 32) - 3 * size
    second = (first + stride * size) % (1 << 32)
    assert second > PAGE_BYTES
    vta.dram[first : first + size] = 5
    vta.dram[second : second + size] = 7
    insns: list[Instruction] = [
        Load(memory=Memory.ACC_8BIT, dram_base=first // size, y_size=2, x_size=1, x_stride=stride),
        Store(dram_base=first // size + 1, y_size=2, x_size=1, x_stride=stride),
    ]
    vta.run(program(config, *in_order(insns, config.acc_banks)), timing=timing)
    assert vta.dram[first + size : first + 2 * size].tolist() == [5] * size
    assert vta.dram[second + size : second + 2 * size].tolist() == [7] * size


@each_engine
def test_buffers_last_from_run_to_run_and_through_a_reset(timing: bool) -> None:
    config = PRESETS["tiny"]
    dram = memory_image(config, 1)
    base = DATA // config.acc_tile_bytes
    fill = program(config, Load(memory=Memory.ACC, dram_base=base, y_size=1, x_size=1))
    out = DATA // config.out_tile_bytes + 64
    show = program(config, Store(dram_base=out, y_size=1, x_size=1))
    at = slice(out * config.out_tile_bytes, (out + 1) * config.out_tile_bytes)
    vta = machine(config, dram)
    vta.run(fill, timing=timing)
    vta.run(show, timing=timing)
    assert vta.dram[at].tolist() == dram[DATA : DATA + config.acc_tile_bytes : 4].tolist()
    vta.dram[at] = 0
    vta.reset()
    vta.run(show, timing=timing)
    assert vta.dram[at].tolist() == dram[DATA : DATA + config.acc_tile_bytes : 4].tolist()
