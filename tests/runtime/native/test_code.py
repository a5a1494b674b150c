"""Object code as a value, loaded, refused, and called."""

import ctypes
import dataclasses
import gc
import math
import os
import struct
import sys
import weakref
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite import binding
from vtakit.runtime.native import elf
from vtakit.runtime.native.code import LoadedCode, NativeCode
from vtakit.runtime.native.errors import NativeError
from vtakit.runtime.native.jit import Cpu, this_cpu
from vtakit.runtime.native.symbols import FUNCTIONS, address
from vtakit.runtime.native.team_ir import team_module

from .conftest import Compile

TABLE = """
    @table = private constant [4 x float] [float 1.0, float 2.0, float 3.0, float 4.0]
    @counter = internal global i32 0
    declare float @expf(float)
    declare void @vtakit_barrier(ptr)
    declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

    define float @look(i32 %i, float %x) {
      %at = getelementptr [4 x float], ptr @table, i32 0, i32 %i
      %value = load float, ptr %at
      %e = call float @expf(float %x)
      %sum = fadd float %value, %e
      ret float %sum
    }
    define i32 @count() {
      %old = load i32, ptr @counter
      %new = add i32 %old, 1
      store i32 %new, ptr @counter
      ret i32 %new
    }
    define void @copy(ptr %to, ptr %from, i64 %size) {
      call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %size, i1 false)
      ret void
    }
    define void @meet(ptr %team) {
      call void @vtakit_barrier(ptr %team)
      ret void
    }
"""
LOOK = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int, ctypes.c_float)
COUNT = ctypes.CFUNCTYPE(ctypes.c_int)
COPY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


@pytest.fixture(scope="session")
def code(compile_ir: Compile) -> NativeCode:
    return compile_ir(TABLE, "look", "count", "copy", "meet")


def test_loaded_code_computes_with_its_constants_and_the_c_library(code: NativeCode) -> None:
    with LoadedCode(code) as loaded:
        look = LOOK(loaded.address("look"))
        for i in range(4):
            assert look(i, 0.5) == pytest.approx(1 + i + math.exp(0.5), rel=1e-6)
        source = np.arange(1000, dtype=np.uint8)
        target = np.zeros_like(source)
        COPY(loaded.address("copy"))(target.ctypes.data, source.ctypes.data, source.size)
        assert np.array_equal(target, source)


def test_code_loaded_twice_has_its_own_memory(code: NativeCode) -> None:
    with LoadedCode(code) as one, LoadedCode(code) as other:
        counts = [COUNT(loaded.address("count")) for loaded in (one, other)]
        assert [counts[0](), counts[0](), counts[1]()] == [1, 2, 1]


def test_closed_code_gives_no_address(code: NativeCode) -> None:
    loaded = LoadedCode(code)
    loaded.close()
    loaded.close()
    with pytest.raises(NativeError, match=r"^the code of 'look' is closed$"):
        loaded.address("look")


def test_forgotten_code_is_unloaded(code: NativeCode) -> None:
    loaded = LoadedCode(code)
    linked = weakref.ref(loaded._linked)  # pyright: ignore[reportPrivateUsage]
    del loaded
    gc.collect()
    assert linked() is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_closing_gives_the_memory_back(code: NativeCode) -> None:
    def mapped() -> int:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")

    for _ in range(20):
        LoadedCode(code).close()
    before = mapped()
    for _ in range(200):
        LoadedCode(code).close()
    assert mapped() - before < 1 << 20


def test_an_unknown_entry_is_refused(code: NativeCode) -> None:
    with pytest.raises(NativeError, match=r"^object code has no function 'nothing'$"):
        LoadedCode(dataclasses.replace(code, entries=("look", "nothing"), layers=((), ())))
    with LoadedCode(code) as loaded, pytest.raises(NativeError, match=r"^there is no entry 'x'"):
        loaded.address("x")


@pytest.mark.parametrize("hidden", ["internal", "private"])
def test_a_function_that_others_cannot_see_is_no_entry(compile_ir: Compile, hidden: str) -> None:
    text = f"define {hidden} void @f() {{ ret void }} @kept = global ptr @f"
    with pytest.raises(NativeError, match=r"^object code has no function 'f'$"):
        LoadedCode(compile_ir(text, "f"))


def test_data_is_no_entry(compile_ir: Compile) -> None:
    with pytest.raises(NativeError, match=r"^object code has no function 'f'$"):
        LoadedCode(compile_ir("@f = global i32 7", "f"))


def test_code_that_calls_what_the_runtime_has_not_is_refused(compile_ir: Compile) -> None:
    text = "declare void @system(ptr)\ndefine void @f() { call void @system(ptr null) ret void }"
    message = "^native code calls 'system', which the runtime does not provide$"
    with pytest.raises(NativeError, match=message):
        LoadedCode(compile_ir(text, "f"))


