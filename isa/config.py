"""The machine as a value: tile shape, buffer sizes, bus width, queue depths; presets; JSON."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, cast


class ConfigError(ValueError):
    """A configuration that cannot be built, or that could not be read."""


INSTRUCTION_BITS = 128
UOP_BITS = 32
DRAM_ADDRESS_BITS = 32
PAGE_BYTES = 4096
"""Addresses below one page are never used, so that a null address is always a mistake."""


def field_offsets(widths: Iterable[int]) -> list[int]:
    """Return the first bit of each field of a word, and after them the bit that follows the last.

    Fields follow each other from bit 0; one that would straddle two 64-bit halves begins the second
    one instead, as a C compiler lays out bit fields of a 64-bit type.
    """
    offsets: list[int] = []
    offset = 0
    for width in widths:
        if width and offset // 64 != (offset + width - 1) // 64:
            offset = (offset // 64 + 1) * 64
        offsets.append(offset)
        offset += width
    return [*offsets, offset]


@dataclass(frozen=True)
class Config:
    """One VTA machine. Refuses what cannot be built.

    Parameters
    ----------
    batch, block_in, block_out : int
        The matrix unit multiplies inp (batch, block_in) by wgt (block_out, block_in) transposed
        into acc (batch, block_out), once a cycle. Powers of two.
    inp_bits, wgt_bits, out_bits : int
        Element widths of inputs, weights and outputs; 8, as the simulator and compiler build them.
    acc_bits : int
        Element width of accumulators; 32.
    uop_buffer_bytes, inp_buffer_bytes, wgt_buffer_bytes, acc_buffer_bytes : int
        Sizes of the on-chip buffers. Powers of two. The output buffer mirrors the accumulators'.
    bus_bits : int
        Width of the memory port, a power of two from 32 to 512.
    command_queue_depth : int
        Instructions that wait in front of each unit.
    token_queue_depth : int
        Tokens that each of the four queues between neighbouring units can hold.
    acc_read_ports : int
        1, or 2 when a second copy of the accumulator memory serves tensor-tensor ALU operations
        at one micro-op a cycle.
    acc_banks : int
        1, or 2 when the accumulators are two banks of half the size, so that the matrix unit can
        work in one while the ALU works in the other. An instruction names its bank, and its
        accumulator indices count inside it.
    """

    batch: int = 1
    block_in: int = 16
    block_out: int = 16
    inp_bits: int = 8
    wgt_bits: int = 8
    acc_bits: int = 32
    out_bits: int = 8
    uop_buffer_bytes: int = 32 << 10
    inp_buffer_bytes: int = 32 << 10
    wgt_buffer_bytes: int = 256 << 10
    acc_buffer_bytes: int = 128 << 10
    bus_bits: int = 64
    command_queue_depth: int = 512
    token_queue_depth: int = 1024
    acc_read_ports: int = 1
    acc_banks: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise ConfigError(f"{field.name} is {value!r}; it must be a whole number")
            if value < 1:
                raise ConfigError(f"{field.name} is {value}; it must be at least 1")
        for name in _POWERS_OF_TWO:
            value = getattr(self, name)
            if value & (value - 1):
                raise ConfigError(f"{name} is {value}; it must be a power of two")
        for name, only in _ELEMENT_BITS.items():
            if getattr(self, name) != only:
                raise ConfigError(f"{name} is {getattr(self, name)}; only {only} can be built")
        if not 32 <= self.bus_bits <= 512:
            raise ConfigError(f"bus_bits is {self.bus_bits}; a memory port has 32 to 512 bits")
        if self.block_in != self.block_out:
            raise ConfigError(
                f"block_in is {self.block_in} and block_out {self.block_out}; they must be equal, "
                f"since one layer's output tiles are the next one's input tiles"
            )
        if self.block_in < 2:
            raise ConfigError(
                f"block_in is {self.block_in}; a matrix unit multiplies pairs, so at least 2"
            )
        if self.acc_read_ports > 2:
            raise ConfigError(f"acc_read_ports is {self.acc_read_ports}; it must be 1 or 2")
        if self.acc_banks > 2:
            raise ConfigError(f"acc_banks is {self.acc_banks}; it must be 1 or 2")
        for name in ("uop", "inp", "wgt", "acc"):
            if getattr(self, f"{name}_depth") < 2:
                raise ConfigError(
                    f"{name}_buffer_bytes is {getattr(self, f'{name}_buffer_bytes')}; it must hold "
                    f"at least 2 elements of {getattr(self, f'{name}_tile_bytes')} bytes"
                )
            if getattr(self, f"{name}_index_bits") > 16:
                raise ConfigError(
                    f"{name}_buffer_bytes is {getattr(self, f'{name}_buffer_bytes')}: its index "
                    f"takes {getattr(self, f'{name}_index_bits')} bits and LOAD has 16 for it; "
                    f"at most {getattr(self, f'{name}_tile_bytes') << 16} bytes can be addressed"
                )
        uop_bits = self.acc_index_bits + self.src_index_bits + self.wgt_index_bits
        if uop_bits > UOP_BITS:
            raise ConfigError(
                f"a micro-op needs {self.acc_index_bits} (acc) + {self.src_index_bits} (acc or "
                f"inp) + {self.wgt_index_bits} (wgt) = {uop_bits} bits of index and has "
                f"{UOP_BITS}; make acc_buffer_bytes, inp_buffer_bytes or wgt_buffer_bytes smaller"
            )
        # The widths of Gemm and Alu once more, since instructions.py needs this class to declare
        # them; a test compares the two over random configurations.
        loop = (8, self.uop_index_bits, self.uop_index_bits + 1, 14, 14)
        bank = self.bank_bits
        acc, inp, wgt = self.acc_index_bits, self.inp_index_bits, self.wgt_index_bits
        for name, widths, buffers in (
            ("GEMM", (*loop, acc, acc, bank, inp, inp, wgt, wgt), "uop, acc, inp or wgt"),
            ("ALU", (*loop, acc, acc, bank, acc, acc, 3, 1, 16), "uop or acc"),
        ):
            *_, end = field_offsets(widths)
            if end > INSTRUCTION_BITS:
                raise ConfigError(
                    f"{name} needs {end} bits and has {INSTRUCTION_BITS}, with indices of "
                    f"{self.uop_index_bits} (uop), {acc} (acc), {inp} (inp) and {wgt} (wgt) bits; "
                    f"make one of the {buffers} buffers smaller"
                )

    @property
    def uop_tile_bytes(self) -> int:
        """Bytes of one micro-op."""
        return UOP_BITS // 8

    @property
    def inp_tile_bytes(self) -> int:
        """Bytes of one input tile, inp (batch, block_in)."""
        return self.batch * self.block_in * self.inp_bits // 8

    @property
    def wgt_tile_bytes(self) -> int:
        """Bytes of one weight tile, wgt (block_out, block_in)."""
        return self.block_out * self.block_in * self.wgt_bits // 8

    @property
    def acc_tile_bytes(self) -> int:
        """Bytes of one accumulator tile, acc (batch, block_out)."""
        return self.batch * self.block_out * self.acc_bits // 8

    @property
    def out_tile_bytes(self) -> int:
        """Bytes of one output tile, out (batch, block_out)."""
        return self.batch * self.block_out * self.out_bits // 8

    @cached_property
    def uop_depth(self) -> int:
        """Micro-ops that the micro-op buffer holds."""
        return self.uop_buffer_bytes // self.uop_tile_bytes

    @cached_property
    def inp_depth(self) -> int:
        """Tiles that the input buffer holds."""
        return self.inp_buffer_bytes // self.inp_tile_bytes

    @cached_property
    def wgt_depth(self) -> int:
        """Tiles that the weight buffer holds."""
        return self.wgt_buffer_bytes // self.wgt_tile_bytes

    @cached_property
    def acc_depth(self) -> int:
        """Tiles that a bank of the accumulator buffer holds, and the output buffer with it."""
        return self.acc_buffer_bytes // self.acc_tile_bytes // self.acc_banks

    @property
    def uop_index_bits(self) -> int:
        """Bits that address the micro-op buffer."""
        return _log2(self.uop_depth)

    @property
    def inp_index_bits(self) -> int:
        """Bits that address the input buffer."""
        return _log2(self.inp_depth)

    @property
    def wgt_index_bits(self) -> int:
        """Bits that address the weight buffer."""
        return _log2(self.wgt_depth)

    @property
    def acc_index_bits(self) -> int:
        """Bits that address a bank of the accumulator buffer."""
        return _log2(self.acc_depth)

    @property
    def bank_bits(self) -> int:
        """Bits that name a bank of the accumulator buffer: none where there is only one."""
        return self.acc_banks - 1

    @property
    def src_index_bits(self) -> int:
        """Bits of a micro-op's source, which GEMM takes from inp and ALU from acc."""
        return max(self.acc_index_bits, self.inp_index_bits)

    @property
    def bus_bytes(self) -> int:
        """Bytes that the memory port moves in a cycle."""
        return self.bus_bits // 8

    @property
    def macs_per_cycle(self) -> int:
        """Multiply-accumulates of one GEMM micro-op."""
        return self.batch * self.block_in * self.block_out

    def to_json(self) -> dict[str, int]:
        """Return the fields by name, as `from_json` reads them."""
        return asdict(self)

    def to_vta_json(self) -> dict[str, int | str]:
        """Return the original VTA's `vta_config.json` keys (logarithms), as far as it has such."""
        logs = {key: _log2(getattr(self, name)) for key, name in _VTA_LOGS.items()}
        return {"TARGET": "sim", "HW_VER": "0.0.2", **logs}

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Self:
        """Read our own keys (a field left out has its default) or the original VTA's (`LOG_...`).

        Raises
        ------
        ConfigError
            For a key that is neither, naming the nearest, and for values that cannot be built.
        """
        if any(key.startswith("LOG_") for key in document):
            return cls._from_vta_json(document)
        known = {field.name: field for field in fields(cls)}
        values: dict[str, int] = {}
        for key, value in document.items():
            if key not in known:
                raise ConfigError(f"{key!r} is no field of a configuration{nearest(key, known)}")
            if isinstance(value, bool) or not isinstance(value, int):
                raise ConfigError(f"{key} is {value!r}; it must be a whole number")
            values[key] = value
        return cls(**values)

    @classmethod
    def _from_vta_json(cls, document: Mapping[str, object]) -> Self:
        values: dict[str, int] = {}
        for key, value in document.items():
            if key in _VTA_IGNORED:
                continue
            if key not in _VTA_LOGS and key not in _VTA_ALIASES:
                raise ConfigError(
                    f"{key!r} is no key of the original VTA's configuration"
                    f"{nearest(key, [*_VTA_LOGS, *_VTA_ALIASES])}"
                )
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 40:
                raise ConfigError(f"{key} is {value!r}; it must be a logarithm from 0 to 40")
            for name in _VTA_ALIASES.get(key) or (_VTA_LOGS[key],):
                values[name] = 1 << value
        return cls(**values)


