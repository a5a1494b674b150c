"""A slow machine of its own for these tests: units take turns as somebody else decides."""

import random
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from vtakit.isa.config import PAGE_BYTES, Config
from vtakit.isa.instructions import Memory, Opcode, Unit
from vtakit.isa.stream import Columns, decode_stream, decode_uops
from vtakit.runtime.stream import Stream

Bytes: TypeAlias = npt.NDArray[np.uint8]


class Stuck(Exception):
    """No unit can go on, and not all instructions are done."""


class Interleaver:
    """Executes one whole instruction after the other, from any unit whose tokens are there.

    `dram` uint8 is changed in place. `choose` picks among the units that can go on; token queues
    hold `config.token_queue_depth` tokens, and a full one holds up the unit that pushes.
    """

    def __init__(self, config: Config, dram: Bytes):
        self.config = config
        self.dram = dram
        self.uop = np.zeros(config.uop_depth, np.uint32)
        self.inp = np.zeros((config.inp_depth, config.batch, config.block_in), np.int8)
        self.wgt = np.zeros((config.wgt_depth, config.block_out, config.block_in), np.int8)
        self.acc = np.zeros((config.acc_depth, config.batch, config.block_out), np.int32)

    def run(self, insns: Bytes, choose: Callable[[list[Unit]], Unit]) -> None:
        fields = decode_stream(insns, self.config)
        waiting: dict[Unit, list[int]] = {unit: [] for unit in Unit}
        for i in range(len(insns)):
            waiting[unit_of(fields, i)].append(i)
        tokens = {(a, b): 0 for a in Unit for b in Unit if abs(a - b) == 1}
        done = dict.fromkeys(Unit, 0)
        depth = self.config.token_queue_depth

        def flows(i: int, unit: Unit, kind: str) -> list[tuple[Unit, Unit]]:
            found: list[tuple[Unit, Unit]] = []
            for side, peer in (("prev", unit - 1), ("next", unit + 1)):
                if fields[f"{kind}_{side}"][i]:
                    found.append((Unit(peer), unit) if kind == "pop" else (unit, Unit(peer)))
            return found

        def ready(unit: Unit) -> bool:
            if done[unit] == len(waiting[unit]):
                return False
            i = waiting[unit][done[unit]]
            takes = all(tokens[pair] > 0 for pair in flows(i, unit, "pop"))
            return takes and all(tokens[pair] < depth for pair in flows(i, unit, "push"))

        for _ in range(len(insns)):
            able = [unit for unit in Unit if ready(unit)]
            if not able:
                raise Stuck(f"after {sum(done.values())} of {len(insns)} instructions")
            unit = choose(able)
            i = waiting[unit][done[unit]]
            for pair in flows(i, unit, "pop"):
                tokens[pair] -= 1
            self.execute({name: int(column[i]) for name, column in fields.items()})
            for pair in flows(i, unit, "push"):
                tokens[pair] += 1
            done[unit] += 1
        assert not any(tokens.values()), f"tokens are left: {tokens}"

    def execute(self, f: dict[str, int]) -> None:
        match Opcode(f["opcode"]):
            case Opcode.LOAD:
                self._load(f)
            case Opcode.STORE:
                out = self.acc.astype(np.int8)
                size = Memory.OUT.element_bytes(self.config)
                for y in range(f["y_size"]):
                    at = (f["dram_base"] + y * f["x_stride"]) * size
                    tile = f["sram_base"] + y * f["x_size"]
                    data = out[tile : tile + f["x_size"]].tobytes()
                    self.dram[at : at + len(data)] = np.frombuffer(data, np.uint8)
            case Opcode.GEMM | Opcode.ALU:
                self._loop(f)
            case Opcode.FINISH:
                pass

    def _load(self, f: dict[str, int]) -> None:
        memory = Memory(f["memory"])
        if f["x_size"] == 0:
            return
        target = {Memory.UOP: self.uop, Memory.INP: self.inp, Memory.WGT: self.wgt}
        buffer = target.get(memory, self.acc)
        dtype = np.dtype(np.int8) if memory is Memory.ACC_8BIT else buffer.dtype
        size = memory.element_bytes(self.config)
        width = f["x_pad_0"] + f["x_size"] + f["x_pad_1"]
        height = f["y_pad_0"] + f["y_size"] + f["y_pad_1"]
        first = f["sram_base"]
        assert first + width * height <= len(buffer)
        buffer[first : first + width * height] = 0
        for y in range(f["y_size"]):
            at = (f["dram_base"] + y * f["x_stride"]) * size
            data = self.dram[at : at + f["x_size"] * size].view(dtype)
            tile = first + (f["y_pad_0"] + y) * width + f["x_pad_0"]
            buffer[tile : tile + f["x_size"]] = data.reshape(-1, *buffer.shape[1:])

    def _loop(self, f: dict[str, int]) -> None:
        uops = self.uop[f["uop_begin"] : f["uop_end"]]
        columns = decode_uops(uops.view(np.uint8), self.config)
        for outer in range(f["iter_out"]):
            for inner in range(f["iter_in"]):
                for u in range(len(uops)):
                    dst, src, wgt = (
                        int(columns[name][u])
                        + outer * f[f"{name}_factor_out"]
                        + inner * f[f"{name}_factor_in"]
                        for name in ("dst", "src", "wgt")
                    )
                    self._step(f, dst, src, wgt)

    def _step(self, f: dict[str, int], dst: int, src: int, wgt: int) -> None:
        if f["reset"]:
            self.acc[dst] = 0
        elif f["opcode"] == Opcode.GEMM:
            self.acc[dst] += self.inp[src].astype(np.int32) @ self.wgt[wgt].astype(np.int32).T
        else:
            b = np.int32(f["imm"]) if f["use_imm"] else self.acc[src]
            operations = (np.minimum, np.maximum, np.add, np.right_shift, np.multiply)
            self.acc[dst] = operations[f["alu_opcode"]](self.acc[dst], b)


