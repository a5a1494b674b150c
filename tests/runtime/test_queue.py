"""What the queue makes of commands: tokens, relays, loads of micro-ops, marks, errors."""

from collections.abc import Callable
from itertools import product
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.instructions import AluOp, Memory, Opcode, Unit
from vtakit.isa.stream import decode_stream, opcodes
from vtakit.runtime.kernel import Axis, Nest
from vtakit.runtime.queue import CommandQueue, QueueError
from vtakit.runtime.stream import Stream
from vtakit.runtime.transfer import TransferError
from vtakit.sim.errors import DeadlockError
from vtakit.sim.machine import Machine

Bytes: TypeAlias = npt.NDArray[np.uint8]
RunInterleaved: TypeAlias = Callable[[Config, Bytes, Bytes, int], Bytes]
Bind: TypeAlias = Callable[[Stream, Bytes], tuple[Bytes, Bytes]]

TINY = PRESETS["tiny"]


def pipeline(config: Config, tiles: int = 6, weights: int = 4, repeat: int = 1) -> CommandQueue:
    """Two halves of every buffer in turns: load both operands, reset, multiply, shift, store.

    More weights than the 4 that are used make loads longer, and repeated stores make stores so.
    """
    queue = CommandQueue(config)
    size = config.out_tile_bytes
    outputs = 2048
    for i in range(tiles):
        half = i % 2
        queue.load(Memory.INP, 4 * half, 4 * i * size, x_size=4)
        queue.load(Memory.WGT, 32 * half, 64 * size, x_size=weights)
        here = Nest((Axis(4, 1),), 4 * half)
        queue.gemm(here, reset=True)
        last = weights - 4
        queue.gemm(Nest((Axis(4, 1, 0, 1), Axis(4, 0, 1)), 4 * half, 4 * half, 32 * half + last))
        queue.alu(here, AluOp.SHR, 4)
        for _ in range(repeat):
            queue.store(4 * half, outputs + 4 * i * size, x_size=4)
    return queue


def pipeline_dram() -> Bytes:
    return np.random.default_rng(3).integers(0, 256, 4096, np.uint8)


def flags(insns: Bytes, config: Config) -> dict[tuple[Unit, Unit], tuple[list[int], list[int]]]:
    """Return which instructions push to and pop from each token queue."""
    fields = decode_stream(insns, config)
    loads = (fields["opcode"] == Opcode.LOAD) & np.isin(fields["memory"], [Memory.INP, Memory.WGT])
    units = np.where(loads, 0, np.where(fields["opcode"] == Opcode.STORE, 2, 1))
    found: dict[tuple[Unit, Unit], tuple[list[int], list[int]]] = {}
    for source, target in ((0, 1), (1, 0), (1, 2), (2, 1)):
        push, pop = ("next", "prev") if source < target else ("prev", "next")
        pushes = np.flatnonzero((units == source) & (fields[f"push_{push}"] == 1))
        pops = np.flatnonzero((units == target) & (fields[f"pop_{pop}"] == 1))
        found[Unit(source), Unit(target)] = (pushes.tolist(), pops.tolist())
    return found


POP_PREV, POP_NEXT, PUSH_PREV, PUSH_NEXT = (np.uint8(1 << bit) for bit in (3, 4, 5, 6))


def test_every_token_pair_of_a_pipeline_is_needed(
    run_interleaved: RunInterleaved, bind: Bind, stuck: type[Exception]
) -> None:
    dram, insns = bind(pipeline(TINY).finish(), pipeline_dram())
    want = run_interleaved(TINY, dram, insns, 0)
    finish = len(insns) - 1
    for (source, target), (pushes, pops) in flags(insns, TINY).items():
        assert len(pushes) == len(pops) > 0
        push_bit, pop_bit = (PUSH_NEXT, POP_PREV) if source < target else (PUSH_PREV, POP_NEXT)
        for a, b in zip(pushes, pops, strict=True):
            without = insns.copy()
            without[a, 0] &= ~push_bit
            with pytest.raises(stuck):
                run_interleaved(TINY, dram, without, 0)
            without[b, 0] &= ~pop_bit
            if b == finish:
                continue  # its pair says when the program ends, not what it computes
            wrong = [
                not np.array_equal(run_interleaved(TINY, dram, without, seed), want)
                for seed in range(40)
            ]
            assert any(wrong), f"{source.name} {a} need not come before {target.name} {b}"


def test_a_pipeline_pays_one_token_for_each_half_and_none_for_what_is_known() -> None:
    tokens = flags(pipeline(TINY, tiles=6).finish().insns, TINY)
    assert {pair: len(pushes) for pair, (pushes, _) in tokens.items()} == {
        (Unit.LOAD, Unit.COMPUTE): 6,
        (Unit.COMPUTE, Unit.LOAD): 4,
        (Unit.COMPUTE, Unit.STORE): 6,
        (Unit.STORE, Unit.COMPUTE): 5,  # 4 halves used again, and the end
    }


def test_a_load_of_what_was_stored_waits_through_a_relay() -> None:
    queue = CommandQueue(TINY)
    queue.gemm(Nest(()), reset=True)
    queue.store(0, 0, x_size=1)
    queue.load(Memory.INP, 0, 0, x_size=1)
    stream = queue.finish()
    fields = decode_stream(stream.insns, TINY)
    relay = np.flatnonzero((fields["opcode"] == Opcode.LOAD) & (fields["x_size"] == 0))
    assert fields["memory"][relay].tolist() == [Memory.UOP]
    assert fields["pop_next"][relay].tolist() == fields["push_prev"][relay].tolist() == [1]


