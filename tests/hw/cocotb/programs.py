"""Random programs without races in which units run beside each other, steered towards new bins.

What an instruction reads and writes on chip is known to the element, from the interpreter; tokens
make it wait for those of a neighbour that it must not overtake, and more of them are added.
"""

import random
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from vtakit.isa.config import PAGE_BYTES, Config
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
from vtakit.isa.stream import encode_uops

from ...sim.interpreter import Bytes, Interpreter
from .coverage import KINDS, PADS, TOKENS, Coverage, kind_of, tokens_for

UOPS = range(PAGE_BYTES, 2 * PAGE_BYTES)
DATA = range(2 * PAGE_BYTES, 6 * PAGE_BYTES)
STORED = range(6 * PAGE_BYTES, 10 * PAGE_BYTES)
DRAM_BYTES = STORED.stop
MOST_TOKENS = 3
"""In a queue at once, in the order of the program; more would fill short queues."""

Touched = set[tuple[Memory, int]]


def image(config: Config, seed: int) -> Bytes:
    """Return memory (DRAM_BYTES): micro-ops of low indices, data, and zeros to store to."""
    noise = np.random.default_rng(seed)
    dram = np.zeros(DRAM_BYTES, np.uint8)
    count = len(UOPS) // 4
    src = min(config.inp_depth, config.acc_depth, 24)
    columns = [noise.integers(0, min(most, 24), count) for most in (config.acc_depth, src)]
    columns.append(noise.integers(0, min(config.wgt_depth, 24), count))
    uops = encode_uops(columns[0], columns[1], columns[2], config)
    dram[UOPS.start : UOPS.stop] = uops.view(np.uint8)
    dram[DATA.start : DATA.stop] = noise.integers(0, 256, len(DATA))
    return dram


@dataclass
class Made:
    """An instruction of a program, and what it touches of buffers that two units use."""

    insn: Instruction
    reads: Touched = field(default_factory=set)
    writes: Touched = field(default_factory=set)

    def clashes(self, other: "Made") -> bool:
        """Return whether one has to wait for the other."""
        mine, its = self.reads | self.writes, other.reads | other.writes
        return bool(self.writes & its or other.writes & mine)


