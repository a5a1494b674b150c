"""Modules: checked, saved, loaded, bound to devices, run many times, reported by layer."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from llvmlite import binding
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.instructions import AluOp, Memory
from vtakit.runtime.buffers import Segment, Tensor
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.drivers.in_process import InProcess
from vtakit.runtime.kernel import Axis, Nest
from vtakit.runtime.module import Copy, DeviceStep, HostStep, Module, ModuleError
from vtakit.runtime.native.code import NativeCode
from vtakit.runtime.native.jit import target_machine, this_cpu
from vtakit.runtime.native.program import NativeArray, NativeProgram
from vtakit.runtime.queue import CommandQueue
from vtakit.runtime.session import Session
from vtakit.sim.machine import Machine

TINY = PRESETS["tiny"]
BLOCKS = 2
Int8 = npt.NDArray[np.int8]


def weights(config: Config, layer: int) -> npt.NDArray[np.int8]:
    """w (blocks out, blocks in, block_out, block_in)."""
    shape = (BLOCKS, BLOCKS, config.block_out, config.block_in)
    return np.random.default_rng(layer).integers(-128, 128, shape, np.int8)


ENTRY = """
define void @{name}(ptr %arena, ptr %constants, ptr %times, ptr %team, i32 %me, i32 %all) {{
  %device = load ptr, ptr %arena
{moves}
  store i64 100, ptr %times
  %end = getelementptr i64, ptr %times, i64 1
  store i64 107, ptr %end
  ret void
}}
"""
MOVE = """
  %from{n} = getelementptr i8, ptr {source}, i64 {begin}
  %to{n} = getelementptr i8, ptr {target}, i64 {end}
  call void @llvm.memcpy.p0.p0.i64(ptr %to{n}, ptr %from{n}, i64 {size}, i1 false)
