"""The host's end of `isa.link`: commands over a serial line, sent until they are answered."""

import random
import time
from collections.abc import Callable
from typing import Protocol

from ...isa.config import Config
from ...isa.link import (
    ANSWER_BYTES,
    CRC_BYTES,
    FLAG,
    HEADER_BYTES,
    VERSION,
    WORD_BYTES,
    Answer,
    Board,
    Command,
    Op,
    Status,
    decode_answer,
    encode_command,
)
from .device import DeviceError

PATIENCE_SECONDS = 5.0
"""How long one command may take, however often it is sent."""
ANSWER_SECONDS = 0.25
"""How long an answer may take besides the time that its bytes need."""
LEAST_DATA_BYTES = 16
GROWS_AFTER = 16
"""Answers at once, without a second try, after which frames become larger again."""
_BITS_OF_BYTE = 10


class Line(Protocol):
    """A serial line, as pyserial has it."""

    def write(self, data: bytes, /) -> object:
        """Send bytes; raises `OSError` when the line is gone."""
        ...

    def read(self, seconds: float, /) -> bytes:
        """Return what has come, at least a byte unless none comes in time; raises `OSError`."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class SerialLink:
    """Reads and writes a board's memory and registers.

    Frames become shorter while the line loses or spoils them, and longer when it does not.

    Parameters
    ----------
    line : Line
    name : str
        The line's, for messages.
    baud : int
        Bits a second on the line.
    patience : float
        Seconds that one command may take.
    slowness : float
        By how much the board is slower than one of hardware: 1, and more for a simulated one.

    Attributes
    ----------
    board : Board
        What the board says it is.
    sent, repeated : int
        Commands, and how many of them were sent again.

    Raises
    ------
    DeviceError
        When no board answers, or one with another protocol.
    """

    def __init__(
        self,
        line: Line,
        name: str,
        *,
        baud: int,
        patience: float = PATIENCE_SECONDS,
        slowness: float = 1.0,
    ) -> None:
        self._line = line
        self._name = name
        self._seconds_a_byte = _BITS_OF_BYTE / baud
        self._patience = patience
        self._slowness = slowness
        self._sequence = random.randrange(256)
        self._data_bytes = LEAST_DATA_BYTES
        self._most_data_bytes = LEAST_DATA_BYTES
        self._at_once = 0
        self._unread = bytearray()
        self.sent = self.repeated = 0
        self.board = self._connect()

    def _connect(self) -> Board:
        data = self._exchange(Op.CONNECT, 0, 0, answered=Board.WORD_BITS // 8)
        config = Config()
        board = Board.decode(int.from_bytes(data, "little"), config)
        if board.version != VERSION:
            raise DeviceError(
                f"the board at {self._name} speaks version {board.version} of the link, and this "
                f"vtakit version {VERSION}: load a bitstream that it has built"
            )
        self._most_data_bytes = board.max_data_bytes
        self._data_bytes = min(256, board.max_data_bytes)
        return board

    def read_memory(
        self, address: int, size_bytes: int, done: Callable[[int], None] | None = None
    ) -> bytes:
        """Return memory; address and size are multiples of 4. `done` is told each frame's bytes."""
        found = bytearray()
        while len(found) < size_bytes:
            count = min(self._data_bytes, size_bytes - len(found))
            try:
                found += self._exchange(Op.READ_MEMORY, address + len(found), count, answered=count)
            except _Shorter:
                continue
            if done:
                done(count)
        return bytes(found)

    def write_memory(
        self, address: int, data: bytes, done: Callable[[int], None] | None = None
    ) -> None:
        """Write memory; address and size are multiples of 4. `done` is told each frame's bytes."""
        at = 0
        while at < len(data):
            part = data[at : at + self._data_bytes]
            try:
                self._exchange(Op.WRITE_MEMORY, address + at, len(part), part)
            except _Shorter:
                continue
            at += len(part)
            if done:
                done(len(part))

    def read(self, offset: int) -> int:
        """Return a register's word, as `host.ControlPort` has it."""
        data = self._exchange(Op.READ_REGISTER, offset, WORD_BYTES, answered=WORD_BYTES)
        return int.from_bytes(data, "little")

    def write(self, offset: int, word: int) -> None:
        """Write a register's word, as `host.ControlPort` has it."""
        self._exchange(Op.WRITE_REGISTER, offset, WORD_BYTES, word.to_bytes(WORD_BYTES, "little"))

    def close(self) -> None:
        """Let go of the line."""
        self._line.close()

    def _exchange(
        self, op: Op, address: int, count: int, data: bytes = b"", *, answered: int = 0
    ) -> bytes:
        """Return a command's answer; raises `_Shorter` where a shorter one is to be tried."""
        self._sequence = self._sequence + 1 & 0xFF
        frame = encode_command(Command(self._sequence, op, address, count, data))
        longest = len(frame) + 2 * (ANSWER_BYTES + answered + CRC_BYTES) + HEADER_BYTES
        wait = (longest * self._seconds_a_byte + ANSWER_SECONDS) * self._slowness
        ends = time.monotonic() + self._patience * self._slowness
        self.sent += 1
        tries = 0
        shorten = op in (Op.READ_MEMORY, Op.WRITE_MEMORY) and count > LEAST_DATA_BYTES
        try:
            while True:
                self._line.write(frame)
                answer = self._answer(op, time.monotonic() + wait)
                if answer is not None:
                    break
                tries += 1
                self.repeated += 1
                self._at_once = 0
                if shorten and tries == 2:
                    self._data_bytes = max(LEAST_DATA_BYTES, count // 2 // WORD_BYTES * WORD_BYTES)
                    raise _Shorter
                if time.monotonic() > ends:
                    raise DeviceError(
                        f"the board at {self._name} does not answer ({tries} tries in "
                        f"{self._patience * self._slowness:g} s); is it switched on, and is the "
                        f"bitstream loaded?"
                    )
        except OSError as error:
            raise DeviceError(f"the port {self._name} is gone: {error}") from None
        self._grow(tries)
        if answer.status != Status.OKAY:
            meaning = _meaning(answer.status)
            raise DeviceError(
                f"the board at {self._name} refused {op.name} of {address:#x}: {meaning}"
            )
        if len(answer.data) != answered:
            raise DeviceError(
                f"the board at {self._name} answered {op.name} with {len(answer.data)} bytes, "
                f"not {answered}"
            )
        return answer.data

    def _grow(self, tries: int) -> None:
        self._at_once = 0 if tries else self._at_once + 1
        if self._at_once >= GROWS_AFTER:
            self._at_once = 0
            self._data_bytes = min(2 * self._data_bytes, self._most_data_bytes)

    def _answer(self, op: Op, until: float) -> Answer | None:
        """Return the answer to the last command; None when none comes, or it arrived damaged."""
        while True:
            while (end := self._unread.find(FLAG)) >= 0:
                frame = bytes(self._unread[:end])
                del self._unread[: end + 1]
                if not frame:
                    continue  # between the end of one frame and the beginning of the next
                answer = decode_answer(frame)
                if answer is None:
                    return None
                if (answer.sequence, answer.op) == (self._sequence, op):
                    return answer
                if answer.status == Status.DAMAGED:
                    return None
            came = self._line.read(max(0.0, until - time.monotonic()))
            if not came:
                return None
            self._unread += came


class _Shorter(Exception):
    """The frame did not get through; it is to be shorter."""


def _meaning(status: int) -> str:
    try:
        return Status(status).meaning
    except ValueError:
        return f"status {status}"
