"""The board's end of `isa.link`: frames to words of memory and registers, and answers to them."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..hw.axi import LiteSignature
from ..isa.config import Config
from ..isa.link import (
    CRC_BYTES,
    ESCAPE,
    FLAG,
    FLIP,
    HEADER_BYTES,
    MAX_DATA_BYTES,
    WORD_BYTES,
    Board,
    Op,
    Status,
)
from .signals import Interface, WordSignature, resting
from .uart import Receiver, Transmitter

FRAME_BYTES = HEADER_BYTES + MAX_DATA_BYTES + CRC_BYTES
_POLYNOMIAL = 0xEDB88320  # of IEEE 802.3, reflected
_HEARING = ("IDLE", "FLAG", "SEQUENCE", "READ", "HEAD", "DATA", "MORE", "CRC", "END")
"""States in which the frame that is done is needed no more."""
_RESIDUE = 0xDEBB20E3  # the register after bytes that end with their own CRC


def crc_step(crc: Value, byte: Value) -> Value:
    """Return the CRC's register after another byte; it begins with ones, and is inverted last."""
    bits: list[Value] = list(crc)
    for place in range(8):
        feedback = bits[0] ^ byte[place]
        shifted: list[Value] = [*bits[1:], Const(0, 1)]
        bits = [
            bit ^ feedback if _POLYNOMIAL >> index & 1 else bit for index, bit in enumerate(shifted)
        ]
    return Cat(bits)


