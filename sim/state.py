"""The machine's state as one record, which compiled code reads and writes."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..isa.config import Config
from ..isa.fields import slots
from ..isa.instructions import Memory, Uop
from ..isa.program import COUNTERS
from .columns import ACTIONS, field_table
from .jit import sources_digest
from .queues import TOKEN_QUEUES, UNITS

U8: TypeAlias = npt.NDArray[np.uint8]
I64: TypeAlias = npt.NDArray[np.int64]

State: TypeAlias = Any
"""A record of `STATE` in compiled code, where Numba knows its fields and the checker does not."""

Ints: TypeAlias = Any
"""A pointer to integers in compiled code (`pointers`)."""

VECTOR = 16
"""Lanes that the ALU takes at a time, where tiles have so many."""

# Places in `counters`
INP_LOAD, WGT_LOAD, ACC_LOAD, UOP_LOAD, OUT_STORE, GEMM_UOPS, ALU_UOPS = range(len(COUNTERS))

MEETINGS = 6
"""Where instructions of COMPUTE and MATRIX meet: two banks, and the tokens popped and pushed."""

_int = np.int64
STATE = np.dtype(
    [
        # the configuration
        ("batch", _int),
        ("block", _int),
        ("lanes", _int),  # elements of an inp, acc or out tile
        ("tile", _int),  # elements of a wgt tile
        ("depths", _int, len(Memory)),
        ("element_bytes", _int, len(Memory)),  # in DRAM
        ("uop_shift", _int, 3),  # of dst, src and wgt
        ("uop_mask", _int, 3),
        ("bus_bytes", _int),
        ("bus_shift", _int),  # its logarithm
        ("command_depth", _int),
        ("token_depth", _int),
        ("acc_read_ports", _int),
        ("acc_banks", _int),
        ("table", _int),  # address of columns.field_table
        # memory: addresses
        ("dram_bytes", _int),
        ("dram", _int),  # int8
        ("uops", _int),  # int32, 4 a micro-op: dst, src, wgt, 0
        ("inp", _int),  # int16: elements are kept widened
        ("wgt", _int),  # int16: widened, in the order of compute.weight_place
        ("acc", _int),  # int32
        ("immediate", _int),  # int32 (VECTOR): an ALU instruction's own operand
        ("kernels", _int, ACTIONS),  # addresses, by what ACTION may be; 0 for NOTHING
        # the program
        ("words", _int),  # address, int64 (n, 2)
        ("rows", _int),  # address, int32 (n, COLUMNS); see columns
        ("heads", _int),  # address, int64 (n, 2); see columns
        ("after", _int),  # address, int64 (n); see order
        ("meetings", _int, 2 * MEETINGS),  # the last instruction at each place, by unit; see order
        ("count", _int),  # n
        ("first", _int, UNITS),  # index of each unit's first instruction, -1 for none
        ("last", _int, UNITS),
        # what lasts from run to run
        ("tokens", _int, len(TOKEN_QUEUES)),
        # what a run gives
        ("counters", _int, len(COUNTERS)),
        ("fault", _int, 5),  # see faults.report
        ("dispatched", _int, UNITS),  # instructions of each unit that got so far
        ("started", _int, UNITS),
        ("ended", _int, UNITS),
        ("to_start", _int, UNITS),  # index of each unit's next instruction to do so
        ("to_end", _int, UNITS),
        ("opcode", _int, UNITS),  # of the last one started
        (sources_digest(), np.int8),  # see jit.entry
    ]
)


@dataclass(frozen=True, eq=False)
class Buffers:
    """The arrays whose addresses are in the record; they live as long as this does."""

    record: np.void
    uops: npt.NDArray[np.int32]
    inp: npt.NDArray[np.int16]
    wgt: npt.NDArray[np.int16]
    acc: npt.NDArray[np.int32]
    immediate: npt.NDArray[np.int32]
    table: I64
    dram: U8

    def forget_tokens(self) -> None:
        """Empty the token queues."""
        self.record["tokens"] = 0


def new_buffers(config: Config, dram: U8) -> Buffers:
    """Return a machine with empty buffers around a memory."""
    buffers = Buffers(
        record=np.zeros(1, STATE)[0],
        uops=np.zeros(4 * config.uop_depth, np.int32),
        inp=np.zeros(config.inp_depth * config.inp_tile_bytes, np.int16),
        wgt=np.zeros(config.wgt_depth * config.wgt_tile_bytes, np.int16),
        acc=np.zeros(config.acc_buffer_bytes // 4, np.int32),
        immediate=np.zeros(VECTOR, np.int32),
        table=field_table(config),
        dram=dram,
    )
    m = buffers.record
    m["batch"], m["block"] = config.batch, config.block_out
    m["lanes"] = config.batch * config.block_out
    m["tile"] = config.block_in * config.block_out
    m["depths"] = [memory.depth(config) for memory in Memory]
    m["element_bytes"] = [memory.element_bytes(config) for memory in Memory]
    layout = {slot.name: slot for slot in slots(Uop, config)}
    m["uop_shift"] = [layout[name].offset for name in ("dst", "src", "wgt")]
    m["uop_mask"] = [(1 << layout[name].width) - 1 for name in ("dst", "src", "wgt")]
    m["bus_bytes"] = config.bus_bytes
    m["bus_shift"] = config.bus_bytes.bit_length() - 1
    m["command_depth"] = config.command_queue_depth
    m["token_depth"] = config.token_queue_depth
    m["acc_read_ports"] = config.acc_read_ports
    m["acc_banks"] = config.acc_banks
    m["dram_bytes"] = dram.size
    for name in ("uops", "inp", "wgt", "acc", "immediate", "table", "dram"):
        m[name] = getattr(buffers, name).ctypes.data
    return buffers
