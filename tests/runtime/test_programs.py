"""Random programs through the queue, against the same commands done one by one in NumPy."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.isa.config import PAGE_BYTES, PRESETS, Config
from vtakit.isa.instructions import AluOp, Memory
from vtakit.runtime.kernel import Axis, Nest
from vtakit.runtime.queue import CommandQueue
from vtakit.runtime.stream import Stream
from vtakit.runtime.transfer import Dim, Pads
from vtakit.sim.machine import Machine

Bytes: TypeAlias = npt.NDArray[np.uint8]
RunInterleaved: TypeAlias = Callable[[Config, Bytes, Bytes, int], Bytes]
Bind: TypeAlias = Callable[[Stream, Bytes], tuple[Bytes, Bytes]]

TINY = PRESETS["tiny"]
CONFIGS = {
    "tiny": TINY,
    "one token": replace(TINY, token_queue_depth=1),
    "8 micro-ops": replace(TINY, uop_buffer_bytes=32, command_queue_depth=2),
    "two tokens, batch 2": replace(TINY, token_queue_depth=2, batch=2, acc_buffer_bytes=4096),
    "batch wider than block": replace(TINY, batch=8, acc_buffer_bytes=8192, inp_buffer_bytes=4096),
}
ARENA_ELEMENTS = 48  # of the largest kind


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
    data: st.DataObject, name: str, run_interleaved: RunInterleaved, bind: Bind
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
    dram, insns = bind(queue.finish(), random_dram(config))
    want = expected(config, commands)
    for seed in range(4):
        got = run_interleaved(config, dram, insns, seed)
        np.testing.assert_array_equal(got[PAGE_BYTES : PAGE_BYTES + want.size], want)
    for timing in (True, False):
        machine = Machine(config, dram_bytes=1 << 20)
        machine.dram[: dram.size] = dram
        machine.run(insns, timing=timing)
        np.testing.assert_array_equal(machine.dram[PAGE_BYTES : PAGE_BYTES + want.size], want)
        assert not any(machine.tokens.values())
