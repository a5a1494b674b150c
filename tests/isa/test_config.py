"""isa.config: what can be built, what is refused and why, and JSON in and out."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vtakit.isa.config import PRESETS, Config, ConfigError, load_config
from vtakit.isa.fields import FieldError, slots
from vtakit.isa.instructions import FORMATS, Uop


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_presets_survive_both_kinds_of_json(config: Config) -> None:
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config
    original = replace(config, acc_banks=1)  # the original has no banks to name
    assert Config.from_json(json.loads(json.dumps(config.to_vta_json()))) == original


def test_the_default_is_the_original_vta() -> None:
    config = Config()
    assert (config.batch, config.block_in, config.block_out) == (1, 16, 16)
    assert (config.uop_depth, config.inp_depth, config.wgt_depth, config.acc_depth) == (
        8192,
        2048,
        1024,
        2048,
    )
    assert PRESETS["default"] == config


REFUSED = {
    "a fraction": ({"batch": 1.5}, "batch is 1.5; it must be a whole number"),
    "a flag": ({"batch": True}, "batch is True; it must be a whole number"),
    "text": ({"batch": "2"}, "batch is '2'; it must be a whole number"),
    "zero": ({"command_queue_depth": 0}, "command_queue_depth is 0; it must be at least 1"),
    "no power of two": ({"block_in": 12}, "block_in is 12; it must be a power of two"),
    "narrow inputs": ({"inp_bits": 4}, "inp_bits is 4; only 8 can be built"),
    "narrow bus": ({"bus_bits": 16}, "bus_bits is 16; a memory port has 32 to 512 bits"),
    "wide bus": ({"bus_bits": 1024}, "bus_bits is 1024; a memory port has 32 to 512 bits"),
    "oblong tile": ({"block_in": 8}, "block_in is 8 and block_out 16; they must be equal"),
    "three ports": ({"acc_read_ports": 3}, "acc_read_ports is 3; it must be 1 or 2"),
    "one element": (
        {"wgt_buffer_bytes": 256},
        "wgt_buffer_bytes is 256; it must hold at least 2 elements of 256 bytes",
    ),
    "long index": (
        {"inp_buffer_bytes": 1 << 21},
        "its index takes 17 bits and LOAD has 16 for it; at most 1048576 bytes can be addressed",
    ),
    "micro-op": (
        {"acc_buffer_bytes": 1 << 18},
        "a micro-op needs 12 (acc) + 12 (acc or inp) + 10 (wgt) = 34 bits of index and has 32",
    ),
    "GEMM": ({"uop_buffer_bytes": 1 << 16}, "GEMM needs 148 bits and has 128"),
    "ALU": (
        {"acc_buffer_bytes": 1 << 18, "wgt_buffer_bytes": 1 << 16, "inp_buffer_bytes": 1 << 14},
        "ALU needs 144 bits and has 128",
    ),
    "unknown key": ({"block": 16}, "'block' is no field of a configuration; did you mean 'block_"),
    "unknown VTA key": (
        {"LOG_BLOCK": 4, "LOG_BATHC": 0},
        "'LOG_BATHC' is no key of the original VTA's configuration; did you mean 'LOG_BATCH'?",
    ),
    "VTA value": ({"LOG_BLOCK": 41}, "LOG_BLOCK is 41; it must be a logarithm from 0 to 40"),
}


@pytest.mark.parametrize(("document", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_built_is_refused_with_the_reason(
    document: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Config.from_json(document)


@given(
    st.integers(0, 2),
    st.integers(1, 6),
    st.tuples(st.integers(8, 20), st.integers(8, 22), st.integers(8, 22), st.integers(8, 22)),
)
def test_a_config_is_refused_exactly_when_its_words_are_too_short(
    log_batch: int, log_block: int, log_buffers: tuple[int, int, int, int]
) -> None:
    """The widths that Config checks are those that the instructions declare."""
    uop, inp, wgt, acc = log_buffers
    values = {
        "batch": 1 << log_batch,
        "block_in": 1 << log_block,
        "block_out": 1 << log_block,
        "uop_buffer_bytes": 1 << uop,
        "inp_buffer_bytes": 1 << inp,
        "wgt_buffer_bytes": 1 << wgt,
        "acc_buffer_bytes": 1 << acc,
    }
    bare = object.__new__(Config)
    for item in fields(Config):
        object.__setattr__(bare, item.name, values.get(item.name, item.default))
    try:
        for cls in (*FORMATS.values(), Uop):
            slots(cls, bare)
        fits = True
    except FieldError:
        fits = False
    try:
        Config(**values)
        message = ""
    except ConfigError as error:
        message = str(error)
    too_short = re.search(r"(GEMM|ALU|micro-op) needs", message) is not None
    other_reason = bool(message) and not too_short
    assert other_reason or too_short == (not fits), message


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_a_file_may_hold_either_json(tmp_path: Path, config: Config) -> None:
    changed = replace(config, bus_bits=128)
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(changed.to_json()))
    assert load_config(str(path)) == changed
    path.write_text(json.dumps(config.to_vta_json()))
    assert load_config(str(path)) == replace(config, acc_banks=1)


def test_a_config_that_is_nowhere_is_refused_with_the_presets(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'defualt' is neither a preset .default, tiny,.* nor"):
        load_config("defualt")
    with pytest.raises(ConfigError, match="cannot read configuration"):
        load_config(str(tmp_path))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[1]", "holds no JSON object"),
        (b'{"batch": 3}', "machine.json': batch is 3; it must be a power of two"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, contents: bytes, message: str) -> None:
    path = tmp_path / "machine.json"
    path.write_bytes(contents)
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(str(path))