class Programs:
    """Programs one after the other for one machine, whose buffers last from run to run.

    Parameters
    ----------
    config : Config
    draw : Random
    coverage : Coverage
        What was hit already; kinds, pads and token flags that were hit least are drawn most.
    """

    def __init__(self, config: Config, draw: random.Random, coverage: Coverage) -> None:
        self.config, self.draw, self.coverage = config, draw, coverage
        self.dram = image(config, draw.randrange(1 << 32))
        self.state = Interpreter(config, self.dram.copy())

    def next(self, count: int) -> list[Instruction]:
        """Return a program of about `count` instructions that mean something, and FINISH."""
        program = _Program(self)
        for _ in range(count):
            kind = self._rarest(list(KINDS[:-1]), "kind")
            made = self._made(kind)
            self.state.execute(made.insn)
            program.append(made)
        return program.finished()

    def pattern(self, insn: Instruction) -> str:
        """Return token flags for an instruction."""
        kind = kind_of(insn)
        hits = self.coverage.along("kind", "tokens")
        patterns = tokens_for(kind)
        least = min(hits[kind, one] for one in patterns)
        if self.draw.random() < 0.3:
            return self.draw.choice(patterns)
        return self.draw.choice([one for one in patterns if hits[kind, one] == least])

    def _rarest(self, values: list[str], axis: str) -> str:
        """Return one of some values of a field, mostly one hit seldom."""
        if self.draw.random() < 0.5:
            return self.draw.choice(values)
        hits = self.coverage.along(axis)
        few = sorted(values, key=lambda value: hits[(value,)])[:4]
        return self.draw.choice(few)

    def _made(self, kind: str) -> Made:
        """Return an instruction of a kind that stays where it must."""
        while True:
            if kind.startswith("LOAD"):
                made = self._load(Memory[kind.removeprefix("LOAD ")])
            elif kind == "STORE":
                made = self._store()
            else:
                made = self._loops(kind)
            if made:
                return made

    def _load(self, memory: Memory) -> Made | None:
        draw, config = self.draw, self.config
        hits = self.coverage.along("kind", "pads")
        least = min(PADS, key=lambda pads: hits[f"LOAD {memory.name}", pads])
        pads = least if draw.random() < 0.5 else draw.choice(PADS)
        x = (draw.randrange(3), draw.randrange(1, 3)) if pads in ("x", "both") else (0, 0)
        y = (draw.randrange(3), draw.randrange(1, 3)) if pads in ("y", "both") else (0, 0)
        x, y = draw.sample(x, 2), draw.sample(y, 2)
        y_size, x_size = draw.choice((0, 1, 1, 2, 3)), draw.choice((1, 1, 2, 3, draw.randrange(12)))
        if memory is Memory.UOP and (x_size == 0 or draw.random() < 0.5):
            x_size = draw.randrange(1, 16)
        elements = (y[0] + y_size + y[1]) * (x[0] + x_size + x[1]) if x_size else 0
        room = memory.depth(config) - elements
        if room < 0:
            return None
        insn = Load(
            memory=memory,
            sram_base=draw.randrange(min(room, 16) + 1) if draw.random() < 0.8 else room,
            y_size=y_size,
            x_size=x_size,
            x_stride=draw.choice((0, 1, x_size, draw.randrange(16))),
            x_pad_0=x[0],
            x_pad_1=x[1],
            y_pad_0=y[0],
            y_pad_1=y[1],
        )
        placed = self._placed(insn, UOPS if memory is Memory.UOP else DATA)
        buffer = Memory.ACC if memory is Memory.ACC_8BIT else memory
        filled = range(insn.sram_base, insn.sram_base + elements)
        return placed and Made(placed, writes={(buffer, index) for index in filled})

    def _store(self) -> Made | None:
        draw = self.draw
        y_size, x_size = draw.choice((0, 1, 1, 2, 4)), draw.choice((0, 1, 2, 3, draw.randrange(24)))
        room = self.config.acc_depth - x_size * y_size
        if room < 0:
            return None
        base = draw.randrange(min(room, 16) + 1) if draw.random() < 0.8 else room
        stride = draw.choice((0, 1, x_size, draw.randrange(16)))
        insn = Store(sram_base=base, y_size=y_size, x_size=x_size, x_stride=stride)
        placed = self._placed(insn, STORED)
        sent = range(base, base + x_size * y_size)
        return placed and Made(placed, reads={(Memory.ACC, index) for index in sent})

    def _placed(self, insn: Any, part: range) -> Any:
        """Return a LOAD or STORE with rows in that part of memory, or None if it is too small."""
        size = insn.memory.element_bytes(self.config)
        last = (max(insn.y_size - 1, 0) * insn.x_stride + insn.x_size) * size
        if last > len(part):
            return None
        first = self.draw.randrange(part.start, part.stop - last + 1, size)
        return replace(insn, dram_base=first // size)

    def _loops(self, kind: str) -> Made | None:
        draw, config = self.draw, self.config
        begin = draw.randrange(min(config.uop_depth, 24))
        alu = kind not in ("GEMM", "GEMM reset")
        depths = (config.acc_depth, config.acc_depth if alu else config.inp_depth, config.wgt_depth)
        names = ("dst_factor", "src_factor") if alu else ("dst_factor", "src_factor", "wgt_factor")
        common: dict[str, Any] = {
            "uop_begin": begin,
            "uop_end": min(config.uop_depth, begin + draw.choice((0, 1, 2, 3, 4))),
            "iter_out": draw.choice((0, 1, 1, 2, 3)),
            "iter_in": draw.choice((1, 1, 2, 4)),
        }
        for name, depth in zip(names, depths, strict=False):
            for loop in ("out", "in"):
                common[f"{name}_{loop}"] = draw.randrange(min(depth, 8))
        if not alu:
            insn = Gemm(**common, reset=kind == "GEMM reset")
        else:
            operation, operand = kind.split()
            near = draw.randrange(-40, 40)
            imm = near if draw.random() < 0.7 else draw.randrange(-(1 << 15), 1 << 15)
            use_imm = operand == "imm"
            insn = Alu(**common, alu_opcode=AluOp[operation], use_imm=use_imm, imm=imm)
        made = Made(insn)
        for dst, src, wgt in self.state.steps(insn):
            if dst >= depths[0] or src >= depths[1] or (not alu and wgt >= depths[2]):
                return None
            made.writes.add((Memory.ACC, dst))
            if not alu and not insn.reset:
                made.reads |= {(Memory.INP, src), (Memory.WGT, wgt)}
        return made


def finishes() -> list[list[Instruction]]:
    """Return programs whose FINISHes have all patterns of flags; a second one takes what is left.

    Tokens are left over between a program and the one after it, and none after the last.
    """
    programs: list[list[Instruction]] = []
    for pattern in range(1 << len(TOKENS)):
        flags = {flag: bool(pattern >> i & 1) for i, flag in enumerate(TOKENS)}
        programs += [
            [
                Load(memory=Memory.INP, push_next=flags["pop_prev"]),
                Store(push_prev=flags["pop_next"]),
                replace(Finish(), **flags),
            ],
            [
                Load(memory=Memory.INP, pop_next=flags["push_prev"]),
                Store(pop_prev=flags["push_next"]),
                Finish(),
            ],
        ]
    return programs


PIPELINE = (Unit.LOAD, Unit.COMPUTE, Unit.STORE)


class _Queue:
    """Who gives tokens to a queue and who takes them, by their places in the program."""

    def __init__(self, giver: Unit, taker: Unit) -> None:
        self.giver, self.taker = giver, taker
        self.push = "push_next" if giver < taker else "push_prev"
        self.pop = "pop_prev" if giver < taker else "pop_next"
        self.pushes: list[int] = []
        self.pops: list[int] = []

    def held(self) -> int:
        """Return the tokens in it, once the program so far has run in its order."""
        return len(self.pushes) - len(self.pops)

    def most(self) -> int:
        """Return the most tokens in it, if the program runs in its order."""
        held = most = 0
        for _, step in sorted([(i, 1) for i in self.pushes] + [(i, -1) for i in self.pops]):
            held += step
            most = max(most, held)
        return most


class _Program:
    """A program in the making; each token is pushed by an instruction before the one it pops it."""

    def __init__(self, programs: Programs) -> None:
        self.programs, self.draw = programs, programs.draw
        self.made: list[Made] = []
        self.config = programs.config
        self.queues = [_Queue(a, b) for a in PIPELINE for b in PIPELINE if abs(a - b) == 1]

    def append(self, made: Made) -> None:
        """Add an instruction that waits for those it clashes with, and other tokens."""
        unit, pattern = (
            made.insn.unit(self.config),
            self.programs.pattern(made.insn).split(),
        )
        taken = [queue for queue in self.queues if queue.taker is unit]
        given = [queue for queue in self.queues if queue.giver is unit]
        pops = {queue.pop for queue in taken if self._must_wait(queue, made)} | set(pattern)
        for queue in taken:
            if queue.pop in pops and not queue.held():
                self._filler(queue.giver, push=queue)
        for queue in given:
            if queue.push in pattern and queue.held() >= MOST_TOKENS - 1:
                self._filler(queue.taker, pop=queue)
        for queue in taken:
            if queue.pop in pops:
                self._pop(queue, made)
        for queue in given:
            if queue.push in pattern:
                self._push(queue, made, len(self.made))
        self.made.append(made)

    def finished(self) -> list[Instruction]:
        """Return the program, with FINISH, and no token left over."""
        for queue in self.queues:
            while queue.held():
                self._filler(queue.taker, pop=queue)
        self.made.append(Made(Finish()))
        assert all(queue.most() <= MOST_TOKENS for queue in self.queues)
        return [made.insn for made in self.made]

    def _must_wait(self, queue: _Queue, made: Made) -> bool:
        """See that the next token is of the last clash or later; return whether to pop it."""
        clash = max(
            (
                i
                for i, other in enumerate(self.made)
                if other.insn.unit(self.config) is queue.giver and other.clashes(made)
            ),
            default=None,
        )
        if clash is None or max(queue.pushes[: len(queue.pops)], default=-1) >= clash:
            return False
        while queue.held() and queue.pushes[len(queue.pops)] < clash:
            self._filler(queue.taker, pop=queue)
        if not queue.held():
            last = max(
                i for i, one in enumerate(self.made) if one.insn.unit(self.config) is queue.giver
            )
            self._push(queue, self.made[last], last)
        return True

    def _push(self, queue: _Queue, made: Made, place: int) -> None:
        made.insn = replace(made.insn, **{queue.push: True})
        queue.pushes.append(place)

    def _pop(self, queue: _Queue, made: Made) -> None:
        made.insn = replace(made.insn, **{queue.pop: True})
        queue.pops.append(len(self.made))

    def _filler(self, unit: Unit, *, push: _Queue | None = None, pop: _Queue | None = None) -> None:
        """Add an instruction that does nothing but push or pop."""
        nothing = {Unit.LOAD: Load(memory=Memory.INP), Unit.COMPUTE: Alu(), Unit.STORE: Store()}
        made = Made(nothing[unit])
        if push:
            self._push(push, made, len(self.made))
        if pop:
            self._pop(pop, made)
        self.made.append(made)