_POWERS_OF_TWO = (
    "batch",
    "block_in",
    "block_out",
    "uop_buffer_bytes",
    "inp_buffer_bytes",
    "wgt_buffer_bytes",
    "acc_buffer_bytes",
    "bus_bits",
)
_ELEMENT_BITS = {"inp_bits": 8, "wgt_bits": 8, "acc_bits": 32, "out_bits": 8}
_VTA_LOGS = {
    "LOG_INP_WIDTH": "inp_bits",
    "LOG_WGT_WIDTH": "wgt_bits",
    "LOG_ACC_WIDTH": "acc_bits",
    "LOG_BATCH": "batch",
    "LOG_BLOCK": "block_in",
    "LOG_UOP_BUFF_SIZE": "uop_buffer_bytes",
    "LOG_INP_BUFF_SIZE": "inp_buffer_bytes",
    "LOG_WGT_BUFF_SIZE": "wgt_buffer_bytes",
    "LOG_ACC_BUFF_SIZE": "acc_buffer_bytes",
}
_VTA_ALIASES = {
    "LOG_BLOCK": ("block_in", "block_out"),
    "LOG_BLOCK_IN": ("block_in",),
    "LOG_BLOCK_OUT": ("block_out",),
    "LOG_OUT_WIDTH": ("out_bits",),
    "LOG_BUS_WIDTH": ("bus_bits",),
}
_VTA_IGNORED = ("TARGET", "HW_VER", "NAME", "LOG_OUT_BUFF_SIZE", "GEMM_II", "TALU_II")


