"""The interpreter of PTX finds code that only happens to work."""

import numpy as np
import pytest

from .ptx_gpu import PtxGpu
from .ptx_memory import Memory
from .ptx_values import compute
from .test_templates import Array

TURNED = """
.visible .entry turned(
    .param .u64 .ptr .align 1 turned_param_0,
    .param .u64 .ptr .align 1 turned_param_1
)
.maxntid 128
{
    .reg .pred  %p<2>;
    .reg .b32   %r<8>;
    .reg .b64   %rd<9>;
    .shared .align 4 .b8 held[512];
    ld.param.b64    %rd1, [turned_param_0];
    ld.param.b64    %rd2, [turned_param_1];
    mov.u32     %r1, %tid.x;
    mul.wide.u32    %rd3, %r1, 4;
    add.s64     %rd4, %rd1, %rd3;
    ld.global.b32   %r2, [%rd4];
    mov.b64     %rd5, held;
    add.s64     %rd6, %rd5, %rd3;
    st.shared.b32   [%rd6], %r2;
    bar.sync    0;
    sub.s32     %r3, 127, %r1;
    mul.wide.u32    %rd7, %r3, 4;
    add.s64     %rd7, %rd5, %rd7;
    ld.shared.b32   %r4, [%rd7];
    add.s64     %rd8, %rd2, %rd3;
    st.global.b32   [%rd8], %r4;
    ret;
}
"""
"""Every thread of a block gives the number of another one, through memory that they share."""


def run(text: str, seed: int = 0) -> Array:
    gpu = PtxGpu(seed)
    given, found = gpu.allocate(512), gpu.allocate(512)
    gpu.write(given, np.arange(128, dtype=np.int32))
    module = gpu.load(text)
    gpu.launch(gpu.function(module, "turned"), 1, 128, (given, found))
    result = np.empty(128, np.int32)
    gpu.read(found, result)
    return result


def test_threads_that_meet_see_what_others_wrote() -> None:
    for seed in range(8):
        np.testing.assert_array_equal(run(TURNED, seed), np.arange(128)[::-1])


def test_threads_that_do_not_meet_do_not() -> None:
    found = [run(TURNED.replace("bar.sync    0;", ""), seed) for seed in range(8)]
    assert any((one != np.arange(128)[::-1]).any() for one in found)


@pytest.mark.parametrize(("change", "message"), [
    (("bar.sync    0;", "setp.lt.u32 %p1, %r1, 100;\n@%p1 bar.sync 0;"), "never come"),
    (("ld.global.b32   %r2, [%rd4]", "ld.global.b32   %r2, [%rd4+4]"), "nothing is allocated"),
    (("ld.global.b32   %r2, [%rd4]", "ld.global.b32   %r2, [%rd4+-8192]"), "nothing is allocated"),
    (("ld.global.b32   %r2, [%rd4]", "ld.global.b32   %r2, [%rd4+2]"), "not aligned to 4 bytes"),
    (("sub.s32     %r3, 127", "sub.s32     %r3, 128"), "outside of shared"),
])  # fmt: skip
def test_flaws_are_errors(change: tuple[str, str], message: str) -> None:
    assert change[0] in TURNED
    with pytest.raises(AssertionError, match=message):
        run(TURNED.replace(*change))


def test_what_was_freed_is_no_memory() -> None:
    memory = Memory()
    one, other = (memory.allocate(np.zeros(16, np.uint8)) for _ in range(2))
    memory.free(one)
    memory.load(np.array([other]), 4, "ld")
    with pytest.raises(AssertionError, match="ld: nothing is allocated"):
        memory.load(np.array([one]), 4, "ld")


def bits(*numbers: int, kind: str = "u4") -> Array:
    wide = np.array([number & 0xFFFFFFFFFFFFFFFF for number in numbers], np.uint64)
    return wide.astype(kind)


@pytest.mark.parametrize(("name", "operands", "wanted"), [
    ("add.s32", [(7, -1), (-9, 1)], (-2, 0)),
    ("shr.s32", [(-8, 8), (1, 40)], (-4, 0)),
    ("shr.u32", [(-8,), (28,)], (15,)),
    ("div.s32", [(-7, 7, -7), (2, -2, -2)], (-3, -3, 3)),
    ("rem.s32", [(-7, 7), (2, -2)], (-1, 1)),
    ("mul.hi.s32", [(-(1 << 31), 1 << 30), (3, 8)], (-2, 2)),
    ("mul.hi.u32", [(-1,), (-1,)], (-2,)),
    ("min.s32", [(-1, 4), (2, 3)], (-1, 3)),
    ("min.u32", [(-1, 4), (2, 3)], (2, 3)),
    ("bfe.u32", [(0x12345678,), (8,), (8,)], (0x56,)),
    ("dp4a.s32.s32", [(0x010203FF,), (0x02FD0180,), (100,)], (100 + 2 - 6 + 3 + 128,)),
    ("cvt.rzi.s32.f32", [np.array([-2.5, 3e9, np.nan], np.float32).view("u4")],
     (-2, (1 << 31) - 1, 0)),
    ("cvt.rni.s32.f32", [np.array([-2.5, 3.5], np.float32).view("u4")], (-2, 4)),
    ("cvt.s32.s8", [(0xF7,)], (-9,)),
])  # fmt: skip
def test_integers(name: str, operands: list[tuple[int, ...]], wanted: tuple[int, ...]) -> None:
    given = [x if isinstance(x, np.ndarray) else bits(*x) for x in operands]
    found = compute(tuple(name.split(".")), given)
    assert found.astype(np.uint32).view(np.int32).tolist() == [
        int(np.array(x & 0xFFFFFFFF, np.uint32).view(np.int32)) for x in wanted
    ]


@pytest.mark.parametrize("name", ["mul.hi.s64", "mul.hi.u64"])
def test_the_upper_half_of_a_product(name: str) -> None:
    random = np.random.default_rng(0)
    a, b = random.integers(0, 1 << 64, (2, 1000), np.uint64)
    kind = np.int64 if "s64" in name else np.uint64
    wanted = [int(x) * int(y) >> 64 for x, y in zip(a.view(kind), b.view(kind), strict=True)]
    assert compute(tuple(name.split(".")), [a, b]).view(kind).tolist() == wanted


@pytest.mark.parametrize(("way", "c", "wanted"), [
    ("rn", -1, 2**-11 + 2**-24),  # which the product alone, rounded, does not have
    ("rn", 2**14, 2**14 + 1),
    ("rm", 2**14, 2**14 + 1),
    ("rp", 2**14, 2**14 + 1 + 2**-9),
    ("rm", -(2**14) - 2, -(2**14) - 1),
])  # fmt: skip
def test_a_sum_of_products_is_rounded_once(way: str, c: float, wanted: float) -> None:
    x = 1 + 2.0**-12
    given = [np.array([value], np.float32) for value in (x, x, c)]
    assert compute(("fma", way, "f32"), given).tolist() == [wanted]