def test_a_load_waits_for_a_command_that_has_seen_the_store_instead_of_a_relay() -> None:
    queue = CommandQueue(TINY)
    queue.gemm(Nest(()), reset=True)
    queue.store(0, 0, x_size=1)
    queue.gemm(Nest(()), reset=True)  # waits for the store, which reads its tile
    queue.load(Memory.INP, 0, 0, x_size=1)
    stream = queue.finish()
    fields = decode_stream(stream.insns, TINY)
    assert not ((fields["opcode"] == Opcode.LOAD) & (fields["x_size"] == 0)).any()
    (push,), (pop,) = flags(stream.insns, TINY)[Unit.COMPUTE, Unit.LOAD]
    assert fields["opcode"][[push, pop]].tolist() == [Opcode.GEMM, Opcode.LOAD]


def test_rows_that_are_interleaved_in_dram_do_not_wait_for_each_other() -> None:
    queue = CommandQueue(TINY)
    size = TINY.out_tile_bytes
    queue.store(0, 0, y_size=4, x_size=2, x_stride=4)
    queue.load(Memory.INP, 0, 2 * size, y_size=4, x_size=2, x_stride=4)
    assert not flags(queue.finish().insns, TINY)[Unit.COMPUTE, Unit.LOAD][0]


def test_micro_ops_are_loaded_once_a_layer_and_kept() -> None:
    config = PRESETS["default"]
    queue = CommandQueue(config)
    for layer in range(2):
        queue.mark(f"layer {layer}")
        for base in (0, 10, 0, 10):
            queue.alu(Nest((Axis(5, 3, -1),), base, base + 100), AluOp.ADD)
            queue.gemm(Nest((Axis(4, 1),), base + layer), reset=True)
    stream = queue.finish()
    fields = decode_stream(stream.insns, config)
    loads = np.flatnonzero((fields["opcode"] == Opcode.LOAD) & (fields["memory"] == Memory.UOP))
    assert fields["x_size"][loads].tolist() == [12, 2]
    assert [mark.begin for mark in stream.marks] == loads.tolist()
    assert stream.uops.size == 4 * 14


def test_micro_ops_come_back_after_the_buffer_was_full() -> None:
    queue = CommandQueue(TINY)
    nests = [Nest((Axis(50, 1, -1),), i, 100 - i) for i in range(3)]
    for i in (0, 1, 0, 1, 2, 0, 2):
        queue.alu(nests[i], AluOp.ADD)
    stream = queue.finish()
    fields = decode_stream(stream.insns, TINY)
    loads = np.flatnonzero((fields["opcode"] == Opcode.LOAD) & (fields["memory"] == Memory.UOP))
    assert fields["x_size"][loads].tolist() == [100, 50, 50]
    assert stream.uops.size == 4 * 150


def test_marks_count_instructions_and_the_first_ones_belong_to_nobody() -> None:
    queue = CommandQueue(TINY)
    queue.load(Memory.INP, 0, 0, x_size=1)
    queue.mark("a", 10)
    queue.gemm(Nest(()))
    queue.mark("b")
    stream = queue.finish()
    assert [tuple(mark) for mark in stream.marks] == [("a", 1, 10), ("b", 3, 0)]
    assert opcodes(stream.insns).tolist() == [
        Opcode.LOAD,
        Opcode.LOAD,  # micro-ops
        Opcode.GEMM,
        Opcode.FINISH,
    ]


def test_what_cannot_be_queued_is_refused() -> None:
    queue = CommandQueue(TINY)
    with pytest.raises(QueueError, match="cannot load OUT: INP, WGT, ACC and ACC_8BIT"):
        queue.load(Memory.OUT, 0, 0, x_size=1)
    with pytest.raises(QueueError, match="immediate 40000 of MUL: its 16 bits hold -32768 to 327"):
        queue.alu(Nest(()), AluOp.MUL, 40000)
    with pytest.raises(TransferError, match="byte 2 of DRAM is no address of ACC"):
        queue.load(Memory.ACC, 0, 2, x_size=1)
    queue.finish()
    with pytest.raises(QueueError, match="is finished; a new program needs a new CommandQueue"):
        queue.mark("more")


def test_on_the_timed_machine_a_lost_token_deadlocks_and_a_lost_order_shows(bind: Bind) -> None:
    """Whether an order that is not kept shows depends on times: here it must once per queue."""

    def run(program: Bytes) -> Bytes:
        machine = Machine(TINY, dram_bytes=1 << 20)
        machine.dram[: dram.size] = dram
        machine.run(program)
        return machine.dram[: dram.size].copy()

    shows = dict.fromkeys(product(Unit, Unit), False)
    for weights, repeat in ((4, 1), (32, 1), (4, 8)):
        queue = pipeline(TINY, weights=weights, repeat=repeat)
        dram, insns = bind(queue.finish(), pipeline_dram())
        want = run(insns)
        for (source, target), (pushes, pops) in flags(insns, TINY).items():
            forward = source < target
            push_bit, pop_bit = (PUSH_NEXT, POP_PREV) if forward else (PUSH_PREV, POP_NEXT)
            without_all = insns.copy()
            for a, b in zip(pushes, pops, strict=True):
                without = insns.copy()
                without[a, 0] &= ~push_bit
                with pytest.raises(DeadlockError):
                    run(without)
                without_all[a, 0] &= ~push_bit
                without_all[b, 0] &= ~pop_bit
            shows[source, target] |= not np.array_equal(run(without_all), want)
    assert {pair for pair, shown in shows.items() if shown} == set(flags(insns, TINY))
