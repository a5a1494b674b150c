"""Tokens order the units: without one of them a result is wrong, or nothing moves any more."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.instructions import Alu, AluOp, Finish, Gemm, Instruction, Load, Memory, Store
from vtakit.isa.stream import encode_stream
from vtakit.sim.errors import DeadlockError

from .interpreter import Interpreter
from .programs import DATA, ENGINES, TOP, UOPS, Bytes, machine, memory_image, uop_bytes

CONFIGS = PRESETS
FLAGS = ("pop_prev", "pop_next", "push_prev", "push_next")
each_engine = pytest.mark.parametrize("timing", ENGINES.values(), ids=ENGINES)
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)

ROUNDS, TILES = 3, 12
"""How often `pipeline` loads, computes and stores, and how many tiles each time."""


def pipeline(config: Config, *, pads: int = 0, repeats: int = 1) -> tuple[list[Instruction], Bytes]:
    """Return a program of many rounds in the same buffers, held together by its tokens alone.

    Each round loads inputs, multiplies them into cleared accumulators, and stores these. Nothing is
    loaded before the round before has been computed, and nothing is computed before the round
    before has been stored. No token is left over. Rows of pads make the loads slow, repeats the
    GEMMs.
    """
    dram = memory_image(config, 7)
    dram[UOPS : UOPS + 4] = uop_bytes(config, (0, 0, 0))
    inp, out = DATA // config.inp_tile_bytes, TOP // 2 // config.out_tile_bytes
    walk: dict[str, Any] = {"uop_end": 1, "iter_in": TILES, "dst_factor_in": 1}
    insns: list[Instruction] = [
        Load(memory=Memory.UOP, dram_base=UOPS // 4, y_size=1, x_size=1),
        Load(memory=Memory.WGT, dram_base=DATA // config.wgt_tile_bytes, y_size=1, x_size=1),
    ]
    for n in range(ROUNDS):
        first, last = n == 0, n == ROUNDS - 1
        insns += [
            Load(memory=Memory.INP, dram_base=inp + n * TILES, y_size=1, x_size=TILES,
                 y_pad_1=pads, pop_next=not first, push_next=True),
            Gemm(**walk, iter_out=1, reset=True, pop_next=not first),
            Gemm(**walk, iter_out=repeats, src_factor_in=1, pop_prev=True, push_prev=not last,
                 push_next=True),
            Store(dram_base=out + n * TILES, y_size=1, x_size=TILES, pop_prev=True,
                  push_prev=True),
        ]  # fmt: skip
    return [*insns, Finish(pop_next=True)], dram


SLOW = {"load": {"pads": 15}, "compute": {"repeats": 30}}
each_pace = pytest.mark.parametrize("pace", SLOW.values(), ids=[f"slow {name}" for name in SLOW])


def without(insns: Sequence[Instruction], index: int, flag: str) -> list[Instruction]:
    """Return a program with one token flag dropped."""
    return [*insns[:index], replace(insns[index], **{flag: False}), *insns[index + 1 :]]


@each_engine
@each_config
@each_pace
def test_with_all_tokens_the_result_is_right(
    config: Config, pace: dict[str, int], timing: bool
) -> None:
    insns, dram = pipeline(config, **pace)
    words = encode_stream(insns, config)
    expected = Interpreter(config, dram.copy())
    expected.run(words)
    vta = machine(config, dram)
    vta.run(words, timing=timing)
    np.testing.assert_array_equal(vta.dram, expected.dram)
    assert set(vta.tokens.values()) == {0}


@each_config
def test_without_any_one_of_them_it_is_wrong_or_stops(config: Config) -> None:
    """A push that is missing stops the machine; a pop, with the loads or the GEMMs slow, shows."""
    spoilt: dict[tuple[int, str], bool] = {}
    for pace in SLOW.values():
        insns, dram = pipeline(config, **pace)
        right = machine(config, dram)
        right.run(encode_stream(insns, config))
        for index, insn in enumerate(insns):
            for flag in FLAGS:
                if not getattr(insn, flag):
                    continue
                vta = machine(config, dram)
                program = encode_stream(without(insns, index, flag), config)
                if flag.startswith("push"):
                    with pytest.raises(DeadlockError, match="waits for a token from"):
                        vta.run(program)
                    continue
                vta.run(program)
                if isinstance(insn, Finish):
                    assert vta.tokens["store->compute"] == 1
                else:
                    spoilt.setdefault((index, flag), False)
                    spoilt[index, flag] |= not np.array_equal(vta.dram, right.dram)
    assert len(spoilt) == 4 * ROUNDS - 2
    assert all(spoilt.values()), spoilt


@each_engine
def test_without_a_push_both_engines_stop(timing: bool) -> None:
    config = PRESETS["default"]
    insns, dram = pipeline(config)
    for index, insn in enumerate(insns):
        for flag in ("push_prev", "push_next"):
            if getattr(insn, flag):
                program = encode_stream(without(insns, index, flag), config)
                with pytest.raises(DeadlockError):
                    machine(config, dram).run(program, timing=timing)


@each_engine
def test_a_deadlock_says_what_each_unit_waits_for(timing: bool) -> None:
    config = PRESETS["default"]
    insns = [
        Gemm(),
        Load(memory=Memory.INP, pop_next=True, push_next=True),
        Gemm(pop_prev=True, push_prev=True, push_next=True),
        Store(pop_prev=True),
        Finish(),
    ]
    with pytest.raises(DeadlockError) as caught:
        machine(config, np.zeros(0, np.uint8)).run(encode_stream(insns, config), timing=timing)
    assert str(caught.value) == (
        "deadlock: load waits for a token from compute->load at instruction 1: LOAD INP pop_next "
        "push_next; compute waits for a token from load->compute at instruction 2: GEMM pop_prev "
        "push_prev push_next; store waits for a token from compute->store at instruction 3: STORE "
        "OUT pop_prev"
    )
    assert caught.value.instruction == 1


@each_engine
def test_a_deadlock_names_only_the_token_that_is_missing(timing: bool) -> None:
    config = PRESETS["default"]
    insns = [
        Load(memory=Memory.INP, push_next=True),
        Alu(alu_opcode=AluOp.MAX, pop_prev=True, pop_next=True),
        Finish(),
    ]
    with pytest.raises(DeadlockError) as caught:
        machine(config, np.zeros(0, np.uint8)).run(encode_stream(insns, config), timing=timing)
    assert str(caught.value) == (
        "deadlock: compute waits for a token from store->compute at instruction 1: ALU MAX "
        "pop_prev pop_next"
    )


@each_engine
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_full_token_queue_holds_its_unit_up(depth: int, timing: bool) -> None:
    config = replace(PRESETS["default"], token_queue_depth=depth)
    pushes: list[Instruction] = [Load(memory=Memory.INP, push_next=True)] * (depth + 1)
    vta = machine(config, np.zeros(0, np.uint8))
    with pytest.raises(DeadlockError) as caught:
        vta.run(encode_stream([*pushes, Finish()], config), timing=timing)
    assert str(caught.value) == (
        f"deadlock: load cannot end instruction {depth}: LOAD INP push_next: load->compute is full "
        f"(token_queue_depth {depth})"
    )
    vta.reset()
    pops = [Gemm(pop_prev=True)] * (depth + 1)
    vta.run(encode_stream([*pushes, *pops, Finish()], config), timing=timing)
    assert set(vta.tokens.values()) == {0}


@each_engine
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_full_command_queue_holds_fetch_up(depth: int, timing: bool) -> None:
    config = replace(PRESETS["default"], command_queue_depth=depth)
    waiting: list[Instruction] = [Gemm(pop_prev=True), *[Gemm()] * depth]
    load = Load(memory=Memory.INP, push_next=True)
    vta = machine(config, np.zeros(0, np.uint8))
    with pytest.raises(DeadlockError) as caught:
        vta.run(encode_stream([*waiting, load, Finish()], config), timing=timing)
    assert str(caught.value) == (
        "deadlock: load waits for fetch to hand over "
        f"instruction {depth + 1}: LOAD INP push_next; compute waits for a token from "
        "load->compute at instruction 0: GEMM pop_prev; fetch cannot hand over "
        f"instruction {depth}: GEMM: the compute queue is full (command_queue_depth {depth})"
    )
    vta.reset()
    vta.run(encode_stream([*waiting[:-1], load, Finish()], config), timing=timing)


@each_engine
def test_tokens_left_over_last_until_a_reset(timing: bool) -> None:
    config = PRESETS["default"]
    push = [
        Load(memory=Memory.WGT, push_next=True),
        Gemm(push_prev=True, push_next=True),
        Gemm(push_next=True),
        Store(pop_prev=True, push_prev=True),
        Finish(),
    ]
    pop = [Load(memory=Memory.INP, pop_next=True), Gemm(pop_prev=True, pop_next=True),
           Store(pop_prev=True), Finish()]  # fmt: skip
    vta = machine(config, np.zeros(0, np.uint8))
    one: dict[str, Any] = {
        "load->compute": 1,
        "compute->load": 1,
        "compute->store": 1,
        "store->compute": 1,
    }
    for _ in range(2):
        vta.run(encode_stream(push, config), timing=timing)
        assert vta.tokens == one
        vta.run(encode_stream(pop, config), timing=not timing)
        assert set(vta.tokens.values()) == {0}
    vta.run(encode_stream(push, config), timing=timing)
    vta.reset()
    assert set(vta.tokens.values()) == {0}
    with pytest.raises(DeadlockError):
        vta.run(encode_stream(pop, config), timing=timing)


@each_engine
def test_finish_may_pop(timing: bool) -> None:
    config = PRESETS["default"]
    insns = [Store(push_prev=True), Load(memory=Memory.INP, push_next=True),
             Finish(pop_prev=True, pop_next=True)]  # fmt: skip
    vta = machine(config, np.zeros(0, np.uint8))
    vta.run(encode_stream(insns, config), timing=timing)
    assert set(vta.tokens.values()) == {0}
    with pytest.raises(DeadlockError, match="load->compute and store->compute at instruction 0"):
        vta.run(encode_stream(insns[2:], config), timing=timing)
