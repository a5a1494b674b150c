"""The link between a host and a board: commands in frames of bytes, over a serial line.

A frame is `FLAG`, its bytes, `FLAG`. Where a byte of it is `FLAG` or `ESCAPE`, `ESCAPE` comes in
its place and then the byte with `FLIP` applied (as in HDLC, ISO/IEC 13239). The last four bytes are
the CRC-32 of those before them (IEEE 802.3, as `zlib.crc32`), the low byte first; numbers too lie
low byte first.

    command    sequence  op  size(2)  address(4)  data(size, where it is written)
    answer     sequence  op  status   0           data(size, where it is read)

A board answers every sound frame, and once more when it gets the same one again, without doing it
again: so a host sends a command until it is answered, or until it would rather send another. Each
has the next sequence number, modulo 256. One that is up to 127 ahead of the last is new; those
behind it come too late and are not done. `CONNECT` is taken whatever its number, and sets it. A
frame whose CRC is wrong is answered with `Status.DAMAGED` and sequence 0, which only tells the host
not to wait.
"""

import enum
import struct
import zlib
from typing import NamedTuple

from .fields import Format, bits

FLAG, ESCAPE, FLIP = 0x7E, 0x7D, 0x20
VERSION = 1
WORD_BYTES = 4
MAX_DATA_BYTES = 1024
"""The most data of one frame."""
HEADER_BYTES = 8
ANSWER_BYTES = 4
CRC_BYTES = 4
RESIDUE = 0x2144DF1C
"""`zlib.crc32` of bytes that end with their own CRC."""


class Op(enum.IntEnum):
    """What a host wants."""

    CONNECT = 1
    READ_MEMORY = 2
    WRITE_MEMORY = 3
    READ_REGISTER = 4
    WRITE_REGISTER = 5


class Status(enum.IntEnum):
    """What a board says to it."""

    OKAY = 0
    DAMAGED = 1
    NOT_CONNECTED = 2
    TOO_LATE = 3
    UNKNOWN = 4
    REFUSED = 5

    @property
    def meaning(self) -> str:
        """It as a clause about the command."""
        return _STATUS[self]


_STATUS = {
    Status.OKAY: "it was done",
    Status.DAMAGED: "it arrived damaged",
    Status.NOT_CONNECTED: "the board was reset since the host connected",
    Status.TOO_LATE: "a later one came before it",
    Status.UNKNOWN: "there is no such command, or its size or address is no multiple of 4",
    Status.REFUSED: "there is no such register, or no memory at that address",
}


class Board(Format):
    """What `CONNECT` answers, in four words: the board behind the link."""

    WORD_BITS = 128

    version: int = bits(16, "of this protocol", default=VERSION)
    max_data_bytes: int = bits(16, "the most data of one frame", default=MAX_DATA_BYTES)
    clock_hz: int = bits(32, "of the accelerator")
    memory_bytes: int = bits(32, "of the device's memory, from address 0")
    reserved: int = bits(32, "0", default=0)


class Command(NamedTuple):
    """A frame from the host."""

    sequence: int
    op: int
    address: int = 0
    size: int = 0
    data: bytes = b""


class Answer(NamedTuple):
    """A frame from the board."""

    sequence: int
    op: int
    status: int
    data: bytes = b""


def encode_command(command: Command) -> bytes:
    """Return a command as it goes over the line."""
    sequence, op, address, size, data = command
    return _framed(struct.pack("<BBHI", sequence, op, size, address) + data)


def encode_answer(answer: Answer) -> bytes:
    """Return an answer as it goes over the line."""
    sequence, op, status, data = answer
    return _framed(struct.pack("<BBBB", sequence, op, status, 0) + data)


def decode_command(frame: bytes) -> Command | None:
    """Return the command in what lay between two flags; None when it is damaged."""
    body = _unframed(frame, HEADER_BYTES)
    if body is None:
        return None
    sequence, op, size, address = struct.unpack_from("<BBHI", body)
    return Command(sequence, op, address, size, body[HEADER_BYTES:])


def decode_answer(frame: bytes) -> Answer | None:
    """Return the answer in what lay between two flags; None when it is damaged."""
    body = _unframed(frame, ANSWER_BYTES)
    if body is None:
        return None
    sequence, op, status, _ = struct.unpack_from("<BBBB", body)
    return Answer(sequence, op, status, body[ANSWER_BYTES:])


def _framed(body: bytes) -> bytes:
    body += struct.pack("<I", zlib.crc32(body))
    stuffed = body.replace(bytes([ESCAPE]), bytes([ESCAPE, ESCAPE ^ FLIP]))
    stuffed = stuffed.replace(bytes([FLAG]), bytes([ESCAPE, FLAG ^ FLIP]))
    return bytes([FLAG]) + stuffed + bytes([FLAG])


def _unframed(frame: bytes, least: int) -> bytes | None:
    first, *rest = frame.split(bytes([ESCAPE]))
    if not all(rest):
        return None  # an escape without a byte after it
    body = first + b"".join(bytes([part[0] ^ FLIP]) + part[1:] for part in rest)
    if len(body) < least + CRC_BYTES or zlib.crc32(body) != RESIDUE:
        return None
    return body[:-CRC_BYTES]
