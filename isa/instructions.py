"""The instructions and the micro-op, each field declared once (bit positions: `fields.slots`)."""

import enum

from .config import INSTRUCTION_BITS, UOP_BITS, Config
from .fields import FieldError, Format, bits


class Opcode(enum.IntEnum):
    """What an instruction does; 5 to 7 are free."""

    LOAD = 0
    STORE = 1
    GEMM = 2
    FINISH = 3
    ALU = 4


class Memory(enum.IntEnum):
    """What a LOAD fills or a STORE empties; 6 and 7 are free."""

    UOP = 0
    WGT = 1
    INP = 2
    ACC = 3
    OUT = 4
    ACC_8BIT = 5

    @property
    def meaning(self) -> str:
        """What it is, for the manual."""
        match self:
            case Memory.UOP:
                return "micro-ops"
            case Memory.WGT:
                return "weight tiles, wgt (block_out, block_in)"
            case Memory.INP:
                return "input tiles, inp (batch, block_in)"
            case Memory.ACC:
                return "accumulator tiles, acc (batch, block_out), 32 bits an element"
            case Memory.OUT:
                return "the accumulators' low 8 bits; only STORE has it"
            case Memory.ACC_8BIT:
                return "accumulators from 8-bit elements, sign-extended; only LOAD has it"

    def depth(self, config: Config) -> int:
        """Return how many elements the on-chip buffer holds."""
        match self:
            case Memory.UOP:
                return config.uop_depth
            case Memory.WGT:
                return config.wgt_depth
            case Memory.INP:
                return config.inp_depth
            case Memory.ACC | Memory.OUT | Memory.ACC_8BIT:
                return config.acc_depth

    def element_bytes(self, config: Config) -> int:
        """Return the bytes of one element in DRAM, the unit of `dram_base` and `x_stride`."""
        match self:
            case Memory.UOP:
                return config.uop_tile_bytes
            case Memory.WGT:
                return config.wgt_tile_bytes
            case Memory.INP:
                return config.inp_tile_bytes
            case Memory.ACC:
                return config.acc_tile_bytes
            case Memory.OUT | Memory.ACC_8BIT:
                return config.out_tile_bytes


class AluOp(enum.IntEnum):
    """What ALU computes, element by element; 5 to 7 are free."""

    MIN = 0
    MAX = 1
    ADD = 2
    SHR = 3
    MUL = 4

    @property
    def meaning(self) -> str:
        """What becomes of x (the accumulator) and y (the second operand), for the manual."""
        match self:
            case AluOp.MIN:
                return "the lesser of x and y"
            case AluOp.MAX:
                return "the greater of x and y"
            case AluOp.ADD:
                return "x + y, its low 32 bits"
            case AluOp.SHR:
                return "x >> y, arithmetic, for every y from 0 on; a negative y shifts left"
            case AluOp.MUL:
                return "x * y, its low 32 bits"


class Unit(enum.IntEnum):
    """The units that run beside each other: three in the order of the pipeline, and MATRIX.

    With two banks of accumulators MATRIX takes GEMM from COMPUTE, and its place between LOAD and
    STORE too: the two share their token queues.
    """

    LOAD = 0
    COMPUTE = 1
    STORE = 2
    MATRIX = 3


def units(config: Config) -> tuple[Unit, ...]:
    """Return the units that a machine has."""
    return tuple(unit for unit in Unit if unit is not Unit.MATRIX or config.acc_banks == 2)


def _uop_index(config: Config) -> int:
    return config.uop_index_bits


def _uop_count(config: Config) -> int:
    return config.uop_index_bits + 1


def _acc_index(config: Config) -> int:
    return config.acc_index_bits


def _bank(config: Config) -> int:
    return config.bank_bits


def _inp_index(config: Config) -> int:
    return config.inp_index_bits


def _wgt_index(config: Config) -> int:
    return config.wgt_index_bits


def _src_index(config: Config) -> int:
    return config.src_index_bits


class Instruction(Format):
    """What every instruction has: an opcode and the four token flags."""

    WORD_BITS = INSTRUCTION_BITS

    opcode: Opcode = bits(3, "what the instruction does", default=Opcode.FINISH)
    pop_prev: bool = bits(1, "take a token from the previous unit first", default=False)
    pop_next: bool = bits(1, "take a token from the next unit first", default=False)
    push_prev: bool = bits(1, "give the previous unit a token at the end", default=False)
    push_next: bool = bits(1, "give the next unit a token at the end", default=False)

    def unit(self, config: Config) -> Unit:
        """Return the unit that executes it."""
        match self:
            case Load(memory=Memory.INP | Memory.WGT):
                return Unit.LOAD
            case Store():
                return Unit.STORE
            case Gemm() if config.acc_banks == 2:
                return Unit.MATRIX
            case _:
                return Unit.COMPUTE


