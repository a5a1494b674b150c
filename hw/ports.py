"""What the units are joined by: commands, faults, read requests and their data, buffer fills."""

from typing import Any, TypeAlias

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..isa.config import DRAM_ADDRESS_BITS, INSTRUCTION_BITS, Config
from ..isa.costs import IN_FLIGHT, MAX_BURST_WORDS
from ..isa.instructions import Memory

Interface: TypeAlias = Any
"""An interface of a signature, or a view of a layout; the checker does not know its members."""

INDEX_BITS = 32
"""Of an instruction's number in its program."""


Command = data.StructLayout({"insn": INSTRUCTION_BITS, "index": INDEX_BITS})
"""An instruction on its way to its unit: the word, and its number in the program."""

Fault = data.StructLayout({"valid": 1, "code": 8, "index": INDEX_BITS})
"""What was wrong with which instruction: a pulse of `valid`, and an `isa.registers.ErrorCode`."""

Request = data.StructLayout({"address": DRAM_ADDRESS_BITS, "words": range(MAX_BURST_WORDS + 1)})
"""A read burst: the byte address of its first bus word, a multiple of the word, and its words."""


class WordsSignature(wiring.Signature):
    """Bus words that were read, as the reader sees them; `error` says that memory refused one."""

    def __init__(self, bus_bits: int):
        self.bus_bits = bus_bits
        super().__init__({"valid": In(1), "data": In(bus_bits), "error": In(1)})


class ReaderSignature(wiring.Signature):
    """A reader of memory, as the reader sees it.

    `request` is granted in the cycle in which it is ready, and once valid it stands until then.
    `data` are the words, in the order of grants; nobody can hold them up, and the first may come in
    the very cycle of its grant.
    """

    def __init__(self, bus_bits: int):
        self.bus_bits = bus_bits
        super().__init__(
            {"request": Out(stream.Signature(Request)), "data": Out(WordsSignature(bus_bits))}
        )


class FillSignature(wiring.Signature):
    """A bus word, or an element of pads, on its way into a buffer, as the sender sees it.

    A word goes to the elements `index` + lane for which `lanes` has a bit, or, where an element is
    wider than a bus word, to the chunks of element `index` for which `chunks` has one. Where its
    first element is not in lane 0, `index` may lie before the buffer, and wraps.

    Parameters
    ----------
    config : Config
    memory : Memory
        UOP, WGT, INP or ACC. For ACC a member `extend` says that the word holds 8-bit elements, to
        be sign-extended: four times as many lanes or chunks; and `bank` where it goes.
    """

    def __init__(self, config: Config, memory: Memory):
        self.config = config
        self.memory = memory
        shape = BankShape(config, memory)
        members = {
            "lanes": Out(shape.banks),
            "chunks": Out(shape.chunks),
            "index": Out(shape.index_bits),
            "data": Out(config.bus_bits),
        }
        if memory is Memory.ACC:
            members["extend"] = Out(1)
            members["bank"] = Out(config.bank_bits)
        super().__init__(members)


class BankShape:
    """How a buffer is cut up so that it takes a bus word a cycle, whatever its alignment.

    Elements go round `banks` banks; each bank is written by chunks, the part of an element that
    one word fills. One of the two is 1, but for ACC, where a word of ACC_8BIT counts as four.

    Attributes
    ----------
    banks, chunks, lines : int
        Banks; chunks of an element; elements of a bank.
    element_bits, chunk_bits : int
    index_bits : int
        Of an element's index, at least enough to name the bank.
    """

    def __init__(self, config: Config, memory: Memory):
        element_bytes = memory.element_bytes(config)
        widened = 4 if memory is Memory.ACC else 1
        self.banks = max(1, widened * config.bus_bytes // element_bytes)
        self.chunks = max(1, element_bytes // config.bus_bytes)
        self.lines = max(1, memory.depth(config) // self.banks)
        self.element_bits = 8 * element_bytes
        self.chunk_bits = self.element_bits // self.chunks
        self.bank_bits = (self.banks - 1).bit_length()
        self.index_bits = max(self.bank_bits, (memory.depth(config) - 1).bit_length())


def engine_members() -> dict[str, wiring.Member]:
    """Return the members by which a sequencer drives an engine.

    start : In(1)
        Begin the instruction of `command` in this cycle, s; only while `front_free`.
    command : In(Command)
        Valid with `start`.
    slot : In(range(IN_FLIGHT))
        Which of the instructions under way it is; valid with `start`.
    front_free : Out(1)
        An instruction may start in this cycle.
    written : Out(IN_FLIGHT)
        A bit for a cycle, c: the instruction in that slot has written from c + 1 on, as far as it
        goes itself; earlier ones may not have.
    error : Out(Fault)
        Not later than the cycle after the instruction's `written`.
    halt : In(1)
        Begin nothing new: no request that does not stand yet, no new write burst.
    drained : Out(1)
        While `halt`: no request and no write burst of this engine is begun and not complete. Words
        on their way are known to `ReadChannel.drained`.
    """
    return {
        "start": In(1),
        "command": In(Command),
        "slot": In(range(IN_FLIGHT)),
        "front_free": Out(1),
        "written": Out(IN_FLIGHT),
        "error": Out(Fault),
        "halt": In(1),
        "drained": Out(1),
    }


class TileReadSignature(wiring.Signature):
    """A read port of a buffer, as the reader sees it: `data` follows `index` by a cycle.

    `index` (range(depth)) names an element, `data` holds all of it.
    """

    def __init__(self, config: Config, memory: Memory):
        self.config = config
        self.memory = memory
        super().__init__(
            {
                "index": Out(range(memory.depth(config))),
                "data": In(8 * memory.element_bytes(config)),
            }
        )


class TileWriteSignature(wiring.Signature):
    """The write port of the accumulators, as the writer sees it: a whole tile where `en`.

    `bank` is where it goes.
    """

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                "en": Out(1),
                "bank": Out(config.bank_bits),
                "index": Out(range(config.acc_depth)),
                "data": Out(8 * config.acc_tile_bytes),
            }
        )


class OutSignature(wiring.Signature):
    """The read port of the output buffer, as the reader sees it: bus words.

    With `en`, `data` is, from the next cycle on, the elements from `index` on; where an element is
    wider than a bus word, the part `chunk` of element `index`, in bank `bank`. `index` may lie
    before the buffer, as a fill's.
    """

    def __init__(self, config: Config):
        self.config = config
        chunks = max(1, config.out_tile_bytes // config.bus_bytes)
        super().__init__(
            {
                "en": Out(1),
                "bank": Out(config.bank_bits),
                "index": Out(BankShape(config, Memory.ACC).index_bits),
                "chunk": Out(range(chunks)),
                "data": In(config.bus_bits),
            }
        )
