"""The board's end of the link in Python, by isa.link's words, and lines not to be trusted."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from vtakit.isa.config import Config
from vtakit.isa.link import (
    FLAG,
    Answer,
    Board,
    Command,
    Op,
    Status,
    decode_command,
    encode_answer,
)


@dataclass
class LinkModel:
    """A board with memory and registers that only remember.

    `done` lists the commands that were done: what a repeated one must not be, a second time.
    """

    memory_bytes: int = 1 << 16
    connected: bool = False
    last: int = 0
    done: list[Command] = field(default_factory=list[Command])
    registers: dict[int, int] = field(default_factory=dict[int, int])
    _unread: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.memory = np.zeros(self.memory_bytes, np.uint8)

    def take(self, data: bytes) -> bytes:
        """Return what the board answers to bytes that come."""
        self._unread += data
        answers = b""
        while (end := self._unread.find(FLAG)) >= 0:
            frame = bytes(self._unread[:end])
            del self._unread[: end + 1]
            if not frame:
                continue
            command = decode_command(frame)
            if command is None:
                answers += encode_answer(Answer(0, 0, Status.DAMAGED))
            else:
                status, found = self._do(command)
                answers += encode_answer(Answer(command.sequence, command.op, status, found))
        return answers

    def reset(self) -> None:
        """Forget the host, as a board that was reset does."""
        self.connected = False
        self._unread.clear()

    def _do(self, command: Command) -> tuple[Status, bytes]:
        if command.op == Op.CONNECT:
            self.connected, self.last = True, command.sequence
            board = Board(clock_hz=1, memory_bytes=self.memory_bytes)
            return Status.OKAY, board.encode(Config()).to_bytes(Board.WORD_BITS // 8, "little")
        if not self.connected:
            return Status.NOT_CONNECTED, b""
        again = command.sequence == self.last
        if (command.sequence - self.last) % 256 > 127:
            return Status.TOO_LATE, b""
        self.last = command.sequence
        place = slice(command.address, command.address + command.size)
        if command.op == Op.READ_MEMORY:
            return Status.OKAY, self.memory[place].tobytes()
        if command.op == Op.READ_REGISTER:
            return Status.OKAY, self.registers.get(command.address, 0).to_bytes(4, "little")
        if not again:
            self.done.append(command)
            if command.op == Op.WRITE_MEMORY:
                self.memory[place] = np.frombuffer(command.data, np.uint8)
            else:
                self.registers[command.address] = int.from_bytes(command.data, "little")
        return Status.OKAY, b""


@dataclass
class Faults:
    """What a line does to bytes on their way; each way has its own."""

    spoiled_bytes: float = 0.0
    lost_frames: float = 0.0
    doubled_frames: float = 0.0
    cut_frames: float = 0.0

    def applied(self, data: bytes, draw: random.Random) -> bytes:
        """Return what arrives of frames that are sent together."""
        if draw.random() < self.lost_frames:
            return b""
        if draw.random() < self.doubled_frames:
            data += data
        if draw.random() < self.cut_frames:
            data = data[: draw.randrange(len(data) + 1)]
        spoiled = bytearray(data)
        for place in range(len(spoiled)):
            if draw.random() < self.spoiled_bytes:
                spoiled[place] ^= draw.randrange(1, 256)
        return bytes(spoiled)


@dataclass
class ModelLine:
    """A line to a `LinkModel`, with faults; time does not pass."""

    model: LinkModel
    faults: Faults = field(default_factory=Faults)
    seed: int = 0
    before: Callable[[], None] = lambda: None
    _coming: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)

    def write(self, data: bytes) -> None:
        self.before()
        answer = self.model.take(self.faults.applied(data, self.draw))
        self._coming += self.faults.applied(answer, self.draw)

    def read(self, seconds: float) -> bytes:
        came = bytes(self._coming)
        self._coming.clear()
        return came

    def close(self) -> None:
        pass
