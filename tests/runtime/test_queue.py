"""Programs through the queue, against the same commands done one after the other in NumPy."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.instructions import AluOp, Memory, Opcode, Unit
from vtakit.isa.stream import decode_stream, opcodes
from vtakit.runtime.kernel import Axis, Nest
from vtakit.runtime.queue import CommandQueue, QueueError
from vtakit.runtime.stream import Stream
from vtakit.runtime.transfer import Dim, Pads, TransferError
from vtakit.sim.errors import DeadlockError
from vtakit.sim.machine import Machine

Bytes: TypeAlias = npt.NDArray[np.uint8]
RunInterleaved: TypeAlias = Callable[[Config, Bytes, Bytes, int], Bytes]

TINY = PRESETS["tiny"]
CONFIGS = {
    "tiny": TINY,
    "one token": replace(TINY, token_queue_depth=1),
    "8 micro-ops": replace(TINY, uop_buffer_bytes=32, command_queue_depth=2),
    "two tokens, batch 2": replace(TINY, token_queue_depth=2, batch=2, acc_buffer_bytes=4096),
    "batch wider than block": replace(TINY, batch=8, acc_buffer_bytes=8192, inp_buffer_bytes=4096),
}
ARENA_ELEMENTS = 48  # of the largest kind
ARENA_ADDRESS = 4096
UOP_ADDRESS = 1 << 16


@dataclass(frozen=True)
class Command:
    """A command, and what it does to (inp, wgt, acc, dram), one after the other."""

    name: str
    arguments: tuple[object, ...]


class Sequential:
    """Executes commands at once, from their arguments alone."""

    def __init__(self, config: Config, dram: Bytes):
        self.config = config
        self.dram = dram.copy()
        self.memories = {
            Memory.INP: np.zeros((config.inp_depth, config.batch, config.block_in), np.int8),
            Memory.WGT: np.zeros((config.wgt_depth, config.block_out, config.block_in), np.int8),
            Memory.ACC: np.zeros((config.acc_depth, config.batch, config.block_out), np.int32),
        }

    def load(self, memory: Memory, sram: int, byte: int, dims: tuple[Dim, ...], pads: Pads) -> None:
        buffer = self.memories[Memory.ACC if memory is Memory.ACC_8BIT else memory]
        dtype = np.dtype(np.int8) if memory is Memory.ACC_8BIT else buffer.dtype
        size = memory.element_bytes(self.config)
        if any(pads):
            (*outer, rows, row) = dims
            width = pads.left + row.extent + pads.right
            for point in product(*(range(dim.extent) for dim in outer)):
                tile = sram + sum(i * dim.sram_tiles for i, dim in zip(point, outer, strict=True))
                buffer[tile : tile + width * (pads.top + rows.extent + pads.bottom)] = 0
            sram += pads.top * width + pads.left
        for tile, at in box(sram, byte, dims):
            data = self.dram[at : at + size].copy().view(dtype)
            buffer[tile] = data.reshape(buffer.shape[1:])

    def mark(self) -> None:
        """Layers change nothing."""

    def store(self, sram: int, byte: int, dims: tuple[Dim, ...]) -> None:
        for tile, at in box(sram, byte, dims):
            data = self.memories[Memory.ACC][tile].astype(np.int8).tobytes()
            self.dram[at : at + len(data)] = np.frombuffer(data, np.uint8)

    def loop(self, nest: Nest, reset: bool, op: AluOp | None, imm: int | None) -> None:
        acc = self.memories[Memory.ACC]
        inp, wgt = (self.memories[m].astype(np.int32) for m in (Memory.INP, Memory.WGT))
        for point in product(*(range(axis.extent) for axis in nest.axes)):
            dst, src, w = (
                base + sum(i * axis[column] for i, axis in zip(point, nest.axes, strict=True))
                for column, base in enumerate(nest[1:], 1)
            )
            if op is not None:
                b = acc[src] if imm is None else np.int32(imm)
                do = (np.minimum, np.maximum, np.add, np.right_shift, np.multiply)[op]
                acc[dst] = do(acc[dst], b)
            elif reset:
                acc[dst] = 0
            else:
                acc[dst] += inp[src] @ wgt[w].T


def box(sram: int, byte: int, dims: tuple[Dim, ...]) -> list[tuple[int, int]]:
    return [
        (
            sram + sum(i * dim.sram_tiles for i, dim in zip(point, dims, strict=True)),
            byte + sum(i * dim.dram_bytes for i, dim in zip(point, dims, strict=True)),
        )
        for point in product(*(range(dim.extent) for dim in dims))
    ]


def emit(queue: CommandQueue, command: Command) -> None:
    match command.name:
        case "load":
            queue.load_nd(*command.arguments)  # pyright: ignore[reportArgumentType]
        case "mark":
            queue.mark("layer", 1)
        case "store":
            queue.store_nd(*command.arguments)  # pyright: ignore[reportArgumentType]
        case _:
            nest, reset, op, imm = command.arguments
            assert isinstance(nest, Nest)
            if isinstance(op, AluOp):
                queue.alu(nest, op, imm)  # pyright: ignore[reportArgumentType]
            else:
                queue.gemm(nest, reset=bool(reset))


def arena_bytes(config: Config) -> int:
    return ARENA_ELEMENTS * max(memory.element_bytes(config) for memory in Memory)


def below(draw: st.DrawFn, bound: int) -> int:
    return draw(st.integers(0, bound - 1))


@st.composite
def transfers(draw: st.DrawFn, config: Config, memory: Memory) -> Command:
    """A box of up to 3 dimensions within the first tiles of SRAM and a small arena."""
    element = memory.element_bytes(config)
    pads = Pads()
    if memory is not Memory.OUT and draw(st.booleans()):
        pads = Pads(*(draw(st.integers(0, 2)) for _ in range(4)))
    x, y, z = (draw(st.integers(1, most)) for most in (4, 3, 2))
    width = pads.left + x + pads.right
    gap = 0 if any(pads) else draw(st.sampled_from([0, 0, 1]))
    y_stride = draw(st.sampled_from([x, x, x + 1, x + 3]))
    z_stride = draw(st.sampled_from([y * y_stride, y * y_stride + 2]))
    height = pads.top + y + pads.bottom
    plane = (width + gap) * height
    dims = (
        Dim(z, z_stride * element, plane),
        Dim(y, y_stride * element, width + gap),
        Dim(x, element, 1),
    )
    depth = min(memory.depth(config), 3 * plane)
    z = min(z, max(1, depth // plane))
    dims = (dims[0]._replace(extent=z), *dims[1:])
    sram = below(draw, max(1, min(memory.depth(config) - z * plane, 20)))
    reach = (z - 1) * z_stride + (y - 1) * y_stride + x
    byte = element * below(draw, arena_bytes(config) // element - reach)
    if memory is Memory.OUT:
        return Command("store", (sram, byte, dims))
    return Command("load", (memory, sram, byte, dims, pads))


@st.composite
def loops(draw: st.DrawFn, config: Config) -> Command:
    op = draw(st.sampled_from([None, None, AluOp.MAX, AluOp.ADD, AluOp.SHR, AluOp.MUL]))
    imm = draw(st.none() | st.integers(0, 7)) if op else None
    if op is AluOp.SHR:
        imm = imm or 1
    reset = op is None and draw(st.booleans())
    # Only sums may reach a tile twice, since iterations run in any order.
    strides = st.sampled_from([0, 1, 2] if op is None else [1])
    axes = [Axis(draw(st.integers(1, 4)), draw(strides), draw(strides), draw(strides))]
    if op is None:
        axes.append(Axis(draw(st.integers(1, 3)), 4, 3, 2))
    base = Nest(tuple(axes), below(draw, 12), below(draw, 12), below(draw, 12))
    if op and imm is None:  # sources apart from destinations
        base = base._replace(src=base.src + 32)
    return Command("loop", (base, reset, op, imm))


@st.composite
def programs(draw: st.DrawFn, config: Config) -> list[Command]:
    kinds = (Memory.INP, Memory.WGT, Memory.ACC, Memory.ACC_8BIT, Memory.OUT, Memory.OUT)
    commands = st.one_of(
        st.just(Command("mark", ())),
        *(transfers(config, memory) for memory in kinds),
        *[loops(config)] * 3,
    )
    return draw(st.lists(commands, min_size=1, max_size=25))


@cache
def machine_of(name: str) -> Machine:
    return Machine(CONFIGS[name], dram_bytes=1 << 20)


def bound(stream: Stream, dram: Bytes) -> tuple[Bytes, Bytes]:
    """Return DRAM with the micro-ops behind the arena, and the instructions for it."""
    whole = np.zeros(UOP_ADDRESS + stream.uops.size, np.uint8)
    whole[ARENA_ADDRESS : ARENA_ADDRESS + dram.size] = dram
    whole[UOP_ADDRESS:] = stream.uops
    return whole, stream.relocate(ARENA_ADDRESS, UOP_ADDRESS)


def random_dram(config: Config) -> Bytes:
    size = arena_bytes(config) + config.acc_depth * config.out_tile_bytes
    return np.random.default_rng(5).integers(0, 256, size, np.uint8)


def expected(config: Config, commands: list[Command]) -> Bytes:
    machine = Sequential(config, random_dram(config))
    with np.errstate(over="ignore"):
        for command in commands:
            getattr(machine, command.name)(*command.arguments)
    return machine.dram


@settings(deadline=None, max_examples=120)
@given(data=st.data(), name=st.sampled_from(list(CONFIGS)))
def test_random_programs_give_what_their_commands_do_one_by_one(
    data: st.DataObject, name: str, run_interleaved: RunInterleaved
) -> None:
    config = CONFIGS[name]
    commands = data.draw(programs(config))
    # All tiles hold zeros at first, as Sequential assumes, and all of them count in the end.
    everything = Nest((Axis(config.acc_depth, 1),))
    element = Memory.OUT.element_bytes(config)
    last = (0, arena_bytes(config), (Dim(config.acc_depth, element, 1),))
    commands.insert(0, Command("loop", (everything, True, None, None)))
    commands.append(Command("store", last))
    queue = CommandQueue(config)
    for command in commands:
        emit(queue, command)
    dram, insns = bound(queue.finish(), random_dram(config))
    want = expected(config, commands)
    arena = slice(ARENA_ADDRESS, ARENA_ADDRESS + want.size)
    for seed in range(4):
        got = run_interleaved(config, dram, insns, seed)
        np.testing.assert_array_equal(got[arena], want)
    for timing in (True, False):
        machine = machine_of(name)
        machine.reset()
        machine.dram[: dram.size] = dram
        machine.run(insns, timing=timing)
        np.testing.assert_array_equal(machine.dram[arena], want)
        assert not any(machine.tokens.values())


def pipeline(config: Config, tiles: int = 6, weights: int = 4) -> CommandQueue:
    """Two halves of every buffer in turns: load both operands, reset, multiply, shift, store."""
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
    run_interleaved: RunInterleaved, stuck: type[Exception]
) -> None:
    dram, insns = bound(pipeline(TINY).finish(), pipeline_dram())
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


def test_micro_ops_come_back_after_the_buffer_was_full(run_interleaved: RunInterleaved) -> None:
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


def test_on_the_timed_machine_a_lost_token_deadlocks_and_a_lost_order_shows() -> None:
    """Whether an order that is not kept shows depends on times: here it must once per queue."""
    machine = Machine(TINY, dram_bytes=1 << 20)

    def run(program: Bytes) -> Bytes:
        machine.reset()
        machine.dram[: dram.size] = dram
        machine.run(program)
        return machine.dram[: dram.size].copy()

    shows = dict.fromkeys(product(Unit, Unit), False)
    for weights in (4, 32):  # short loads, and loads that take longer than what they are for
        dram, insns = bound(pipeline(TINY, weights=weights).finish(), pipeline_dram())
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
