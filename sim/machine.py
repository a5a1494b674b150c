"""`Machine`: a VTA with its memory, and the two engines that run programs on it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..isa.config import DRAM_ADDRESS_BITS, PAGE_BYTES, Config
from ..isa.program import COUNTERS

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

DEFAULT_DRAM_BYTES = 256 << 20
DEFAULT_MEMORY_LATENCY = 32


@dataclass(frozen=True)
class UnitCycles:
    """What one unit did in each cycle of a run; the fields add up to the run's cycles.

    Attributes
    ----------
    busy
        Working on an instruction: asking for words, sending them, issuing micro-ops.
    no_instruction
        Nothing in its command queue.
    token_prev, token_next
        Waiting for a token from the unit before, or after.
    memory
        Waiting for the last words or responses of an earlier LOAD or STORE.
    pipeline
        Waiting for the last results of an earlier GEMM or ALU.
    token_full
        Waiting for an earlier instruction that cannot push, its token queue being full.
    order
        COMPUTE and MATRIX: waiting for the end of an earlier instruction of the other.
    """

    busy: int
    no_instruction: int
    token_prev: int
    token_next: int
    memory: int
    pipeline: int
    token_full: int
    order: int


@dataclass(frozen=True)
class Cycles:
    """Where the cycles of a timed run went.

    Attributes
    ----------
    load, compute, store, matrix
        By unit.
    gemm, alu
        Cycles that issued micro-ops.
    operand_hits
        Tensor ALU micro-ops that took one cycle, their source being in the operand register.
    fetch_words, load_words, compute_words
        Bus words read, by reader.
    store_words
        Bus words written.
    """

    load: UnitCycles
    compute: UnitCycles
    store: UnitCycles
    matrix: UnitCycles
    gemm: int
    alu: int
    operand_hits: int
    fetch_words: int
    load_words: int
    compute_words: int
    store_words: int


@dataclass(frozen=True)
class Counters:
    """What a run did: the original VTA's counters (`isa.program.COUNTERS`), and its cycles.

    `cycles` is None without timing.
    """

    inp_load_nbytes: int
    wgt_load_nbytes: int
    acc_load_nbytes: int
    uop_load_nbytes: int
    out_store_nbytes: int
    gemm_counter: int
    alu_counter: int
    cycles: Cycles | None = None

    def original(self) -> dict[str, int]:
        """Return the counters that recorded programs have."""
        return {name: getattr(self, name) for name in COUNTERS}


@dataclass(frozen=True, eq=False)
class Result:
    """What a run came to.

    Attributes
    ----------
    cycles : int or None
        From the start of fetch until every instruction has ended; None without timing.
    counters : Counters
    starts, ends : int64 (n) or None
        With timing and `record`: the cycle in which each instruction started, and the first one
        after its end, in program order.
    """

    cycles: int | None
    counters: Counters
    starts: I64 | None = None
    ends: I64 | None = None


class Machine:
    """A VTA with its memory.

    Buffers, memory and tokens left over last from run to run. A program that raised an error may
    have run in part: what it did to memory stays, and `reset` brings buffers and tokens back to
    the start.

    Parameters
    ----------
    config : Config
    dram_bytes : int
        Size of the memory, a multiple of 4096 up to 4 GiB. The host gives pages as they are used.
    memory_latency : int
        Cycles from a read request to its first word, and from the last word of a write burst to its
        response, 0 or more.

    Attributes
    ----------
    dram : uint8 (dram_bytes)
        Memory, zeros at first; the host reads and writes it between runs.
    """

    def __init__(
        self,
        config: Config,
        *,
        dram_bytes: int = DEFAULT_DRAM_BYTES,
        memory_latency: int = DEFAULT_MEMORY_LATENCY,
    ) -> None:
        if dram_bytes % PAGE_BYTES or not 2 * PAGE_BYTES <= dram_bytes <= 1 << DRAM_ADDRESS_BITS:
            raise ValueError(
                f"dram_bytes is {dram_bytes}; it must be a multiple of {PAGE_BYTES} from "
                f"{2 * PAGE_BYTES} to {1 << DRAM_ADDRESS_BITS}"
            )
        if memory_latency < 0:
            raise ValueError(f"memory_latency is {memory_latency}; it cannot be negative")
        from .engine import Engine  # brings the compiler in, which takes half a second

        self.config = config
        self.memory_latency = memory_latency
        self.dram: U8 = np.zeros(dram_bytes, np.uint8)
        self._engine = Engine(config, self.dram)

    def close(self) -> None:
        """Nothing is held but memory of this process."""

    def reset(self) -> None:
        """Forget tokens; memory and buffers stay, as hardware's do."""
        self._engine.buffers.forget_tokens()

    @property
    def tokens(self) -> Mapping[str, int]:
        """The tokens left in each queue, by name: `load->compute` and so on."""
        from .queues import TOKEN_QUEUES

        return dict(zip(TOKEN_QUEUES, self._engine.tokens, strict=True))

    def run(self, insns: U8, *, timing: bool = True, record: bool = False) -> Result:
        """Run a program to its FINISH.

        Parameters
        ----------
        insns : uint8 (n, 16)
        timing : bool
            Whether to count cycles. Without, instructions run in some order that the tokens allow.
        record : bool
            Whether to return when each instruction started and ended.

        Raises
        ------
        ProgramError
            For a program that is malformed, naming instruction, field, value and limit.
        DeadlockError
            For one that waits for ever, naming what each unit waits for.
        """
        latency = self.memory_latency if timing else None
        timed = self._engine.run(insns, latency=latency, record=record)
        original = self._engine.counters
        if timed is None:
            return Result(None, Counters(*original, cycles=None))
        counters = Counters(*original, cycles=_cycles(timed.clock))
        if not record:
            return Result(timed.cycles, counters)
        return Result(timed.cycles, counters, timed.starts, timed.ends)


def _cycles(clock: np.void) -> Cycles:
    load, compute, store, matrix = (UnitCycles(*row) for row in clock["spent"].tolist())
    load_words, compute_words, fetch_words = clock["words_read"].tolist()
    return Cycles(
        load,
        compute,
        store,
        matrix,
        gemm=int(clock["gemm_cycles"]),
        alu=int(clock["alu_cycles"]),
        operand_hits=int(clock["operand_hits"]),
        fetch_words=fetch_words,
        load_words=load_words,
        compute_words=compute_words,
        store_words=int(clock["write_words"]),
    )
