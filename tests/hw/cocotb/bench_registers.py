"""The registers behind AXI4-Lite, by a master that waits at random on every channel."""

import random
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp
from vtakit.hw.counters import most_rise, rise_layout, without_matrix
from vtakit.isa.config import Config
from vtakit.isa.registers import REGISTERS, Access, Control, Count, constants

from .bench_parts import begin, pauses
from .simulation import parameters

SHOWN = [f"registers__{name}" for name in ("status", "error", "error_insn", "tokens", "rises")]
"""What the registers show of the rest of the machine."""


@cocotb.test()
async def accesses(dut: Any) -> None:
    """Each register holds what it should, and no other access does anything but fail."""
    config = Config.from_json(parameters()["config"])
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "registers__bus_"), dut.clk, dut.rst)
    for part, names in ((master.write_if, "aw w b"), (master.read_if, "ar r")):
        for name in names.split():
            getattr(part, f"{name}_channel").set_pause_generator(pauses())
    await begin(dut, *SHOWN)
    orders: list[int] = []
    cocotb.start_soon(_note_orders(dut, orders))
    expected = dict.fromkeys(REGISTERS, 0) | constants(config)
    given: list[int] = []
    writable = [name for name, one in REGISTERS.items() if one.access is not Access.READ]
    for _ in range(600):
        name = random.choice(random.choice((list(REGISTERS), writable)))
        register = REGISTERS[name]
        part = random.randrange(register.size_bytes // 4)
        offset = register.offset + 4 * part
        if random.random() < 0.5:
            value, begin_byte = random.getrandbits(32), random.choice((0, 0, 0, 1, 2, 3))
            end_byte = random.choice((4, 4, random.randrange(begin_byte + 1, 5)))
            written = value.to_bytes(4, "little")[begin_byte:end_byte]
            mask = (1 << 8 * end_byte) - (1 << 8 * begin_byte)
            answer: Any = await master.write(offset + begin_byte, written)
            if register.access is Access.READ:
                assert answer.resp == AxiResp.SLVERR, name
                continue
            assert answer.resp == AxiResp.OKAY, name
            if name == "CONTROL":
                given.append(value & mask & 7)
            else:
                expected[name] = expected[name] & ~mask | value & mask
        else:
            answer: Any = await master.read(offset, 4)
            if register.access is Access.WRITE:
                assert answer.resp == AxiResp.SLVERR, name
                continue
            assert answer.resp == AxiResp.OKAY, name
            found = int.from_bytes(answer.data, "little")
            assert found == expected[name] >> 32 * part & 0xFFFFFFFF, name
    assert orders == [order for order in given if order]
    assert int(dut.registers__insn_address.value) == expected["INSN_ADDRESS"]
    hole = max(register.offset + register.size_bytes for register in REGISTERS.values())
    outside: list[Any] = [await master.read(hole, 4), await master.write(hole, bytes(4))]
    assert [answer.resp for answer in outside] == [AxiResp.SLVERR] * 2


@cocotb.test()
async def counters(dut: Any) -> None:
    """Counters rise by what they are told in every cycle, in 64 bits, until they are cleared."""
    config = Config.from_json(parameters()["config"])
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "registers__bus_"), dut.clk, dut.rst)
    await begin(dut, *SHOWN)
    names = [name for name, register in REGISTERS.items() if register.format is Count]
    fields = rise_layout(config)
    shown = without_matrix() if config.acc_banks == 1 else {}
    clear = Control(clear=True).encode(config).to_bytes(4, "little")
    for all_rise in (False, True):
        await master.write(REGISTERS["CONTROL"].offset, clear)
        rises: Any = {
            name: most if all_rise else random.randrange(most + 1)
            for name in fields.members
            for most in [most_rise(config, name)]
        }
        cycles = random.randrange(100, 400)
        await RisingEdge(dut.clk)
        dut.registers__rises.value = fields.const(rises).as_bits()
        for _ in range(cycles):
            await RisingEdge(dut.clk)
        dut.registers__rises.value = 0
        for name in names:
            answer: Any = await master.read(REGISTERS[name].offset, 8)
            rise = rises.get(shown.get(name, name) or "", 0)
            assert int.from_bytes(answer.data, "little") == rise * cycles, name


async def _note_orders(dut: Any, orders: list[int]) -> None:
    while True:
        await RisingEdge(dut.clk)
        if order := int(dut.registers__control.value) & 7:
            orders.append(order)
