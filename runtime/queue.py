"""The command queue: loads, stores, GEMM and ALU in program order become a stream with tokens."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..isa.config import Config
from ..isa.fields import slots
from ..isa.instructions import Alu, AluOp, Memory, Unit
from .assembly import Bare, Move, Record, Step, assemble
from .hazards import NEVER, Dram, Tiles, newest
from .kernel import Kernel, Nest, Operands, compile_nest
from .stream import Mark, Stream
from .tokens import BANKS, After, TokenOrder
from .transfer import NO_PADS, Dim, Pads, Transfer, transfers


class QueueError(ValueError):
    """A command that cannot be queued."""


class CommandQueue:
    """Takes commands in an order that is right one after the other; orders the units by tokens.

    Which commands must wait for which follows from what they read and write: tiles of SRAM (the
    range from the first to the last one that a GEMM or ALU touches) and bytes of DRAM (exactly).
    So commands that are to overlap must use different tiles: the halves of a buffer, taken in
    turns. Accumulator tiles are counted through both banks, where there are two; a command stays
    in one. DRAM addresses are byte offsets into the arena, which gets its place when the stream is
    bound to a device.

    Parameters
    ----------
    config : Config
        The machine that the stream is for.
    """

    def __init__(self, config: Config):
        self.config = config
        self._order = TokenOrder(config.token_queue_depth)
        self._inp = Tiles(config.inp_depth)
        self._wgt = Tiles(config.wgt_depth)
        self._acc = Tiles(config.acc_banks * config.acc_depth)
        self._dram = Dram(config)
        self._records: list[Record] = []
        self._newest = [NEVER] * len(Unit)
        self._marks: list[Mark] = []
        self._kernels: dict[tuple[Nest, Operands], tuple[tuple[Kernel, int], ...]] = {}
        self._lists: list[npt.NDArray[np.uint32]] = []
        self._list_numbers: dict[bytes, int] = {}
        self._imm = next(slot for slot in slots(Alu, config) if slot.name == "imm")
        self._finished = False

    def mark(self, layer: str, macs: int = 0) -> None:
        """Let what follows belong to a layer, which does `macs` multiply-accumulates."""
        self._open()
        self._marks.append(Mark(layer, len(self._records), macs))

    def load(
        self,
        memory: Memory,
        sram_base: int,
        dram_byte: int,
        *,
        x_size: int,
        y_size: int = 1,
        x_stride: int | None = None,
        pads: Pads = NO_PADS,
    ) -> None:
        """Fill tiles of INP, WGT, ACC or ACC_8BIT from `y_size` rows of `x_size` elements.

        Rows begin `x_stride` elements apart (without one, they follow each other); zeros are
        written around them and `sram_base` is the first tile of all.

        Raises
        ------
        TransferError
            See `transfers`.
        QueueError
            For a memory that is not loaded this way, or after `finish`.
        """
        step = (x_size if x_stride is None else x_stride) * memory.element_bytes(self.config)
        width = x_size + pads.left + pads.right
        dims = (Dim(y_size, step, width), Dim(x_size, memory.element_bytes(self.config), 1))
        self.load_nd(memory, sram_base, dram_byte, dims, pads)

    def load_nd(
        self,
        memory: Memory,
        sram_base: int,
        dram_byte: int,
        dims: Sequence[Dim],
        pads: Pads = NO_PADS,
    ) -> None:
        """Fill tiles from a strided box, outermost dimension first, in as few loads as do it.

        Raises
        ------
        TransferError, QueueError
            As `load`.
        """
        self._open()
        if memory not in (Memory.INP, Memory.WGT, Memory.ACC, Memory.ACC_8BIT):
            raise QueueError(
                f"cannot load {memory.name}: INP, WGT, ACC and ACC_8BIT are loaded, "
                f"and micro-ops load themselves"
            )
        unit = Unit.LOAD if memory in (Memory.INP, Memory.WGT) else Unit.COMPUTE
        buffer = self._inp if memory is Memory.INP else self._wgt
        bank, sram_base = (0, sram_base) if unit is Unit.LOAD else self._banked(sram_base)
        for move in transfers(memory, sram_base, dram_byte, dims, self.config, pads):
            stored = self._dram.newest_write(memory, move)
            if unit is Unit.LOAD:
                tiles = slice(move.sram_base, move.sram_base + move.tiles)
                after = After(compute=(newest(buffer.read, tiles),), store=stored)
                number = self._issue(unit, after, Move(memory, move, bank))
                buffer.written[tiles] = number
            else:
                tiles = self._tiles(bank, move)
                after = After(store=max(newest(self._acc.read, tiles), stored))
                number = self._issue(unit, after, Move(memory, move, bank), (bank,))
                self._acc.written[tiles] = number
            self._dram.note_read(unit, memory, move, number)

    def store(
        self,
        sram_base: int,
        dram_byte: int,
        *,
        x_size: int,
        y_size: int = 1,
        x_stride: int | None = None,
    ) -> None:
        """Write the low 8 bits of accumulator tiles to `y_size` rows of `x_size` elements.

        Raises
        ------
        TransferError
            See `transfers`.
        QueueError
            After `finish`.
        """
        element = Memory.OUT.element_bytes(self.config)
        step = (x_size if x_stride is None else x_stride) * element
        self.store_nd(sram_base, dram_byte, (Dim(y_size, step, x_size), Dim(x_size, element, 1)))

    def store_nd(self, sram_base: int, dram_byte: int, dims: Sequence[Dim]) -> None:
        """Write the low 8 bits of accumulator tiles to a strided box, outermost dimension first.

        Raises
        ------
        TransferError, QueueError
            As `store`.
        """
        self._open()
        bank, sram_base = self._banked(sram_base)
        for move in transfers(Memory.OUT, sram_base, dram_byte, dims, self.config):
            tiles = self._tiles(bank, move)
            loaded = self._dram.newest_read(Unit.LOAD, Memory.OUT, move)
            read = self._dram.newest_read(Unit.COMPUTE, Memory.OUT, move)
            after = After(loaded, (newest(self._acc.written, tiles), read))
            number = self._issue(Unit.STORE, after, Move(Memory.OUT, move, bank))
            self._acc.read[tiles] = number
            self._dram.note_write(Memory.OUT, move, number)

    def gemm(self, nest: Nest, *, reset: bool = False) -> None:
        """acc[dst] += inp[src] · wgt[wgt]ᵀ over the nest; with `reset`, acc[dst] = 0.

        Raises
        ------
        KernelError
            When an index leaves its buffer.
        QueueError
            After `finish`.
        """
        self._loops(nest, Operands.RESET if reset else Operands.GEMM, None, None)

    def alu(self, nest: Nest, op: AluOp, imm: int | None = None) -> None:
        """acc[dst] = acc[dst] op imm over the nest; without `imm`, acc[dst] op acc[src].

        Raises
        ------
        KernelError
            When an index leaves its buffer.
        QueueError
            For an immediate that does not fit its field, or after `finish`.
        """
        if imm is not None and not self._imm.low <= imm <= self._imm.high:
            raise QueueError(
                f"immediate {imm} of {op.name}: its {self._imm.width} bits hold "
                f"{self._imm.low} to {self._imm.high}; use a tensor operand"
            )
        operands = Operands.ALU if imm is None else Operands.IMMEDIATE
        self._loops(nest, operands, op, imm)

    def finish(self) -> Stream:
        """End the program: FINISH waits for everything. The queue takes no more commands.

        Raises
        ------
        QueueError
            When called again.
        """
        self._open()
        after = After(load=self._newest[Unit.LOAD], store=self._newest[Unit.STORE])
        self._issue(Unit.COMPUTE, after, Bare.FINISH)
        self._finished = True
        return assemble(self._records, self._marks, self._order, self._lists, self.config)

    def _open(self) -> None:
        if self._finished:
            raise QueueError("this queue is finished; a new program needs a new CommandQueue")

    def _banked(self, tile: int) -> tuple[int, int]:
        """Return the bank of an accumulator tile, and its number there."""
        bank = min(max(tile // self.config.acc_depth, 0), self.config.acc_banks - 1)
        return bank, tile - bank * self.config.acc_depth

    def _tiles(self, bank: int, move: Transfer) -> slice:
        """Return the accumulator tiles that a transfer fills or empties."""
        first = bank * self.config.acc_depth + move.sram_base
        return slice(first, first + move.tiles)

    def _issue(self, unit: Unit, after: After, record: Record, banks: Sequence[int] = BANKS) -> int:
        number = self._order.issue(unit, after, banks)
        while number > len(self._records):
            self._records.append(Bare.RELAY)
        self._records.append(record)
        self._newest[unit] = number
        return number

    def _loops(self, nest: Nest, operands: Operands, op: AluOp | None, imm: int | None) -> None:
        self._open()
        bank, dst = self._banked(nest.dst)
        base = bank * self.config.acc_depth
        src = nest.src - base if operands is Operands.ALU else nest.src
        nest = nest._replace(dst=dst, src=src)
        unit = Unit.COMPUTE
        if operands in (Operands.GEMM, Operands.RESET) and self.config.acc_banks == 2:
            unit = Unit.MATRIX
        kernels = self._kernels.get((nest, operands))
        if kernels is None:
            kernels = tuple(
                (kernel, self._list(kernel.uops))
                for kernel in compile_nest(nest, operands, self.config)
            )
            self._kernels[nest, operands] = kernels
        for kernel, number in kernels:
            tiles = slice(base + kernel.dst.start, base + kernel.dst.stop)
            loaded = NEVER
            if operands is Operands.GEMM:
                loaded = newest(self._inp.written, kernel.src)
                loaded = max(loaded, newest(self._wgt.written, kernel.wgt))
            after = After(load=loaded, store=newest(self._acc.read, tiles))
            record = Step(kernel, number, bank, op, imm, operands is Operands.RESET)
            issued = self._issue(unit, after, record, (bank,))
            self._acc.written[tiles] = issued
            if operands is Operands.GEMM:
                self._inp.read[kernel.src] = issued
                self._wgt.read[kernel.wgt] = issued

    def _list(self, uops: npt.NDArray[np.uint32]) -> int:
        number = self._list_numbers.setdefault(uops.tobytes(), len(self._lists))
        if number == len(self._lists):
            self._lists.append(uops)
        return number
