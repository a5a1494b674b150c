"""isa.source, isa.directives and isa.listing: whole programs to text and back."""

from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.isa import source
from vtakit.isa.asm import AsmError
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.directives import DIRECTIVES, MAX_IMAGE_BYTES
from vtakit.isa.instructions import Load, Memory
from vtakit.isa.listing import disassemble
from vtakit.isa.program import Program
from vtakit.isa.source import assemble
from vtakit.isa.stream import encode_stream

RECORDED = sorted((Path(__file__).parents[1] / "data" / "conformance").glob("*.npz"))


def example_of_the_manual() -> str:
    """Return the program that the docstring shows."""
    text = source.__doc__ or ""
    return dedent(text[text.index("    ;") : text.index("Instructions make")])


@st.composite
def images(draw: st.DrawFn, least: int = 0, most: int = 600) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Bytes with long runs and noise, as memory has them."""
    parts = draw(
        st.lists(
            st.one_of(
                st.binary(max_size=80),
                st.builds(
                    lambda byte, count: bytes([byte]) * count,
                    st.sampled_from([0, 1, 255]),
                    st.integers(0, 120),
                ),
            ),
            max_size=6,
        )
    )
    data = b"".join(parts)[:most]
    return np.frombuffer(data.ljust(least, b"\0"), np.uint8).copy()


@st.composite
def programs(draw: st.DrawFn) -> Program:
    config = draw(st.sampled_from([*PRESETS.values(), replace(Config(), bus_bits=128)]))
    raw = b"".join(draw(st.lists(st.binary(min_size=16, max_size=16), max_size=6)))
    loads = encode_stream(
        [
            Load(
                memory=Memory.UOP,
                dram_base=draw(st.integers(0, 160)),
                y_size=draw(st.integers(0, 3)),
                x_size=draw(st.integers(0, 9)),
                x_stride=draw(st.integers(0, 20)),
            )
            for _ in range(draw(st.integers(0, 3)))
        ],
        config,
    )
    before = draw(images())
    after = None
    if draw(st.booleans()):
        after = before.copy()
        for _ in range(draw(st.integers(0, 4)) if before.size else 0):
            start = draw(st.integers(0, before.size - 1))
            after[start : start + draw(st.integers(1, 70))] = draw(st.integers(0, 255))
    return Program(
        config=config,
        insns=np.concatenate([np.frombuffer(raw, np.uint8).reshape(-1, 16), loads]),
        dram_before=before,
        dram_after=after,
        counters=draw(st.none() | st.dictionaries(st.text(max_size=5), st.integers(), max_size=3)),
        note=draw(st.text(max_size=20)),
        tags=tuple(draw(st.lists(st.text(max_size=5), max_size=3))),
        info=draw(st.dictionaries(st.text(max_size=5), st.integers() | st.text(), max_size=3)),
    )


@settings(max_examples=300, deadline=None)
@given(programs())
def test_any_program_survives_its_text(program: Program) -> None:
    assert assemble(disassemble(program)) == program


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_programs_survive_their_text(path: Path) -> None:
    program = Program.load(path)
    text = disassemble(program)
    assert assemble(text) == program
    loads_micro_ops = any(line.startswith("LOAD UOP sram") for line in text.splitlines())
    assert not loads_micro_ops or "\nUOP " in text


def test_the_manuals_example_is_a_program() -> None:
    program = assemble(example_of_the_manual())
    assert program.config == PRESETS["tiny"]
    assert len(program.insns) == 5
    assert program.dram_after is not None
    assert program.dram_before[0x1010:0x1020].view("<i4").tolist() == [1, 2, 3, 4]
    assert program.dram_after[0x1050:0x1060].tolist() == [2, 3, 4, 5] + 12 * [1]
    np.testing.assert_array_equal(program.dram_after[:0x1050], program.dram_before[:0x1050])


def test_data_lies_where_it_is_put() -> None:
    program = assemble(
        """
        .dram 4
        .int8 -1 2 0x7f
        .align 8
        here: .int32 -2 1
        .hex 00ff 7f
        .fill 2 -1
        .dram @here
        .size 0x30
        .dram 0
        UOP dst=3
        """
    )
    expected = bytes([3, 0, 0, 0, 255, 2, 127, 0]) + np.array([-2, 1], "<i4").tobytes()
    expected += bytes([0, 255, 127, 255, 255])
    assert program.dram_before.tobytes() == expected.ljust(0x30, b"\0")
    assert program.dram_after is None


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("memory", Memory)
def test_a_label_counts_in_elements_of_the_memory(config: Config, memory: Memory) -> None:
    size = memory.element_bytes(config)
    text = f"LOAD dram_base=@x+2 {memory.name}\n.dram {3 * size}\nx:"
    expected = encode_stream([Load(memory=memory, dram_base=5)], config)
    np.testing.assert_array_equal(assemble(text, config=config).insns, expected)
    message = rf"inside an element of {memory.name} \({size} bytes\); put .align {size} before it"
    with pytest.raises(AsmError, match=message):
        assemble(text.replace("x:", ".int8 0\nx:"), config=config)


def test_the_text_says_which_machine_before_the_caller_does() -> None:
    assert assemble("FINISH").config == Config()
    assert assemble("FINISH", config=PRESETS["tiny"]).config == PRESETS["tiny"]
    assert assemble("FINISH\n.config small", config=PRESETS["tiny"]).config == PRESETS["small"]
    json = '.config {"bus_bits": 128} ; wider'
    assert assemble(json).config == replace(Config(), bus_bits=128)


def test_an_expected_image_may_be_the_same() -> None:
    program = assemble(".dram 0\n.int8 1\n.expect 0")
    assert program.dram_after is not None
    np.testing.assert_array_equal(program.dram_after, program.dram_before)


def test_every_directive_is_documented() -> None:
    for name, directive in DIRECTIVES.items():
        assert directive.syntax.startswith(name)
        assert directive.meaning


WRONG = {
    "FINISH\n  LOAD foo": "a.s:2:8: LOAD has no field 'foo'",
    ".dramm 5": "a.s:1:1: '.dramm' is no directive; did you mean '.dram'?",
    ".dram": "a.s:1:1: .dram has 0 values; write .dram ADDRESS",
    ".dram 1 2": "a.s:1:1: .dram has 2 values; write .dram ADDRESS",
    ".dram x": "a.s:1:7: 'x' is no whole number",
    ".dram -1": f"a.s:1:7: -1 is not from 0 to {MAX_IMAGE_BYTES}",
    ".dram @x": "a.s:1:7: no line above has the label 'x'",
    f".dram {MAX_IMAGE_BYTES}\n.int8 1": "a.s:2:1: the image would reach byte 0x10000001",
    ".int8 1": "a.s:1:1: '.int8' stands before any .dram, so it has no address",
    "UOP dst=1": "a.s:1:1: 'UOP' stands before any .dram",
    " x: FINISH": "a.s:1:2: 'x' stands before any .dram",
    ".dram 0\nx:\nx:": "a.s:3:1: label 'x' is there twice",
    ".dram 0\n.int8 128": "a.s:2:7: 128 is not from -128 to 127",
    ".dram 0\n.int32": "a.s:2:1: .int32 has 0 values; write .int32 VALUE ...",
    ".dram 0\n.hex 0 1": "a.s:2:6: '0' is no hexadecimal; write pairs of digits",
    ".dram 0\n.fill 1 256": "a.s:2:9: 256 is not from -128 to 255",
    ".dram 0\n.align 0": "a.s:2:8: 0 is not from 1 to",
    ".dram 0\n.int32 1\n.dram 3\n.int8 1": "a.s:4: byte 0x3 is filled here and by line 2",
    "GEMM uop_end=@x": "a.s:1:6: uop_end is @x; only dram_base takes a label",
    "LOAD dram_base=@y\n.dram 0\nx:": "a.s:1:6: there is no label 'y'; known are x",
    ".config tiny\n.config tiny": "a.s:2:1: .config is given twice",
    ".config tny": "a.s:1:9: 'tny' is neither a preset nor JSON; did you mean 'tiny'?",
    '.config {"batch": 3}': "a.s:1:9: batch is 3; it must be a power of two",
    '.config {"batch"': "a.s:1:17: .config needs JSON: Expecting ':' delimiter",
    '.note "x" y': "a.s:1:10: 'y' follows the JSON value",
    ".note 5": 'a.s:1:1: .note has 5; write .note "TEXT"',
    '.counters {"a": true}': "a.s:1:1: a is True; it must be a whole number",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items(), ids=WRONG)
def test_errors_name_line_column_and_what_would_do(text: str, message: str) -> None:
    with pytest.raises(AsmError) as caught:
        assemble(text, source="a.s")
    assert str(caught.value).startswith(message)


@given(st.text(alphabet=st.sampled_from('LOADGEMUPx_= @.:;01-{}"\n\tdramfilhexconfg')))
@settings(deadline=None)
def test_any_text_is_a_program_or_an_error_with_its_place(text: str) -> None:
    error = None
    try:
        assemble(text, source="a.s")
    except AsmError as raised:
        error = raised
    if error is not None:
        assert str(error).startswith(f"a.s:{error.line}")
        assert 1 <= error.line <= len(text.splitlines())
