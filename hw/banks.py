"""Memory in banks, side by side: a fill is spread over them, a tile is read from one."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.memory import Memory, ReadPort, WritePort

from .ports import BankShape, Interface


class BankWrite(data.StructLayout):
    """What is written to a bank: its line, a bit for each chunk that is written, and all chunks."""

    def __init__(self, shape: BankShape):
        super().__init__(
            {"line": range(shape.lines), "chunks": shape.chunks, "data": shape.element_bits}
        )


def rotate(m: Module, word: Value, amount: Value, lane_bits: int) -> Value:
    """Return a word moved up by `amount` lanes, the last ones round to the front.

    It has as many lanes as `amount` has values.
    """
    for bit in range(len(amount)):
        moved = Signal(len(word))
        m.d.comb += moved.eq(Mux(amount[bit], word.rotate_left(lane_bits << bit), word))
        word = moved
    return word


def bank_of(shape: BankShape, index: Value) -> Value:
    """Return the bank that an element is in."""
    return index[: shape.bank_bits]


def line_of(shape: BankShape, index: Value) -> Value:
    """Return the line of its bank that an element is in."""
    return index[shape.bank_bits :]


def new_banks(
    m: Module, shape: BankShape, writes: list[Interface], part: int = 1
) -> list[tuple[Memory, WritePort]]:
    """Return the banks, into which `writes` go.

    Parameters
    ----------
    part : int
        How many times narrower elements are kept than they are written: of each 32 bits the low
        32 / `part`.
    """
    banks: list[tuple[Memory, WritePort]] = []
    for write in writes:
        bank = Memory(shape=shape.element_bits // part, depth=shape.lines, init=[])
        m.submodules += bank
        port = bank.write_port(granularity=shape.chunk_bits // part)
        kept = write.data
        if part > 1:
            kept = Cat(kept[i : i + 32 // part] for i in range(0, shape.element_bits, 32))
        m.d.comb += [port.addr.eq(write.line), port.en.eq(write.chunks), port.data.eq(kept)]
        banks.append((bank, port))
    return banks


def spread(m: Module, shape: BankShape, fill: Interface, word: Value) -> list[Interface]:
    """Return what a fill writes to each bank, of which `word` is what stands in `fill.data`.

    Element i of the word, of index n + i, goes to bank (n + i) mod banks, line (n + i) / banks.
    Where an element is wider than the word, the word is there for each of its parts.
    """
    lane_bits = len(word) // shape.banks
    first, line = bank_of(shape, fill.index), line_of(shape, fill.index)
    word, lanes = rotate(m, word, first, lane_bits), rotate(m, fill.lanes, first, 1)
    writes: list[Interface] = []
    for bank in range(shape.banks):
        write = Signal(BankWrite(shape), name=f"write_{bank}")
        element = word.word_select(bank, lane_bits)
        m.d.comb += [
            write.line.eq(line + (bank < first)),
            write.chunks.eq(Mux(lanes[bank], fill.chunks, 0)),
            write.data.eq(element.replicate(shape.element_bits // lane_bits)),
        ]
        writes.append(write)
    return writes


def read_tile(m: Module, shape: BankShape, read: Interface, ports: list[ReadPort]) -> None:
    """Answer a read of one element, from the ports of all banks."""
    bank = Signal(shape.bank_bits)
    m.d.sync += bank.eq(bank_of(shape, read.index))
    for number, port in enumerate(ports):
        m.d.comb += port.addr.eq(line_of(shape, read.index))
        with m.If(bank == number):
            m.d.comb += read.data.eq(port.data)
