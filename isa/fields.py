"""How a word is declared, laid out, encoded and decoded."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, Self, TypeAlias, dataclass_transform, get_type_hints

from .config import Config, field_offsets

Width: TypeAlias = int | Callable[[Config], int]

_BITS = "vtakit bits"


class FieldError(ValueError):
    """A value that does not fit its field, or bits that no field value has."""


@dataclass(frozen=True)
class _Bits:
    width: Width
    meaning: str
    signed: bool


@dataclass(frozen=True)
class Slot:
    """Where one field lies in its word, for one configuration.

    `kind` is the field's Python type: int, bool or an IntEnum. `offset` counts from bit 0.
    """

    name: str
    offset: int
    width: int
    signed: bool
    kind: type[int]
    meaning: str

    @property
    def low(self) -> int:
        """The least value that fits."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """The greatest value that fits."""
        return (1 << (self.width - self.signed)) - 1


def bits(width: Width, meaning: str, *, default: Any = 0, signed: bool = False) -> Any:
    """Declare a field `width` bits wide: a number, or a function of the configuration."""
    return field(default=default, metadata={_BITS: _Bits(width, meaning, signed)})


@dataclass_transform(frozen_default=True, kw_only_default=True)  # every field has a default
class Format:
    """A word, declared as a class whose fields are `name: type = bits(width, meaning)`.

    Fields follow each other from bit 0 in the order of their declaration; one that would straddle
    the two 64-bit halves of the word begins the second half instead, as a C compiler lays out bit
    fields of a 64-bit type (`hw_spec.h` of apache/tvm-vta).
    """

    WORD_BITS: ClassVar[int] = 128

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        dataclass(frozen=True, kw_only=True)(cls)

    def encode(self, config: Config) -> int:
        """Return the word.

        Raises
        ------
        FieldError
            For a value that does not fit its field, naming both and the limits.
        """
        word = 0
        layout = slots(type(self), config)
        for item in fields(self):  # pyright: ignore[reportArgumentType]
            value = int(getattr(self, item.name))
            if value and all(slot.name != item.name for slot in layout):
                raise FieldError(
                    f"{type(self).__name__} {item.name} is {value}; this configuration has no bits "
                    f"for it, which makes it 0"
                )
        for slot in layout:
            value = int(getattr(self, slot.name))
            if not slot.low <= value <= slot.high:
                raise FieldError(
                    f"{type(self).__name__} {slot.name} is {value}; its {slot.width} bits hold "
                    f"{slot.low} to {slot.high}"
                )
            word |= (value & ((1 << slot.width) - 1)) << slot.offset
        return word

    @classmethod
    def decode(cls, word: int, config: Config) -> Self:
        """Return the fields of a word; bits that belong to no field are ignored.

        Raises
        ------
        FieldError
            For an enum field that holds none of its members' values.
        """
        values: dict[str, Any] = {}
        for slot in slots(cls, config):
            value = (word >> slot.offset) & ((1 << slot.width) - 1)
            if slot.signed and value > slot.high:
                value -= 1 << slot.width
            values[slot.name] = _typed(cls, slot, value)
        return cls(**values)


def _typed(cls: type[Format], slot: Slot, value: int) -> Any:
    if issubclass(slot.kind, enum.Enum):
        try:
            return slot.kind(value)
        except ValueError:
            members = ", ".join(f"{member.value} {member.name}" for member in slot.kind)
            raise FieldError(
                f"{cls.__name__} {slot.name} is {value}; it may be {members}"
            ) from None
    return slot.kind(value)


@cache
def slots(cls: type[Format], config: Config) -> tuple[Slot, ...]:
    """Return name, offset, width, type and meaning of each field of a word, in order of offset.

    A field that has no bits in this configuration is left out.

    Raises
    ------
    FieldError
        When the fields need more bits than the word has.
    """
    kinds = get_type_hints(cls)
    names: list[str] = []
    declared: list[_Bits] = []
    for item in fields(cls):  # pyright: ignore[reportArgumentType]
        declaration = item.metadata.get(_BITS)
        assert isinstance(declaration, _Bits), f"{cls.__name__}.{item.name} is not bits()"
        names.append(item.name)
        declared.append(declaration)
    widths = [d.width if isinstance(d.width, int) else d.width(config) for d in declared]
    *offsets, end = field_offsets(widths)
    if end > cls.WORD_BITS:
        raise FieldError(f"{cls.__name__} needs {end} bits and its word has {cls.WORD_BITS}")
    return tuple(
        Slot(name, offset, width, d.signed, kinds[name], d.meaning)
        for name, offset, width, d in zip(names, offsets, widths, declared, strict=True)
        if width
    )