class _Transfer(Instruction):
    memory: Memory = bits(3, "the buffer", default=Memory.INP)
    sram_base: int = bits(16, "first element in the buffer")
    dram_base: int = bits(32, "first element in DRAM, counted in elements")
    bank: int = bits(_bank, "of accumulators that it fills or empties; else 0")
    y_size: int = bits(16, "rows")
    x_size: int = bits(16, "elements a row; with 0 nothing happens at all")
    x_stride: int = bits(16, "elements from one row to the next in DRAM")
    y_pad_0: int = bits(4, "rows of zeros before")
    y_pad_1: int = bits(4, "rows of zeros after")
    x_pad_0: int = bits(4, "zeros before each row")
    x_pad_1: int = bits(4, "zeros after each row")


class Load(_Transfer):
    """DRAM to a buffer: `y_size` rows of `x_size` elements, with zeros around."""

    opcode: Opcode = bits(3, "LOAD", default=Opcode.LOAD)


class Store(_Transfer):
    """Accumulators, their low 8 bits, to DRAM: `y_size` rows of `x_size` elements; no pads."""

    opcode: Opcode = bits(3, "STORE", default=Opcode.STORE)
    memory: Memory = bits(3, "the buffer", default=Memory.OUT)


class _Loop(Instruction):
    reset: bool = bits(1, "write zeros instead (GEMM only)", default=False)
    uop_begin: int = bits(_uop_index, "first micro-op")
    uop_end: int = bits(_uop_count, "the micro-op after the last")
    iter_out: int = bits(14, "iterations of the outer loop")
    iter_in: int = bits(14, "iterations of the inner loop")
    dst_factor_out: int = bits(_acc_index, "added to dst in each outer iteration")
    dst_factor_in: int = bits(_acc_index, "added to dst in each inner iteration")
    bank: int = bits(_bank, "of accumulators that it works in")


class Gemm(_Loop):
    """acc[dst] += inp[src] · wgt[wgt]ᵀ, for each micro-op, in two nested loops."""

    opcode: Opcode = bits(3, "GEMM", default=Opcode.GEMM)
    src_factor_out: int = bits(_inp_index, "added to src in each outer iteration")
    src_factor_in: int = bits(_inp_index, "added to src in each inner iteration")
    wgt_factor_out: int = bits(_wgt_index, "added to wgt in each outer iteration")
    wgt_factor_in: int = bits(_wgt_index, "added to wgt in each inner iteration")


class Alu(_Loop):
    """acc[dst] = acc[dst] op (imm or acc[src]), for each micro-op, in two nested loops."""

    opcode: Opcode = bits(3, "ALU", default=Opcode.ALU)
    src_factor_out: int = bits(_acc_index, "added to src in each outer iteration")
    src_factor_in: int = bits(_acc_index, "added to src in each inner iteration")
    alu_opcode: AluOp = bits(3, "the operation", default=AluOp.ADD)
    use_imm: bool = bits(1, "the second operand is imm, not acc[src]", default=False)
    imm: int = bits(16, "the immediate operand", signed=True)


class Finish(Instruction):
    """The end of a program; executed by the compute unit."""

    opcode: Opcode = bits(3, "FINISH", default=Opcode.FINISH)


class Uop(Format):
    """A micro-op: the tiles that one step of GEMM or ALU works on."""

    WORD_BITS = UOP_BITS

    dst: int = bits(_acc_index, "accumulator tile")
    src: int = bits(_src_index, "input tile (GEMM) or accumulator tile (ALU)")
    wgt: int = bits(_wgt_index, "weight tile (GEMM)")


FORMATS: dict[Opcode, type[Instruction]] = {
    Opcode.LOAD: Load,
    Opcode.STORE: Store,
    Opcode.GEMM: Gemm,
    Opcode.FINISH: Finish,
    Opcode.ALU: Alu,
}


def decode(word: int, config: Config) -> Instruction:
    """Return the instruction that a 128-bit word holds.

    Raises
    ------
    FieldError
        For an opcode, memory or ALU operation that does not exist.
    """
    opcode = word & 0b111
    if opcode not in FORMATS:
        known = ", ".join(f"{member.value} {member.name}" for member in Opcode)
        raise FieldError(f"opcode is {opcode}; it may be {known}")
    return FORMATS[Opcode(opcode)].decode(word, config)
