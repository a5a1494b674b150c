"""isa.registers and isa.manual: the window a host sees, and the tables of everything."""

import re
from itertools import pairwise

import pytest
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.fields import slots
from vtakit.isa.instructions import Memory, Opcode, Unit
from vtakit.isa.manual import manual, tables
from vtakit.isa.program import COUNTERS
from vtakit.isa.registers import (
    IDENTITY,
    REGISTERS,
    Access,
    Activity,
    Buffers,
    Control,
    Error,
    ErrorCode,
    Identity,
    Shape,
    activities,
    constants,
)
from vtakit.sim import faults

CONFIGS = pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)


def test_registers_are_aligned_and_do_not_overlap() -> None:
    rows = list(REGISTERS.values())
    for row in rows:
        assert row.offset % row.size_bytes == 0, row
    for row, following in pairwise(rows):
        assert row.offset + row.size_bytes <= following.offset, (row.name, following.name)


@CONFIGS
def test_the_fields_of_every_register_fit_its_word(config: Config) -> None:
    for row in REGISTERS.values():
        assert row.format.WORD_BITS in (32, 64)
        assert slots(row.format, config)[-1].offset < row.format.WORD_BITS


@CONFIGS
def test_constants_tell_the_host_which_machine_it_has(config: Config) -> None:
    words = constants(config)
    assert Identity.decode(words["IDENTITY"], config).identity == IDENTITY
    shape = Shape.decode(words["SHAPE"], config)
    assert (1 << shape.log2_batch, 1 << shape.log2_block_in) == (config.batch, config.block_in)
    assert 1 << shape.log2_bus_bits == config.bus_bits
    buffers = Buffers.decode(words["BUFFERS"], config)
    assert 1 << buffers.uop_index_bits == Memory.UOP.depth(config)
    assert 1 << buffers.acc_index_bits == Memory.ACC.depth(config)
    assert words["TOKEN_QUEUE"] == config.token_queue_depth
    for name in words:
        assert REGISTERS[name].access is Access.READ


def test_orders_and_errors_are_fields() -> None:
    config = PRESETS["default"]
    assert Control(start=True, clear=True).encode(config) == 0b101
    word = Error(code=ErrorCode.DEADLOCK).encode(config)
    assert Error.decode(word, config).code is ErrorCode.DEADLOCK


def test_every_counter_has_a_register() -> None:
    names = {"CYCLES", *(name.upper() for name in COUNTERS)}
    names |= {f"{unit.name}_{activity.name}" for unit in Unit for activity in activities(unit)}
    assert names <= REGISTERS.keys()
    assert Activity.TOKEN_PREV not in activities(Unit.LOAD)
    assert Activity.TOKEN_NEXT not in activities(Unit.STORE)


def test_error_codes_are_the_simulators() -> None:
    for code in ErrorCode:
        if code not in (ErrorCode.NONE, ErrorCode.BUS):
            assert getattr(faults, code.name) == code


@CONFIGS
def test_the_tables_hold_every_field_and_register(config: Config) -> None:
    text = tables(config)
    assert f"| {int(Opcode.ALU)} | ALU |" in text
    for row in REGISTERS.values():
        assert f"| {row.offset:#05x} | {row.name} | {row.size_bytes} |" in text
    for memory in Memory:
        assert f"| {memory.name} | {memory.depth(config)} |" in text
    width = config.uop_index_bits
    assert f"| {8 + width - 1}:8 | uop_begin |" in text


@CONFIGS
def test_every_row_of_a_table_has_its_headers_columns(config: Config) -> None:
    columns = 0
    for line in manual(config).splitlines():
        if not line.startswith("|"):
            columns = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        columns = columns or cells
        assert cells == columns, line