"""
X_AT, Y_AT = 64, 192
Y_COPY = Copy(0, "y", "tiles", "row by row", 32)


def host(config: Config, x_packed: int, y_packed: int) -> NativeProgram:
    """Return what brings x to the device as tiles, and y from there, for two blocks of channels."""
    size = config.block_in
    text = "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)\n"
    for name, tiles, rows in (("pack", x_packed, X_AT), ("unpack", y_packed, Y_AT)):
        moves = ""
        for image in range(config.batch):
            for block in range(BLOCKS):
                row = rows + (image * BLOCKS + block) * size
                tile = tiles + (block * config.batch + image) * size
                ends = {"source": "%arena", "begin": row, "target": "%device", "end": tile}
                if name == "unpack":
                    ends = {"source": "%device", "begin": tile, "target": "%arena", "end": row}
                moves += MOVE.format(n=image * BLOCKS + block, size=size, **ends)
        text += ENTRY.format(name=name, moves=moves)
    cpu = this_cpu()
    code = NativeCode(
        target_machine(cpu).emit_object(binding.parse_assembly(text)),
        cpu.triple,
        cpu.name,
        cpu.features,
        ("pack", "unpack"),
        (("pack",), ("",)),
    )
    x = NativeArray("x", "int8", (config.batch, BLOCKS * size), X_AT)
    y = NativeArray("y", "int8", (config.batch, BLOCKS, size), Y_AT)
    return NativeProgram("two layers", code, 320, b"", (x,), (y,), shared=True)


def two_layers(config: Config) -> Module:
    """y = w1 · ((w0 · x + bias) >> 5 as int8), as int8, two layers that meet in DRAM."""
    out, wgt, acc = config.out_tile_bytes, config.wgt_tile_bytes, config.acc_tile_bytes
    size = BLOCKS * out
    wide = max(wgt, acc)
    places = [0, wide, 2 * wide + size]
    packed = (BLOCKS, config.batch, config.block_in)
    tensors = tuple(
        Tensor(name, place, "int8", packed)
        for name, place in zip(("x_packed", "middle", "y_packed"), places, strict=True)
    )
    w_at = [16 * wide, 32 * wide]
    bias_at = 48 * wide
    bias = np.full((BLOCKS, config.batch, config.block_out), 100, np.int32)
    segments = tuple(
        Segment(at, weights(config, layer).reshape(-1).view(np.uint8))
        for layer, at in enumerate(w_at)
    )
    segments += (Segment(bias_at, bias.reshape(-1).view(np.uint8)),)
    queue = CommandQueue(config)
    matrix = Nest((Axis(BLOCKS, 1, 0, BLOCKS), Axis(BLOCKS, 0, 1, 1)))
    macs = BLOCKS**2 * config.macs_per_cycle
    for layer, w in enumerate(w_at):
        queue.mark(f"dense {layer}", macs)
        queue.load(Memory.INP, 0, places[layer], x_size=BLOCKS)
        queue.load(Memory.WGT, 0, w, x_size=BLOCKS**2)
        if layer == 0:
            queue.load(Memory.ACC, 0, bias_at, x_size=BLOCKS)
        else:
            queue.gemm(Nest((Axis(BLOCKS, 1),)), reset=True)
        queue.gemm(matrix)
        queue.alu(Nest((Axis(BLOCKS, 1),)), AluOp.SHR, 5 * (1 - layer))
        queue.store(0, places[layer + 1], x_size=BLOCKS)
    return Module(
        name="two layers",
        config=config,
        host=host(config, places[0], places[2]),
        arena_bytes=64 * wide,
        tensors=tensors,
        segments=segments,
        steps=(
            HostStep("pack"),
            DeviceStep(queue.finish()),
            HostStep("unpack", (Y_COPY,)),
        ),
    )


def compute(config: Config, x: Int8) -> tuple[Int8, Int8]:
    """Return what the two layers make of x, each (batch, blocks * block)."""
    made: list[Int8] = []
    for layer in range(2):
        w = weights(config, layer).transpose(0, 2, 1, 3).reshape(2 * (x.shape[1],))
        acc = (made[-1] if made else x).astype(np.int32) @ w.astype(np.int32).T
        made.append((((acc + 100) >> 5) if layer == 0 else acc).astype(np.int8))
    return made[0], made[1]


def some_input(config: Config, seed: int = 0) -> Int8:
    shape = (config.batch, BLOCKS * config.block_in)
    return np.random.default_rng(seed).integers(-128, 128, shape, np.int8)


@pytest.mark.parametrize("engine", ["sim", "functional"])
@pytest.mark.parametrize("name", ["tiny", "default", "batch2"])
def test_a_module_runs_many_times_from_its_file(engine: str, name: str, tmp_path: Path) -> None:
    config = PRESETS[name]
    path = tmp_path / "net.vtm"
    two_layers(config).save(path)
    assert [item.name for item in tmp_path.iterdir()] == ["net.vtm"]
    module = Module.load(path)
    with open_device(engine, config) as device, Session(module, device) as session:
        for seed in range(3):
            x = some_input(config, seed)
            middle, want = compute(config, x)
            report = session.run({"x": x})
            np.testing.assert_array_equal(report.outputs["y"].reshape(want.shape), want)
            tiles = session.read("middle")
            got = tiles.transpose(1, 0, 2).reshape(middle.shape)
            np.testing.assert_array_equal(got, middle)


def test_layers_are_reported_and_add_up() -> None:
    with InProcess(Machine(TINY)) as device, Session(two_layers(TINY), device) as session:
        report = session.run({"x": some_input(TINY)})
    assert [(layer.layer, layer.on_device) for layer in report.layers] == [
        ("pack", False),
        ("dense 0", True),
        ("dense 1", True),
        ("", False),
    ]
    assert [copy.copy for copy in report.copies] == [Y_COPY]
    assert report.copies[0].seconds == report.layers[-1].seconds > 0
    first, second = report.layers[1:3]
    assert first.macs == second.macs == BLOCKS**2 * TINY.macs_per_cycle
    assert first.bytes == {"inp": 8, "wgt": 64, "acc": 32, "uop": first.bytes["uop"], "out": 8}
    assert second.bytes["acc"] == 0
    assert first.cycles is not None
    assert second.cycles is not None
    assert first.cycles > 0
    assert first.cycles + second.cycles == report.cycles
    (result,) = report.results
    assert result.ends is not None
    assert first.instructions + second.instructions == len(result.ends)
    for kind in ("inp", "wgt", "acc", "uop"):
        assert report.counters[f"{kind}_load_nbytes"] == first.bytes[kind] + second.bytes[kind]
    assert report.counters["out_store_nbytes"] == first.bytes["out"] + second.bytes["out"]
    assert report.counters["gemm_counter"] == 2 * BLOCKS**2
    assert report.seconds > 0


def test_two_sessions_share_a_device_and_give_their_memory_back() -> None:
    with InProcess(Machine(TINY)) as device:
        module = two_layers(TINY)
        with Session(module, device) as one, Session(module, device) as other:
            assert one.address != other.address
            for session in (one, other):
                x = some_input(TINY, session.address)
                (y,) = session.run({"x": x}).outputs.values()
                np.testing.assert_array_equal(y.reshape(x.shape), compute(TINY, x)[1])
            first = one.address
        with Session(module, device) as again:
            assert again.address == first


def test_a_device_of_another_configuration_is_refused() -> None:
    other = replace(TINY, bus_bits=128, token_queue_depth=3)
    with (
        InProcess(Machine(other)) as device,
        pytest.raises(
            ModuleError,
            match="bus_bits 64, not 128, token_queue_depth 1024, not 3|"
            "token_queue_depth 1024, not 3, bus_bits 64, not 128",
        ),
    ):
        Session(two_layers(TINY), device)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"input 'x' is missing; the network takes 'x' int8 \(1, 8\)"),
        ({"x": np.zeros((1, 8), np.int8), "z": np.zeros(1)}, "there is no input 'z'; the network"),
        ({"x": np.zeros((1, 8), np.float32)}, r"input 'x' is float32 \(1, 8\); the network takes"),
        ({"x": np.zeros((8, 1), np.int8)}, r"input 'x' is int8 \(8, 1\); the network takes"),
    ],
)
def test_wrong_inputs_are_named(inputs: dict[str, npt.NDArray[np.generic]], message: str) -> None:
    with (
        InProcess(Machine(TINY), timing=False) as device,
        Session(two_layers(TINY), device) as session,
        pytest.raises(ModuleError, match=message),
    ):
        session.run(inputs)


def test_code_for_another_cpu_is_refused_with_what_would_do() -> None:
    module = two_layers(TINY)
    code = replace(module.host.code, cpu="dream", features="+flying,+sse2")
    other = replace(module, host=replace(module.host, code=code))
    with (
        InProcess(Machine(TINY), timing=False) as device,
        pytest.raises(
            ModuleError,
            match="^module 'two layers': native code is for dream; this CPU, .*, lacks .*flying: "
            "compile again for it$",
        ),
    ):
        Session(other, device)


def test_a_saved_module_is_the_same_module(tmp_path: Path) -> None:
    module = two_layers(TINY)
    module.save(tmp_path / "a")
    loaded = Module.load(tmp_path / "a")
    loaded.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    plain = ("name", "config", "host", "inputs", "outputs", "arena_bytes", "tensors")
    for name in plain:
        assert getattr(loaded, name) == getattr(module, name)
    for one, other in zip(loaded.segments, module.segments, strict=True):
        assert one.offset == other.offset
        np.testing.assert_array_equal(one.data, other.data)
    for one, other in zip(loaded.steps, module.steps, strict=True):
        if isinstance(one, DeviceStep) and isinstance(other, DeviceStep):
            np.testing.assert_array_equal(one.stream.insns, other.stream.insns)
            np.testing.assert_array_equal(one.stream.uops, other.stream.uops)
            assert one.stream.marks == other.stream.marks
        else:
            assert one == other


def rewrite(path: Path, change: Callable[[dict[str, object]], object], drop: str = "") -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != drop}
    document = json.loads(members["module.json"])
    change(document)
    members["module.json"] = json.dumps(document).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_files_that_are_no_modules_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net"
    two_layers(TINY).save(path)
    whole = path.read_bytes()
    for size in (0, 10, 1000, len(whole) - 10):
        path.write_bytes(whole[:size])
        with pytest.raises(ModuleError, match=f"'{path}' is no module, or part of one"):
            Module.load(path)
    for part in (b"NUMPY", b"two layers", b"\x7fELF"):
        at = whole.index(part) + 150
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        with pytest.raises(ModuleError, match=str(path)):
            Module.load(path)
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    with pytest.raises(ModuleError, match="no module: it holds no readable module.json"):
        Module.load(tmp_path / "arrays.npz")
    with pytest.raises(ModuleError, match="cannot read module .*nowhere.*: No such file"):
        Module.load(tmp_path / "nowhere")
    with pytest.raises(ModuleError, match="cannot write module .*: No such file"):
        two_layers(TINY).save(tmp_path / "no" / "folder")


@pytest.mark.parametrize(
    ("change", "drop", "message"),
    [
        (lambda d: d.update(version=99), "", "format version 99; this program reads version 3"),
        (lambda d: d.update(format="cake"), "", "does not say 'vtakit module'"),
        (lambda d: d.pop("tensors"), "", "a damaged module: 'tensors' is missing"),
        (lambda d: d["config"].update(batch=3), "", "batch is 3; it must be a power of two"),
        (lambda d: d["steps"][0].update(kind="Jump"), "", "'Jump' is no kind of step"),
        (lambda d: d, "steps/1/insns.npy", "damaged module: .*steps/1/insns.npy"),
        (
            lambda d: d["segments"][0].update(data="steps/1/insns"),
            "",
            "uint8 with 1 dimensions should be",
        ),
    ],
)
def test_files_that_say_something_else_are_refused(
    change: Callable[[dict[str, object]], object], drop: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "net"
    two_layers(TINY).save(path)
    rewrite(path, change, drop)
    with pytest.raises(ModuleError, match=message):
        Module.load(path)


def test_modules_that_make_no_sense_are_refused() -> None:
    module = two_layers(TINY)
    for changes, message in (
        (
            {"steps": (HostStep("fly"),)},
            "step 0, HostStep: there is no entry 'fly'; there are pack, unpack",
        ),
        (
            {"steps": (HostStep("pack", (replace(Y_COPY, step=1),)),)},
            "step 0, HostStep: 'y' is copied in step 1 of 'pack', which has 1",
        ),
        ({"arena_bytes": 10}, "bytes 0 to 7|bytes .* of an arena of 10"),
        (
            {"tensors": (*module.tensors, module.tensors[0])},
            "there are two of device tensor 'x_packed'",
        ),
        (
            {"config": replace(TINY, bus_bits=32)},
            "step 1, DeviceStep: its stream is for another machine: bus_bits 64, not 32",
        ),
    ):
        with pytest.raises(ModuleError, match=message):
            replace(module, **changes)
