"""Words as hardware sees them: the fields that `isa` declares, where `isa` puts them."""

from amaranth.hdl import Shape
from amaranth.lib import data

from ..isa.config import Config
from ..isa.fields import Format, slots


def layout(word: type[Format], config: Config) -> data.FlexibleLayout:
    """Return the fields of a word; bits that belong to none have no name, and enums are numbers."""
    fields: dict[int | str, data.Field] = {
        slot.name: data.Field(Shape(slot.width, slot.signed), slot.offset)
        for slot in slots(word, config)
    }
    return data.FlexibleLayout(word.WORD_BITS, fields)
