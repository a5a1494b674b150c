"""isa.link: frames come back as they were sent, and damaged ones do not come back at all."""

import zlib

from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.isa.config import Config
from vtakit.isa.link import (
    ESCAPE,
    FLAG,
    RESIDUE,
    Answer,
    Board,
    Command,
    decode_answer,
    decode_command,
    encode_answer,
    encode_command,
)

bytes_of_a_frame = st.binary(max_size=60) | st.lists(
    st.sampled_from([FLAG, ESCAPE, FLAG ^ 0x20, ESCAPE ^ 0x20, 0]), max_size=60
).map(bytes)
byte = st.integers(0, 255)


def inside(frame: bytes) -> bytes:
    """Return what lies between the flags, which are nowhere else."""
    assert frame[0] == frame[-1] == FLAG
    assert FLAG not in frame[1:-1]
    return frame[1:-1]


@given(byte, byte, st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1), bytes_of_a_frame)
def test_commands_come_back(sequence: int, op: int, address: int, count: int, data: bytes) -> None:
    command = Command(sequence, op, address, count, data)
    assert decode_command(inside(encode_command(command))) == command


@given(byte, byte, byte, bytes_of_a_frame)
def test_answers_come_back(sequence: int, op: int, status: int, data: bytes) -> None:
    answer = Answer(sequence, op, status, data)
    assert decode_answer(inside(encode_answer(answer))) == answer


@settings(max_examples=300)
@given(bytes_of_a_frame, st.data())
def test_what_is_damaged_is_not_taken_for_another(sent: bytes, data: st.DataObject) -> None:
    answer = Answer(7, 2, 0, sent)
    frame = bytearray(inside(encode_answer(answer)))
    how = data.draw(st.sampled_from(["change", "cut", "add", "lose"]))
    place = data.draw(st.integers(0, len(frame) - 1))
    match how:
        case "change":
            frame[place] ^= data.draw(st.integers(1, 255))
        case "cut":
            del frame[place:]
        case "lose":
            del frame[place]
        case _:
            frame.insert(place, data.draw(byte))
    assert decode_answer(bytes(frame)) in (None, answer)


@given(st.binary(max_size=40))
def test_noise_is_no_frame(noise: bytes) -> None:
    assert decode_command(noise) is None
    assert decode_answer(noise) is None


def test_the_residue_is_that_of_what_ends_with_its_own_crc() -> None:
    body = b"any bytes"
    assert zlib.crc32(body + zlib.crc32(body).to_bytes(4, "little")) == RESIDUE


def test_a_board_is_four_words() -> None:
    board = Board(clock_hz=75_000_000, memory_bytes=32 << 20)
    words = board.encode(Config()).to_bytes(16, "little")
    assert Board.decode(int.from_bytes(words, "little"), Config()) == board
    assert words[4:8] == (75_000_000).to_bytes(4, "little")