def test_entries_and_layers_must_match() -> None:
    with pytest.raises(NativeError, match=r"^there are 1 entries and layers of 2$"):
        NativeCode(b"", "", "", "", ("f",), ((), ()))
    with pytest.raises(NativeError, match=r"^there are two entries 'f'$"):
        NativeCode(b"", "", "", "", ("f", "f"), ((), ()))


def test_code_for_another_architecture_is_refused(code: NativeCode) -> None:
    other = "riscv64-unknown-linux-gnu"
    here = this_cpu().architecture
    message = f"^native code is for {other}; this process runs {here}: compile again$"
    with pytest.raises(NativeError, match=message):
        LoadedCode(dataclasses.replace(code, triple=other))


def test_an_object_of_another_architecture_is_refused_whatever_the_triple_says(
    code: NativeCode,
) -> None:
    here = this_cpu().architecture
    (other,) = set(elf.MACHINES) - {here}
    changed = bytearray(code.object_code)
    struct.pack_into("<H", changed, 18, elf.MACHINES[other])
    message = f"^object code is for {other}; this process runs {here}$"
    with pytest.raises(NativeError, match=message):
        LoadedCode(dataclasses.replace(code, object_code=bytes(changed)))


def test_code_for_a_cpu_with_more_features_is_refused(code: NativeCode) -> None:
    wanted = ",".join(f"+new{k}" for k in range(8))
    message = (
        rf"^native code is for future; this CPU, {this_cpu().name}, lacks new0, new1, new2, new3, "
        rf"new4, new5 and 2 more: compile again for it$"
    )
    with pytest.raises(NativeError, match=message):
        LoadedCode(dataclasses.replace(code, cpu="future", features=f"{code.features},{wanted}"))


def test_code_for_a_cpu_with_fewer_features_is_loaded(code: NativeCode) -> None:
    fewer = code.features.replace("+", "-", 5)
    with LoadedCode(dataclasses.replace(code, features=fewer)):
        pass
    with LoadedCode(dataclasses.replace(code, features="")):
        pass


def test_every_function_offered_is_in_the_c_library() -> None:
    missing: list[str] = []
    for name in FUNCTIONS:
        try:
            assert address(name)
        except NativeError:
            missing.append(name)
    assert set(missing) <= {"roundeven", "roundevenf"}  # older libraries have not


def test_object_code_cut_short_anywhere_is_refused(code: NativeCode) -> None:
    whole = code.object_code
    for size in range(len(whole)):
        with pytest.raises(NativeError, match=r"no object code|cut short|damaged"):
            elf.symbols(whole[:size], this_cpu().architecture)


@pytest.mark.parametrize("architecture", elf.MACHINES)
def test_what_llvm_writes_for_each_architecture_is_read(architecture: str) -> None:
    """The team's own functions among it, whose waiting differs by architecture."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    cpu = Cpu(f"{architecture}-unknown-linux-gnu", "generic", "")
    target = binding.Target.from_triple(cpu.triple)
    machine = target.create_target_machine(cpu=cpu.name, reloc="pic", codemodel="small")
    team = {f"vtakit_{name}" for name in ("barrier", "run", "work", "stop")}
    for text, functions, undefined in (
        (TABLE, {"look", "count", "copy", "meet"}, {"expf", "memcpy", "vtakit_barrier"}),
        (str(team_module(cpu)), team, {"sched_yield", "clock_gettime"}),
    ):
        data = machine.emit_object(binding.parse_assembly(text))
        found = elf.symbols(data, architecture)
        assert (found.functions, found.undefined) == (functions, undefined)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "^0 bytes beginning b'' are no object code: that is ELF of 64 bits$"),
        (b"\x7fELF\x01\x01\x01" + bytes(100), "no object code"),
        (b"MZ" + bytes(100), "no object code"),
    ],
)
def test_what_is_no_object_code_is_refused(code: NativeCode, data: bytes, message: str) -> None:
    with pytest.raises(NativeError, match=message):
        LoadedCode(dataclasses.replace(code, object_code=data))


@settings(max_examples=1000)
@given(st.data())
def test_damaged_tables_are_read_or_refused(code: NativeCode, data: st.DataObject) -> None:
    """The header and all tables are at the ends of the file, around the code and constants."""
    changed = bytearray(code.object_code)
    sections = struct.unpack_from("<Q", changed, 40)[0]
    place = data.draw(st.integers(0, 63) | st.integers(sections, len(changed) - 1))
    changed[place] = data.draw(st.integers(0, 255))
    with suppress(NativeError):
        elf.symbols(bytes(changed), this_cpu().architecture)
