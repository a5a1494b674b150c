"""Fetch, LOAD, STORE and the memory port against the references: contents, and every cycle."""

import random
from dataclasses import replace

import pytest
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.costs import BURSTS_IN_FLIGHT, FETCH_BURST, IN_FLIGHT
from vtakit.isa.instructions import Alu, Finish, Instruction, Load, Memory, Store

from .memory_programs import (
    ALL,
    BUSES,
    CONFIGS,
    DATA,
    STORED,
    a_program,
    fill_accumulators,
    run_and_compare,
    small,
)

LATENCIES = (0, 1, 32, 100)
each_latency = pytest.mark.parametrize("latency", LATENCIES)
WIDE_AND_NARROW = {name: CONFIGS[name] for name in ("default-64", "two-512", "tiny-128")}
"""Of tiles: two words, a sixteenth of one and more, and a quarter."""

EACH = {**WIDE_AND_NARROW, "big-32": CONFIGS["big-32"]}
"""And of many words, which takes ten times as long."""


@pytest.mark.parametrize("name", CONFIGS)
def test_random_programs_do_and_take_what_the_references_say(name: str) -> None:
    draw, config = random.Random(name), CONFIGS[name]
    run_and_compare(config, [a_program(draw, config, 12)], draw.choice((0, 2, 20, 100)))


@pytest.mark.parametrize("name", WIDE_AND_NARROW)
def test_whatever_memory_keeps_waiting_contents_are_right(name: str) -> None:
    draw, config = random.Random(name), CONFIGS[name]
    run_and_compare(config, [a_program(draw, config, 12) for _ in range(2)], 3, draw)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", CONFIGS)
def test_many_random_programs(name: str, seed: int) -> None:
    draw, config = random.Random(f"{name} {seed}"), CONFIGS[name]
    units = draw.choice((ALL, ALL, *((unit,) for unit in ALL)))
    programs = [a_program(draw, config, draw.randrange(2, 25), units) for _ in range(2)]
    pressure = draw if draw.random() < 0.4 else None
    run_and_compare(config, programs, draw.choice((0, 1, 5, 20, 32, 100)), pressure)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PRESETS if PRESETS[name].acc_banks == 1])
def test_programs_on_buffers_of_the_presets(name: str) -> None:
    draw, config = random.Random(name), PRESETS[name]
    run_and_compare(config, [a_program(draw, config, 12)])


@pytest.mark.parametrize("depth", [1, 2, 8])
@pytest.mark.parametrize("bus_bits", BUSES)
def test_fetch_hands_on_an_instruction_a_cycle(bus_bits: int, depth: int) -> None:
    """Programs one after the other: less and more than a burst, than the buffer, and than both."""
    config = replace(CONFIGS["tiny-64"], bus_bits=bus_bits, command_queue_depth=depth)
    counts = (1, 2, FETCH_BURST - 1, FETCH_BURST, FETCH_BURST + 1, 2 * FETCH_BURST, 75)
    programs = [[*[Alu()] * (count - 1), Finish()] for count in counts]
    for latency in (0, 40):
        run_and_compare(config, programs, latency)


def rows(memory: Memory, count: int, size: int, stride: int = 1, **fields: int) -> Load:
    """Return a LOAD of data."""
    base = DATA.start // 4
    whole = Load(memory=memory, y_size=count, x_size=size, x_stride=stride, dram_base=base)
    return replace(whole, **fields)


def bursts_of_all(config: Config) -> list[Instruction]:
    """Rows of a word or two by the dozen, beside long ones, so that all readers compete."""
    inp, acc, uop = config.inp_depth, config.acc_depth, config.uop_depth
    return [
        rows(Memory.INP, inp, 1, 3),
        rows(Memory.ACC, acc, 1, 2),
        rows(Memory.INP, inp // 2, 2, 3),
        rows(Memory.WGT, 1, config.wgt_depth),
        rows(Memory.UOP, 2, uop // 2, uop // 2 - 1),
        rows(Memory.ACC_8BIT, 2, acc // 2, 3),
        rows(Memory.WGT, config.wgt_depth, 1, 2),
        *[Alu()] * 40,
        Finish(),
    ]


def pads_of_all(config: Config) -> list[Instruction]:
    """Zeros beside words of the same LOAD, of earlier ones and of the other unit's."""
    sides = {"x_pad_0": 2, "x_pad_1": 1}
    return [
        rows(Memory.INP, 1, config.inp_depth),
        rows(Memory.INP, 4, 3, 7, y_pad_0=2, y_pad_1=1, **sides),
        rows(Memory.INP, 1, 1, y_pad_0=1, x_pad_0=15, x_pad_1=15),
        rows(Memory.INP, 0, 3, y_pad_0=3, y_pad_1=3, **sides),
        rows(Memory.ACC, 1, 2, x_pad_0=15, x_pad_1=15),
        rows(Memory.ACC, 8, 1, 5, x_pad_0=1),
        rows(Memory.ACC, 8, 1, 5, x_pad_1=1),
        rows(Memory.ACC, 4, 1, 5, y_pad_0=1),
        rows(Memory.ACC, 4, 1, 5, y_pad_1=1),
        rows(Memory.UOP, 0, 1, y_pad_1=15),
        rows(Memory.UOP, 1, 1, y_pad_0=1),
        Finish(),
    ]


def many_of_one(_: Config) -> list[Instruction]:
    """More LOADs than a unit has under way, and LOADs of nothing, whatever memory they name."""
    nothing = [Load(memory=memory, sram_base=(1 << 16) - 1, y_size=9) for memory in Memory]
    ones = [rows(Memory.INP, 1, 1, sram_base=i) for i in range(IN_FLIGHT + 4)]
    pads = [rows(Memory.UOP, 0, 1, sram_base=i, y_pad_0=1) for i in range(IN_FLIGHT + 4)]
    return [*ones, *pads, *nothing, *ones, *nothing, *nothing, Finish()]


def stores_of_all(config: Config) -> list[Instruction]:
    """More bursts than may be without response, and STOREs that run into each other."""
    depth, base = config.acc_depth, STORED.start // config.out_tile_bytes

    def store(count: int, size: int, stride: int = 1, **fields: bool) -> Store:
        whole = Store(y_size=count, x_size=size, x_stride=stride, dram_base=base + 1)
        return replace(whole, **fields)

    return [
        replace(fill_accumulators(config), push_next=True),
        store(min(depth, 3 * BURSTS_IN_FLIGHT), 1, 3, pop_prev=True),
        store(1, depth),
        *[store(1, 1)] * (IN_FLIGHT + 4),
        store(2, depth // 2, depth // 2 + 1),
        store(0, 3),
        store(3, 0),
        store(1, 1),
        Finish(),
    ]


@pytest.mark.parametrize(
    ("name", "latency"),
    [
        pytest.param(name, latency, marks=[pytest.mark.slow] if name not in WIDE_AND_NARROW else [])
        for name in EACH
        for latency in LATENCIES
    ],
)
def test_full_channels_take_the_cycles_of_the_rules(name: str, latency: int) -> None:
    config = EACH[name]
    programs = [make(config) for make in (bursts_of_all, pads_of_all, many_of_one, stores_of_all)]
    run_and_compare(config, programs, latency)


@each_latency
def test_bursts_without_response_hold_the_next_one_back(latency: int) -> None:
    config = replace(small(PRESETS["tiny"], 128), bus_bits=512)
    run_and_compare(config, [stores_of_all(config)], latency)
