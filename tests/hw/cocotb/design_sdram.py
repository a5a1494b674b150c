"""The controller of SDRAM, joined to a model of the chip that checks its times."""

from hashlib import sha256
from math import ceil
from pathlib import Path

from amaranth.back import verilog
from vtakit.bitstreams.sdram import Chip, Sdram
from vtakit.isa.config import Config

from .simulation import built

MODEL = Path(__file__).parents[2] / "bitstreams" / "sdram_model.v"
SMALL = Chip(
    row_bits=4,
    column_bits=6,
    cas_latency=2,
    row_to_column=18,
    precharge=18,
    row_active=42,
    refresh=60,
    write_recovery=2,
    refresh_period=7812.5,
    power_up=2000,
)
"""A chip of few rows and columns, so that bursts cross both; otherwise as the real ones."""

_TOP = """
module vta(clk, rst, valid, write, address, words, ready, data, strobe, next, found, found_data,
           broken);
  input clk, rst, valid, write;
  input [31:0] address;
  input [6:0] words;
  input [{bus}-1:0] data;
  input [{strobes}-1:0] strobe;
  output ready, next, found;
  output [{bus}-1:0] found_data;
  output [7:0] broken;
  wire cke_, cs_n_, ras_n_, cas_n_, we_n_, dq_oe_;
  wire [1:0] ba_, dqm_;
  wire [12:0] a_;
  wire [15:0] to_chip_, from_chip;
  reg cke, cs_n = 1, ras_n = 1, cas_n = 1, we_n = 1, dq_oe;
  reg [1:0] ba, dqm;
  reg [12:0] a;
  reg [15:0] to_chip, from_chip_;
  sdram sdram(.clk(clk), .rst(rst), .valid(valid), .write(write), .address(address), .words(words),
              .ready(ready), .data(data), .strobe(strobe), .next(next), .found(found),
              .found_data(found_data), .cke(cke_), .cs_n(cs_n_), .ras_n(ras_n_), .cas_n(cas_n_),
              .we_n(we_n_), .ba(ba_), .a(a_), .dqm(dqm_), .dq_o(to_chip_), .dq_oe(dq_oe_),
              .dq_i(from_chip_));
  always @(posedge clk) begin  // the registers of the pads
    {{cke, cs_n, ras_n, cas_n, we_n, dq_oe}} <= {{cke_, cs_n_, ras_n_, cas_n_, we_n_, dq_oe_}};
    {{ba, dqm, a, to_chip}} <= {{ba_, dqm_, a_, to_chip_}};
    from_chip_ <= from_chip;
  end
  sdram_model #({parameters})
    chip(.clk(clk), .cke(cke), .cs_n(cs_n), .ras_n(ras_n), .cas_n(cas_n), .we_n(we_n), .ba(ba),
         .a(a), .dqm(dqm), .dq_i(to_chip), .dq_oe(dq_oe), .dq_o(from_chip), .broken(broken));
endmodule
"""


def model_parameters(chip: Chip, clock_hz: float) -> str:
    """Return what the model holds a controller to, as its parameters in Verilog."""

    def cycles(nanoseconds: float) -> int:
        return ceil(nanoseconds * 1e-9 * clock_hz)

    window = cycles(32 * chip.refresh_period)
    values = {
        "ROW_BITS": chip.row_bits,
        "COLUMN_BITS": chip.column_bits,
        "CL": chip.cas_latency,
        "T_RCD": cycles(chip.row_to_column),
        "T_RP": cycles(chip.precharge),
        "T_RAS": cycles(chip.row_active),
        "T_RC": cycles(chip.row_active + chip.precharge),
        "T_RFC": cycles(chip.refresh),
        "T_RRD": cycles(14),
        "T_DPL": chip.write_recovery,
        "T_MRD": 2,
        "T_POWER_UP": cycles(chip.power_up),
        "REFRESH_CYCLES": window,
        "ROWS_DUE": 24,  # up to eight may be late
    }
    return ", ".join(f".{name}({value})" for name, value in values.items())


def sdram(bus_bits: int, clock_hz: float, told: Chip = SMALL) -> Path:
    """Return a controller with the small chip, compiled; `told` is what it takes the chip for."""
    config = Config(bus_bits=bus_bits)
    made = Sdram(config, told, clock_hz)
    ports = {
        **{name: getattr(made.bursts, name) for name in made.bursts.signature.members},
        **{name: getattr(made.pins, name) for name in made.pins.signature.members},
    }
    text = verilog.convert(
        made,
        name="sdram",
        ports={name: (value, None) for name, value in ports.items()},
        emit_src=False,
        strip_internal_attrs=True,
    )
    top = _TOP.format(
        bus=bus_bits, strobes=bus_bits // 8, parameters=model_parameters(SMALL, clock_hz)
    )
    text = "\n".join([top, text, MODEL.read_text()])
    return built(f"sdram {sha256(text.encode()).hexdigest()}", lambda: text)