class Link(wiring.Component):
    """Do what a host says over a serial line.

    One command at a time. The next one may come while the answer to the last is sent; what comes
    besides is not heard.

    Parameters
    ----------
    config : Config
    board : Board
        What `CONNECT` answers.
    divisor : int
        Clock cycles of a bit on the line.

    Members
    -------
    rx : In(1)
    tx : Out(1)
    registers : Out(LiteSignature())
    memory : Out(WordSignature())
    busy : Out(1)
        From a sound command until its answer has been sent.
    """

    rx: Signal
    tx: Signal
    registers: Interface
    memory: Interface
    busy: Signal

    def __init__(self, config: Config, board: Board, divisor: int):
        self.config = config
        self.board = board
        self.divisor = divisor
        super().__init__(
            {
                "rx": resting(In, 1, 1),
                "tx": resting(Out, 1, 1),
                "registers": Out(LiteSignature()),
                "memory": Out(WordSignature()),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver = receiver = Receiver(self.divisor)
        m.submodules.transmitter = transmitter = Transmitter(self.divisor)
        m.submodules.frame = frame = Memory(
            shape=8 * WORD_BYTES, depth=-(-FRAME_BYTES // WORD_BYTES), init=[]
        )
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]
        put = frame.write_port(granularity=8)
        get = frame.read_port()

        size = Signal(range(FRAME_BYTES + 1))  # bytes of the frame that is received
        hears, taken = Signal(), Signal()
        sound, damaged = self._receive(m, receiver, put, size, hears, taken)
        self._answer(m, transmitter, get, size, sound, damaged, hears, taken)
        return m

    def _receive(
        self,
        m: Module,
        receiver: Receiver,
        put: Interface,
        size: Signal,
        hears: Signal,
        taken: Signal,
    ) -> tuple[Signal, Signal]:
        """Put a frame's bytes into the memory while one `hears`; return how it stands at its end.

        It stands so until it is `taken`.
        """
        crc = Signal(32, init=-1)
        escaped = Signal()
        too_long = Signal()
        sound, damaged = Signal(), Signal()
        byte = Signal(8)
        m.d.comb += [
            byte.eq(receiver.byte ^ Mux(escaped, FLIP, 0)),
            put.addr.eq(size[2:]),
            put.data.eq(byte.replicate(WORD_BYTES)),
        ]
        with m.If(taken):
            m.d.sync += [sound.eq(0), damaged.eq(0)]
        with m.If(receiver.valid & hears & ~sound & ~damaged):
            with m.If(receiver.byte == FLAG):
                whole = (crc == _RESIDUE) & (size >= HEADER_BYTES + CRC_BYTES)
                good = whole & ~escaped & ~too_long
                m.d.sync += [
                    sound.eq(good),
                    damaged.eq((size != 0) & ~good),
                    crc.eq(-1),
                    escaped.eq(0),
                    too_long.eq(0),
                ]
                with m.If(~good):
                    m.d.sync += size.eq(0)
            with m.Elif(receiver.byte == ESCAPE):
                m.d.sync += escaped.eq(1)
            with m.Else():
                m.d.sync += [escaped.eq(0), crc.eq(crc_step(crc, byte))]
                with m.If(size == FRAME_BYTES):
                    m.d.sync += too_long.eq(1)
                with m.Else():
                    m.d.comb += put.en.eq(1 << size[:2])
                    m.d.sync += size.eq(size + 1)
        return sound, damaged

    def _answer(
        self,
        m: Module,
        transmitter: Transmitter,
        get: Interface,
        size: Signal,
        sound: Signal,
        damaged: Signal,
        hears: Signal,
        taken: Signal,
    ) -> None:
        """Do a command and send its answer, word by word of its data."""
        connected, last = Signal(), Signal(8)  # the sequence number of the last command done
        sequence, op, count, address = Signal(8), Signal(8), Signal(16), Signal(32)
        again = Signal()  # this is that command once more
        status = Signal(8)
        at = Signal(range(FRAME_BYTES // WORD_BYTES + 1))  # the word of the frame that is read
        left = Signal(range(MAX_DATA_BYTES // WORD_BYTES + 1))  # words of data still to move
        word = Signal(32)
        send = _Sender(m, transmitter)
        m.d.comb += get.addr.eq(at)
        reads = (op == Op.READ_MEMORY) | (op == Op.READ_REGISTER) | (op == Op.CONNECT)
        registers, memory = self.registers, self.memory
        of_register = (op == Op.READ_REGISTER) | (op == Op.WRITE_REGISTER)
        of_memory = (op == Op.READ_MEMORY) | (op == Op.WRITE_MEMORY)
        m.d.comb += [
            registers.araddr.eq(address),
            registers.awaddr.eq(address),
            registers.wdata.eq(get.data),
            registers.wstrb.eq(-1),
            registers.rready.eq(1),
            registers.bready.eq(1),
            memory.address.eq(address),
            memory.data.eq(get.data),
        ]
        board = Array(
            Const(self.board.encode(self.config) >> 32 * index & 0xFFFFFFFF, 32)
            for index in range(Board.WORD_BITS // 32)
        )

        with m.FSM(name="command") as fsm:
            m.d.comb += [
                self.busy.eq(~fsm.ongoing("IDLE")),
                hears.eq(Cat(fsm.ongoing(state) for state in _HEARING).any()),
            ]
            with m.State("IDLE"):
                m.d.comb += taken.eq(1)
                m.d.sync += at.eq(0)
                with m.If(sound):
                    m.next = "HEADER"
                with m.Elif(damaged):
                    m.d.sync += [
                        sequence.eq(0), op.eq(0), status.eq(Status.DAMAGED), left.eq(0)
                    ]  # fmt: skip
                    m.next = "FLAG"
            with m.State("HEADER"):
                m.d.sync += at.eq(1)
                m.next = "FIRST"
            with m.State("FIRST"):
                m.d.sync += [Cat(sequence, op, count).eq(get.data), at.eq(2)]
                m.next = "SECOND"
            with m.State("SECOND"):
                m.d.sync += [address.eq(get.data), again.eq(connected & (sequence == last))]
                m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += size.eq(0)
                words = count[2 : 2 + len(left)]
                bytes_of_data = size - HEADER_BYTES - CRC_BYTES
                writes = (op == Op.WRITE_MEMORY) | (op == Op.WRITE_REGISTER)
                of_one = of_register & (count != WORD_BYTES)
                fits = (
                    (count[:2] == 0)
                    & (count <= MAX_DATA_BYTES)
                    & (address[:2] == 0)
                    & (bytes_of_data == Mux(writes, count, 0))
                    & ~of_one
                )
                too_late = (sequence - last)[7]
                m.d.sync += [status.eq(Status.OKAY), left.eq(words)]
                with m.If(op == Op.CONNECT):
                    m.d.sync += [connected.eq(1), last.eq(sequence), left.eq(len(board))]
                    m.next = "FLAG"
                with m.Elif(~connected):
                    m.d.sync += [status.eq(Status.NOT_CONNECTED), left.eq(0)]
                    m.next = "FLAG"
                with m.Elif(too_late):
                    m.d.sync += [status.eq(Status.TOO_LATE), left.eq(0)]
                    m.next = "FLAG"
                with m.Elif(~fits | ~(of_register | of_memory)):
                    m.d.sync += [status.eq(Status.UNKNOWN), left.eq(0), last.eq(sequence)]
                    m.next = "FLAG"
                with m.Elif(reads):
                    m.d.sync += last.eq(sequence)
                    m.next = "FLAG"
                with m.Else():
                    m.d.sync += last.eq(sequence)
                    with m.If(again):
                        m.d.sync += left.eq(0)
                        m.next = "FLAG"
                    with m.Else():
                        m.next = "WRITE"

            with m.State("WRITE"):  # the frame's word `at` is on its way
                m.next = "WRITE_WORD"
                with m.If(left == 0):
                    m.next = "FLAG"
            with m.State("WRITE_WORD"):
                done, refused = Signal(), Signal()
                self._write_word(m, of_register, done, refused)
                with m.If(done):
                    m.d.sync += [left.eq(left - 1), at.eq(at + 1), address.eq(address + 4)]
                    m.next = "WRITE"
                    with m.If(refused):
                        m.d.sync += [status.eq(Status.REFUSED), left.eq(0)]

            with m.State("FLAG"):
                with m.If(send.flag()):
                    m.next = "SEQUENCE"
            with m.State("SEQUENCE"):
                # What is read first says whether the answer has data at all.
                m.next = "HEAD"
                with m.If((left != 0) & reads):
                    m.next = "READ"
            for state, following in (("READ", "HEAD"), ("MORE", "DATA")):
                with m.State(state):
                    done, refused, found = Signal(), Signal(), Signal(32)
                    self._read_word(m, of_register, done, refused, found)
                    with m.If(op == Op.CONNECT):
                        m.d.comb += [done.eq(1), found.eq(board[(-left)[:2]])]
                    with m.If(done):
                        m.d.sync += word.eq(found)
                        m.next = following
                        with m.If(refused):
                            m.d.sync += [status.eq(Status.REFUSED), left.eq(0)]
            with m.State("HEAD"):
                with m.If(send.word(Cat(sequence, op, status, Const(0, 8)))):
                    m.next = "CRC"
                    with m.If((left != 0) & reads):
                        m.next = "DATA"
            with m.State("DATA"):
                with m.If(send.word(word)):
                    m.d.sync += [left.eq(left - 1), address.eq(address + 4)]
                    m.next = "CRC"
                    with m.If(left != 1):
                        m.next = "MORE"
            with m.State("CRC"):
                with m.If(send.crc()):
                    m.next = "END"
            with m.State("END"):
                with m.If(send.flag()):
                    m.next = "IDLE"

    def _write_word(self, m: Module, of_register: Value, done: Signal, refused: Signal) -> None:
        registers, memory = self.registers, self.memory
        taken = Signal(2)  # address, data
        with m.If(of_register):
            m.d.comb += [
                registers.awvalid.eq(~taken[0]),
                registers.wvalid.eq(~taken[1]),
                done.eq(registers.bvalid),
                refused.eq(registers.bresp != 0),
            ]
            m.d.sync += [
                taken[0].eq((taken[0] | registers.awready) & ~done),
                taken[1].eq((taken[1] | registers.wready) & ~done),
            ]
        with m.Else():
            m.d.comb += [
                memory.valid.eq(1),
                memory.write.eq(1),
                done.eq(memory.done),
                refused.eq(memory.refused),
            ]

    def _read_word(
        self, m: Module, of_register: Value, done: Signal, refused: Signal, found: Signal
    ) -> None:
        registers, memory = self.registers, self.memory
        taken = Signal()
        with m.If(of_register):
            m.d.comb += [
                registers.arvalid.eq(~taken),
                done.eq(registers.rvalid),
                refused.eq(registers.rresp != 0),
                found.eq(registers.rdata),
            ]
            m.d.sync += taken.eq((taken | registers.arready) & ~done)
        with m.Else():
            m.d.comb += [
                memory.valid.eq(1),
                done.eq(memory.done),
                refused.eq(memory.refused),
                found.eq(memory.found),
            ]


class _Sender:
    """Sends words of four bytes, the low one first, with their CRC, escaped."""

    def __init__(self, m: Module, transmitter: Transmitter):
        self.m = m
        self.bytes = transmitter.bytes
        self._crc = Signal(32, init=-1)
        self._place = Signal(range(WORD_BYTES))
        self._escaped = Signal()

    def flag(self) -> Value:
        """Send a flag, with which a CRC begins anew; return whether it is taken."""
        m = self.m
        m.d.comb += [self.bytes.valid.eq(1), self.bytes.payload.eq(FLAG)]
        m.d.sync += self._crc.eq(-1)
        return self.bytes.ready

    def word(self, word: Value) -> Value:
        """Send a word; return whether its last byte is taken."""
        return self._word(word, counted=True)

    def crc(self) -> Value:
        """Send the CRC; return whether its last byte is taken."""
        return self._word(~self._crc, counted=False)

    def _word(self, word: Value, *, counted: bool) -> Value:
        m = self.m
        byte = Signal(8)
        special = Signal()
        last = Signal()
        m.d.comb += [
            byte.eq(word.word_select(self._place, 8)),
            special.eq((byte == FLAG) | (byte == ESCAPE)),
            self.bytes.valid.eq(1),
            self.bytes.payload.eq(byte),
        ]
        with m.If(special):
            m.d.comb += self.bytes.payload.eq(Mux(self._escaped, byte ^ FLIP, ESCAPE))
        with m.If(self.bytes.ready):
            with m.If(special & ~self._escaped):
                m.d.sync += self._escaped.eq(1)
            with m.Else():
                m.d.comb += last.eq(self._place == WORD_BYTES - 1)
                m.d.sync += [self._escaped.eq(0), self._place.eq(self._place + 1)]
                if counted:
                    m.d.sync += self._crc.eq(crc_step(self._crc, byte))
        return last
