"""compiler.cache: networks that were compiled before, and what cannot be used of them."""

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from vtakit.compiler.build import Compiled
from vtakit.compiler.cache import KEPT, MEMBER, cached_module
from vtakit.compiler.graph import Graph
from vtakit.compiler.ops.shape import Concat
from vtakit.isa.config import PRESETS
from vtakit.runtime.module import DeviceStep

from .integer_layers import Layers, repeat, run

DEFAULT = PRESETS["default"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the cache be empty; return the folder in which it is going to be."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "vtakit" / "vta"


def network(channels: int = 20) -> Graph:
    """Return a network with a first layer that is unfolded, views, parts and repeated pixels."""
    layers = Layers()
    first = layers.conv(layers.input(1, 3, 12, 12), channels, strides=(2, 2), pads=(1, 1, 1, 1))
    second = layers.conv(first, 9, pads=(1, 1, 1, 1))
    large = repeat(layers, layers.conv(second, 16, (1, 1)), 2, 3)
    beside = layers.conv(layers.input(1, 5, 12, 18), 16, (1, 1))
    whole = layers.builder.add(Concat(1), beside, large, layer="concat")
    ends = layers.dense(second, 7), layers.max_pool(first, (2, 2), (2, 2))
    return layers.build(*ends, layers.conv(whole, 3))


def streams(compiled: Compiled) -> list[bytes]:
    steps = compiled.module.steps
    return [step.stream.insns.tobytes() for step in steps if isinstance(step, DeviceStep)]


def told(compiled: Compiled) -> list[dict[str, object]]:
    """Return what is known of the layers, without their schedules."""
    return [vars(layer) | {"choice": None, "value": layer.value.name} for layer in compiled.layers]


def test_the_second_time_it_is_the_same_from_the_cache() -> None:
    graph = network()
    first, kept = cached_module(graph, DEFAULT, keep=True, measured=1)
    assert not kept
    second, kept = cached_module(graph, DEFAULT, keep=True, measured=1)
    assert kept
    assert streams(first) == streams(second)
    assert told(first) == told(second)
    assert {value.name: (one.tiles, one.halo) for value, one in first.packed.items()} == {
        value.name: (one.tiles, one.halo) for value, one in second.packed.items()
    }
    assert any(one.is_repeated for one in second.packed.values())
    assert run(second).equal
    assert run(second).compared == run(first).compared > 2


def test_what_decides_the_result_decides_what_is_found() -> None:
    graph = network()
    cached_module(graph, DEFAULT, measured=1)
    weights = next(value for value in graph.constants if value.shape[1:] == (3, 3, 3))
    other = {**graph.constants, weights: graph.constants[weights] ^ 1}
    assert cached_module(graph, DEFAULT, measured=1)[1]
    for different in (
        cached_module(replace(graph, constants=other), DEFAULT, measured=1),
        cached_module(network(21), DEFAULT, measured=1),
        cached_module(graph, replace(DEFAULT, acc_banks=2), measured=1),
        cached_module(graph, DEFAULT, measured=2),
        cached_module(graph, DEFAULT, keep=True, measured=1),
        cached_module(graph, DEFAULT, measured=1, on_cpu=["conv2"]),
        cached_module(graph, DEFAULT, measured=1, cpu_macs=3),
    ):
        assert not different[1]
    assert cached_module(graph, DEFAULT, measured=1, on_cpu=["conv2"])[1]


def _without_member(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != MEMBER}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def _flipped(path: Path) -> None:
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    data[data.size // 2] ^= 0x10
    path.write_bytes(data.tobytes())


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-300]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("something else"),
        _without_member,
        _flipped,
    ],
    ids=["cut short", "empty", "foreign", "without layers", "a bit"],
)
def test_what_is_damaged_is_compiled_again(damage: Callable[[Path], object], folder: Path) -> None:
    graph = network()
    first, _ = cached_module(graph, DEFAULT, keep=True, measured=1)
    (path,) = folder.iterdir()
    damage(path)
    again, kept = cached_module(graph, DEFAULT, keep=True, measured=1)
    assert not kept
    assert streams(again) == streams(first)
    assert cached_module(graph, DEFAULT, keep=True, measured=1)[1], "and kept whole"


def test_any_bit_of_the_directory_may_be_wrong(folder: Path) -> None:
    """That of the archive, which says how its members are to be read."""
    layers, random = Layers(), np.random.default_rng(1)
    graph = layers.build(layers.conv(layers.input(1, 16, 2, 2), 16, (1, 1)))
    first, _ = cached_module(graph, DEFAULT, keep=True, measured=1)
    (path,) = folder.iterdir()
    good = np.frombuffer(path.read_bytes(), np.uint8)
    begin = good.tobytes().index(b"PK\x01\x02")
    for place in random.integers(begin, good.size, 250):
        wrong = good.copy()
        wrong[place] ^= np.uint8(1 << random.integers(8))
        path.write_bytes(wrong.tobytes())
        again, kept = cached_module(graph, DEFAULT, keep=True, measured=1)
        assert streams(again) == streams(first)
        if kept:
            assert told(again) == told(first)


def test_so_many_are_kept_and_nothing_is_left_over(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(KEPT + 3):
        (folder / f"{number}.zip").write_bytes(b"")
    cached_module(network(), DEFAULT, measured=1)
    assert len(list(folder.iterdir())) == KEPT
    assert cached_module(network(), DEFAULT, measured=1)[1]


def test_without_a_folder_it_is_compiled_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        compiled, kept = cached_module(network(), DEFAULT, keep=True, measured=1)
        assert not kept
        assert run(compiled).equal