def _log2(value: int) -> int:
    return value.bit_length() - 1


def nearest(key: str, known: Iterable[str]) -> str:
    """Return the end of an error's sentence: the known name most like `key`, or all of them."""
    from difflib import get_close_matches

    known = list(known)
    match = get_close_matches(key, known, 1)
    if match:
        return f"; did you mean {match[0]!r}?"
    return f"; known are {', '.join(known)}" if known else ""


PRESETS: dict[str, Config] = {
    "default": Config(),
    "tiny": Config(
        block_in=4,
        block_out=4,
        uop_buffer_bytes=512,
        inp_buffer_bytes=1 << 10,
        wgt_buffer_bytes=1 << 10,
        acc_buffer_bytes=2 << 10,
    ),
    "small": Config(
        block_in=8,
        block_out=8,
        uop_buffer_bytes=4 << 10,
        inp_buffer_bytes=4 << 10,
        wgt_buffer_bytes=16 << 10,
        acc_buffer_bytes=32 << 10,
    ),
    "batch2": replace(Config(), batch=2),
    "big": replace(Config(), block_in=32, block_out=32),
    "banked": replace(Config(), acc_banks=2),
}
"""Machines by name: `default` is the original VTA's; the others are smaller, larger, batched, and
the default one with two banks of accumulators."""


def load_config(name: str) -> Config:
    """Return the preset of that name, or read the JSON file (ours or the original VTA's).

    Raises
    ------
    ConfigError
        When there is neither, or the file is no JSON object, or the machine cannot be built.
    """
    if name in PRESETS:
        return PRESETS[name]
    path = Path(name)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{name!r} is neither a preset ({', '.join(PRESETS)}) nor a file"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot read configuration {name!r}: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {name!r} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"configuration {name!r} holds no JSON object")
    try:
        return Config.from_json(cast(dict[str, Any], document))
    except ConfigError as error:
        raise ConfigError(f"configuration {name!r}: {error}") from None
