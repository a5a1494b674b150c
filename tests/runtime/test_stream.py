"""Streams moved to an address, and what each instruction moves."""

import numpy as np
import pytest
from vtakit.isa.config import PRESETS
from vtakit.isa.instructions import Finish, Gemm, Load, Memory, Store
from vtakit.isa.stream import decode_stream, encode_stream
from vtakit.runtime.stream import alignment, moved_bytes, relocate

CONFIG = PRESETS["default"]
PROGRAM = [
    Load(memory=Memory.UOP, dram_base=3, y_size=1, x_size=9, x_stride=9, pop_next=True),
    Load(memory=Memory.INP, dram_base=5, y_size=2, x_size=7, x_stride=8, x_pad_0=1),
    Load(memory=Memory.WGT, dram_base=6, y_size=1, x_size=2, x_stride=2),
    Load(memory=Memory.ACC, dram_base=7, y_size=1, x_size=2, x_stride=2),
    Load(memory=Memory.ACC_8BIT, dram_base=8, y_size=1, x_size=2, x_stride=2),
    Gemm(uop_end=4, iter_out=3, dst_factor_in=2047),
    Store(dram_base=9, y_size=4, x_size=1, x_stride=3, push_prev=True),
    Finish(),
]


@pytest.mark.parametrize("name", PRESETS)
def test_addresses_move_by_memory_and_nothing_else_does(name: str) -> None:
    config = PRESETS[name]
    insns = encode_stream([insn for insn in PROGRAM if not isinstance(insn, Gemm)], config)
    arena, uops = 5 * alignment(config), 3 * 4096
    moved = relocate(insns, config, arena, uops)
    before, after = decode_stream(insns, config), decode_stream(moved, config)
    for column, values in before.items():
        if column != "dram_base":
            np.testing.assert_array_equal(after[column], values)
    for i in range(len(insns) - 1):
        memory = Memory(before["memory"][i])
        size = memory.element_bytes(config)
        base = uops if memory is Memory.UOP else arena
        assert after["dram_base"][i] * size == before["dram_base"][i] * size + base
    assert np.array_equal(moved[-1], insns[-1])


def test_loops_have_no_address() -> None:
    insns = encode_stream(PROGRAM, CONFIG)
    moved = relocate(insns, CONFIG, 1 << 20, 1 << 21)
    np.testing.assert_array_equal(moved[5], insns[5])


def test_an_address_between_elements_is_refused() -> None:
    with pytest.raises(ValueError, match="address 4100 is no multiple of WGT's 256 bytes"):
        relocate(encode_stream(PROGRAM, CONFIG), CONFIG, 4100, 4096)


def test_bytes_are_those_of_dram_and_pads_are_none() -> None:
    moved = moved_bytes(encode_stream(PROGRAM, CONFIG), CONFIG)
    assert {memory.name: sizes.tolist() for memory, sizes in moved.items() if sizes.any()} == {
        "UOP": [36, 0, 0, 0, 0, 0, 0, 0],
        "INP": [0, 14 * 16, 0, 0, 0, 0, 0, 0],
        "WGT": [0, 0, 512, 0, 0, 0, 0, 0],
        "ACC": [0, 0, 0, 128, 0, 0, 0, 0],
        "ACC_8BIT": [0, 0, 0, 0, 32, 0, 0, 0],
        "OUT": [0, 0, 0, 0, 0, 0, 64, 0],
    }
