"""The simulator as a device: memory, names, counters."""

import numpy as np
import pytest
from vtakit.isa.config import PRESETS
from vtakit.isa.instructions import Memory
from vtakit.runtime.buffers import OutOfMemory
from vtakit.runtime.drivers.device import Device, DeviceError
from vtakit.runtime.drivers.find import DRIVERS, DeviceOptions, open_device
from vtakit.runtime.drivers.in_process import InProcess
from vtakit.runtime.kernel import Axis, Nest
from vtakit.runtime.queue import CommandQueue
from vtakit.sim.errors import ProgramError
from vtakit.sim.machine import Machine

TINY = PRESETS["tiny"]


def test_engines_are_found_by_name_and_others_named() -> None:
    with open_device("functional", TINY) as device:
        assert device.config == TINY
    with pytest.raises(DeviceError, match="there is no device 'fpga'; there are sim, functional"):
        open_device("fpga", TINY)
    assert all(driver.summary for driver in DRIVERS.values())


def test_options_reach_the_machine() -> None:
    device = open_device("sim", TINY, DeviceOptions(memory_latency=77, record=False))
    assert isinstance(device, InProcess)
    assert (device.timing, device.record, device.machine.memory_latency) == (True, False, 77)


def test_memory_is_what_was_written_and_page_0_is_never_given() -> None:
    device: Device = InProcess(Machine(TINY, dram_bytes=1 << 20))
    first = device.allocate(100)
    second = device.allocate(100, align=64)
    assert first >= 4096
    assert first % 4096 == 0
    assert second >= first + 100
    data = np.arange(100, dtype=np.uint8)
    device.write(second, data)
    np.testing.assert_array_equal(device.read(second, 100), data)
    device.release(first)
    assert device.allocate(100) == first
    with pytest.raises(OutOfMemory, match="2097152 bytes do not fit"):
        device.allocate(2 << 20)
    with pytest.raises(DeviceError, match="bytes 1048576 to 1048579 are not in memory, which ends"):
        device.read(1 << 20, 4)


def test_a_program_that_breaks_off_leaves_no_tokens_to_the_next() -> None:
    queue = CommandQueue(TINY)
    queue.load(Memory.INP, 0, 0, x_size=1)
    queue.gemm(Nest(()))
    stream = queue.finish()
    with InProcess(Machine(TINY, dram_bytes=1 << 20)) as device:
        device.write(8192, stream.uops)
        insns = stream.relocate(4096, 8192)
        broken = insns.copy()
        broken[-1, 0] |= 1 << 4  # FINISH waits for a token that STORE never gives
        for _ in range(2):
            with pytest.raises(ProgramError):
                device.run(broken)
            device.run(insns)
            assert not any(device.machine.tokens.values())


@pytest.mark.parametrize("timing", [True, False])
def test_a_run_counts_and_counts_add_up(timing: bool) -> None:
    queue = CommandQueue(TINY)
    queue.load(Memory.INP, 0, 0, x_size=8)
    queue.gemm(Nest((Axis(8, 1),)), reset=True)
    queue.gemm(Nest((Axis(8, 1, 1),)))
    queue.store(0, 64, x_size=8)
    stream = queue.finish()
    with InProcess(Machine(TINY, dram_bytes=1 << 20), timing=timing) as device:
        arena = device.allocate(4096)
        uops = device.allocate(4096)
        device.write(uops, stream.uops)
        insns = stream.relocate(arena, uops)
        results = [device.run(insns) for _ in range(2)]
        for result in results:
            assert result.counters["gemm_counter"] == 8
            assert result.counters["inp_load_nbytes"] == 8 * TINY.inp_tile_bytes
            assert (result.cycles is not None) == timing
            assert (result.ends is not None) == timing
        assert device.counters["gemm_counter"] == 16
        if timing:
            ends = results[0].ends
            assert ends is not None
            assert results[0].cycles == ends.max()
            for unit in ("load", "compute", "store"):
                cycles = {
                    name: count
                    for name, count in results[0].counters.items()
                    if name.startswith(f"{unit}_") and name.endswith("_cycles")
                }
                assert sum(cycles.values()) == results[0].cycles
