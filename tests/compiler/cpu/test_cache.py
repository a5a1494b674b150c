"""Native programs in files: the same after saving and loading, refused when damaged, and cached."""

from pathlib import Path

import numpy as np
import pytest
from vtakit.compiler.builder import GraphBuilder
from vtakit.compiler.cpu import cache
from vtakit.compiler.cpu.build import build_native
from vtakit.compiler.graph import DType, Graph
from vtakit.compiler.ops.elementwise import Add, Maximum
from vtakit.compiler.ops.linear import Dense
from vtakit.compiler.reference import outputs
from vtakit.runtime.native import programfile
from vtakit.runtime.native.errors import NativeError
from vtakit.runtime.native.program import NativeProgram, NativeSession

RANDOM = np.random.default_rng(11)
X = RANDOM.normal(size=(2, 20)).astype(np.float32)


def dense(seed: int = 0) -> Graph:
    """A dense layer with bias and Relu."""
    random = np.random.default_rng(seed)
    b = GraphBuilder("dense")
    x = b.input("x", (2, 20), DType.FLOAT32)
    w = b.constant(random.normal(size=(30, 20)).astype(np.float32), "w")
    bias = b.constant(random.normal(size=30).astype(np.float32), "bias")
    zero = b.constant(np.array(0, np.float32), "zero")
    y = b.add(Add(), b.add(Dense(), x, w, layer="fc"), bias, layer="fc")
    return b.build([b.add(Maximum(), y, zero, layer="fc")])


def opened(path: Path) -> NativeProgram | str:
    """Load a program; return it, or why it is refused."""
    try:
        return programfile.load(path)
    except NativeError as error:
        return str(error)


def test_a_program_is_the_same_after_saving_and_loading(tmp_path: Path) -> None:
    graph = dense()
    program = build_native(graph)
    programfile.save(program, tmp_path / "a.zip")
    programfile.save(program, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    again = programfile.load(tmp_path / "a.zip")
    assert again == program
    with NativeSession(again) as session:
        (made,) = session.run({"x": X}).values()
    (wanted,) = outputs(graph, {"x": X}).values()
    np.testing.assert_allclose(np.asarray(made, np.float32), wanted, rtol=1e-5, atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip"]


def test_any_damaged_byte_is_noticed(tmp_path: Path) -> None:
    program = build_native(dense())
    path = tmp_path / "program.zip"
    programfile.save(program, path)
    whole = path.read_bytes()
    for place in RANDOM.integers(0, len(whole), 300):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        found = opened(path)
        if isinstance(found, str):
            assert "program.zip" in found
            assert "\n" not in found
        else:
            assert found == program  # a field of the ZIP that nobody reads
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NativeError, match="is no native program, or a damaged one"):
        programfile.load(path)
    with pytest.raises(NativeError, match=r"cannot read native program .*none\.zip.*No such file"):
        programfile.load(tmp_path / "none.zip")


def test_the_cache_gives_what_was_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built: list[Graph] = []
    build = cache._built  # pyright: ignore[reportPrivateUsage]

    def counted(graph: Graph, cpu: cache.Cpu) -> cache.NativeProgram:
        built.append(graph)
        return build(graph, cpu)

    monkeypatch.setattr(cache, "_built", counted)
    first = cache.cached_native(dense())
    assert cache.cached_native(dense()) == first
    assert len(built) == 1
    assert cache.cached_native(dense(1)) != first  # other weights
    (*_, kept) = sorted((tmp_path / "vtakit" / "native").iterdir())
    kept.write_bytes(kept.read_bytes()[:100])
    cache.cached_native(dense())
    cache.cached_native(dense(1))
    assert len(built) == 3


def test_no_folder_for_the_cache_is_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache.cached_native(dense()) == build_native(dense())


def test_the_cache_keeps_a_number_of_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache, "KEPT", 2)
    for seed in range(4):
        cache.cached_native(dense(seed))
    assert len(list((tmp_path / "vtakit" / "native").iterdir())) == 2
