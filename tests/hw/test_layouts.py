"""Words as hardware sees them: every field is what `isa` encoded, for every configuration."""

import enum
import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator
from vtakit.hw.layouts import layout
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.fields import Format, Slot, slots
from vtakit.isa.instructions import FORMATS, Uop

from .memory_programs import CONFIGS

WORDS = [*FORMATS.values(), Uop]
each_config = pytest.mark.parametrize(
    "config", [*PRESETS.values(), CONFIGS["two-64"]], ids=[*PRESETS, "two"]
)


def drawn(draw: random.Random, slot: Slot) -> int:
    """Draw a field's value: its limits more often than others."""
    if issubclass(slot.kind, enum.Enum):
        return draw.choice(list(slot.kind))
    return slot.kind(draw.choice((slot.low, slot.high, draw.randint(slot.low, slot.high))))


@each_config
@pytest.mark.parametrize("word", WORDS)
def test_hardware_reads_what_was_encoded(config: Config, word: type[Format]) -> None:
    draw = random.Random(word.__name__)
    view = Signal(layout(word, config))
    fields = [slot for slot in slots(word, config) if slot.name != "opcode"]

    async def drive(ctx) -> None:
        for _ in range(40):
            values = {slot.name: drawn(draw, slot) for slot in fields}
            ctx.set(view.as_value(), word(**values).encode(config))
            assert {slot.name: ctx.get(getattr(view, slot.name)) for slot in fields} == values
            if word is not Uop:
                assert ctx.get(view.opcode) == word().opcode  # pyright: ignore

    simulator = Simulator(Module())
    simulator.add_testbench(drive)
    simulator.run()


@each_config
@pytest.mark.parametrize("word", WORDS)
def test_a_field_has_its_own_bits_and_no_others(config: Config, word: type[Format]) -> None:
    """Each bit of the word by itself: it changes the one field that has it, or none."""
    view = Signal(layout(word, config))
    fields = slots(word, config)

    async def drive(ctx) -> None:
        for bit in range(word.WORD_BITS):
            ctx.set(view.as_value(), 1 << bit)
            for slot in fields:
                place = bit - slot.offset
                own = 1 << place if 0 <= place < slot.width else 0
                if slot.signed and place == slot.width - 1:
                    own = slot.low
                assert ctx.get(getattr(view, slot.name)) == own, slot

    simulator = Simulator(Module())
    simulator.add_testbench(drive)
    simulator.run()