def unit_of(fields: Columns, i: int) -> Unit:
    if fields["opcode"][i] == Opcode.STORE:
        return Unit.STORE
    loads = fields["opcode"][i] == Opcode.LOAD and fields["memory"][i] in (Memory.INP, Memory.WGT)
    return Unit.LOAD if loads else Unit.COMPUTE


def interleave(config: Config, dram: Bytes, insns: Bytes, seed: int) -> Bytes:
    """Return DRAM after a run in which the units take turns at random, or one unit runs ahead."""
    rng = random.Random(seed)
    rank = {unit: rng.random() for unit in Unit}
    fair = rng.random()
    after = dram.copy()

    def choose(able: list[Unit]) -> Unit:
        return rng.choice(able) if rng.random() < fair else max(able, key=rank.__getitem__)

    Interleaver(config, after).run(insns, choose)
    return after


def bind_stream(stream: Stream, dram: Bytes) -> tuple[Bytes, Bytes]:
    """Return memory with `dram` from page 1 on and the micro-ops after it, and the instructions."""
    uops = PAGE_BYTES * (2 + dram.size // PAGE_BYTES)
    memory = np.zeros(uops + stream.uops.size, np.uint8)
    memory[PAGE_BYTES : PAGE_BYTES + dram.size] = dram
    memory[uops:] = stream.uops
    return memory, stream.relocate(PAGE_BYTES, uops)


@pytest.fixture(scope="session")
def bind() -> Callable[[Stream, Bytes], tuple[Bytes, Bytes]]:
    return bind_stream


@pytest.fixture(scope="session")
def run_interleaved() -> Callable[[Config, Bytes, Bytes, int], Bytes]:
    return interleave


@pytest.fixture(scope="session")
def stuck() -> type[Exception]:
    return Stuck
