"""What the arithmetic instructions of PTX compute, for all threads at once; from NVIDIA's manual.

Registers are arrays of bits, `uint16`, `uint32` or `uint64`, and `bool` for predicates; an
instruction views them as its types.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

TYPES: dict[str, Any] = {
    "pred": np.bool_,
    **{f"{kind}{bits}": f"{'i' if kind == 's' else 'u'}{bits // 8}"
       for kind in "bsu" for bits in (8, 16, 32, 64)},
    "f16": np.float16,
    "f32": np.float32,
    "f64": np.float64,
}  # fmt: skip
WIDER: dict[str, str] = {"s16": "s32", "u16": "u32", "s32": "s64", "u32": "u64"}

_COMPARE: dict[str, Callable[[Array, Array], Array]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lo": np.less,
    "ls": np.less_equal,
    "hi": np.greater,
    "hs": np.greater_equal,
}
_BITS: dict[str, Callable[..., Array]] = {
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.bitwise_not,
}
_APPROXIMATE: dict[str, Callable[[Array], Array]] = {
    "ex2": np.exp2,
    "lg2": np.log2,
    "rcp": np.reciprocal,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}
_ROUND: dict[str, Callable[[Array], Array]] = {
    "rni": np.rint,
    "rzi": np.trunc,
    "rmi": np.floor,
    "rpi": np.ceil,
}


def dtype(name: str) -> "np.dtype[Any]":
    """Return the type of numbers that PTX calls so."""
    return np.dtype(TYPES[name])


def compute(parts: Sequence[str], operands: Sequence[Array]) -> Array:
    """Return the result of an arithmetic instruction, such as ("add", "s32").

    Parameters
    ----------
    parts : sequence of str
        The instruction's name, at its dots.
    operands : sequence of Array
        Bits, of the instruction's width.
    """
    name, *modifiers = parts
    if name == "cvt":
        return _convert(modifiers, operands[0])
    if name == "setp":
        return _compared(modifiers, *(a.view(dtype(modifiers[-1])) for a in operands))
    if name == "selp":
        a, b, chosen = operands
        return np.where(chosen, a, b)
    if name == "dp4a":
        a, b, c = operands
        both = (x.view(np.int8).reshape(-1, 4).astype(np.int32) for x in (a, b))
        return (np.prod([*both], axis=0).sum(1, dtype=np.int32) + c.view(np.int32)).view(np.uint32)
    kind = modifiers[-1]
    typed = [a.view(dtype(kind)) if a.itemsize == dtype(kind).itemsize else a for a in operands]
    if kind[0] == "f":
        return _float(name, modifiers, typed)
    if name in _BITS:
        return _BITS[name](*typed)
    return _integer(name, modifiers, typed)


def _compared(modifiers: Sequence[str], a: Array, b: Array) -> Array:
    name = modifiers[0]
    if name == "num":
        return ~(np.isnan(a) | np.isnan(b))
    if name == "nan":
        return np.isnan(a) | np.isnan(b)
    if name.endswith("u") and a.dtype.kind == "f":  # or one is no number
        return _COMPARE[name[:-1]](a, b) | np.isnan(a) | np.isnan(b)
    found = _COMPARE[name](a, b)
    if name == "ne" and a.dtype.kind == "f":
        return found & ~(np.isnan(a) | np.isnan(b))
    return found


def _integer(name: str, modifiers: Sequence[str], x: Sequence[Array]) -> Array:
    kind = modifiers[-1]
    bits = dtype(kind).itemsize * 8
    match name, modifiers[0]:
        case (("add" | "sub" | "min" | "max"), _):
            functions = {"add": np.add, "sub": np.subtract, "min": np.minimum, "max": np.maximum}
            return functions[name](*x)
        case (("mul" | "mad"), "lo"):
            return x[0] * x[1] if name == "mul" else x[0] * x[1] + x[2]
        case (("mul" | "mad"), "wide"):
            wide = dtype(WIDER[kind])
            product = x[0].astype(wide) * x[1].astype(wide)
            return product if name == "mul" else product + x[2].view(wide)
        case "mul", "hi":
            return _high(x[0], x[1], bits)
        case "neg", _:
            return -x[0]
        case "abs", _:
            return np.abs(x[0])
        case (("shl" | "shr"), _):
            count = np.minimum(x[1].astype(np.uint64), bits - 1).astype(x[0].dtype)
            over = x[1].astype(np.uint64) >= bits
            if name == "shl":
                return np.where(over, 0, x[0] << count)
            gone = np.where(x[0] < 0, -1, 0) if kind[0] == "s" else np.zeros_like(x[0])
            return np.where(over, gone, x[0] >> count).astype(x[0].dtype)
        case "bfe", _:
            return _field(x[0], x[1], x[2], bits)
        case "div", _:
            quotient = np.abs(x[0]) // np.abs(x[1]) if kind[0] == "s" else x[0] // x[1]
            return np.where((x[0] < 0) != (x[1] < 0), -quotient, quotient)
        case "rem", _:
            return np.fmod(x[0], x[1])
        case _:
            raise NotImplementedError(f"{name}.{'.'.join(modifiers)}")


def _high(a: Array, b: Array, bits: int) -> Array:
    if bits < 64:
        wide = np.int64 if a.dtype.kind == "i" else np.uint64
        return ((a.astype(wide) * b.astype(wide)) >> wide(bits)).astype(a.dtype)
    half, low = np.uint64(32), np.uint64((1 << 32) - 1)
    if a.dtype.kind == "i":
        found = _high(a.view(np.uint64), b.view(np.uint64), bits).view(np.int64)
        return found - np.where(a < 0, b, 0) - np.where(b < 0, a, 0)
    a0, a1, b0, b1 = a & low, a >> half, b & low, b >> half
    middle = a1 * b0 + ((a0 * b0) >> half)
    other = a0 * b1 + (middle & low)
    return a1 * b1 + (middle >> half) + (other >> half)


def _field(a: Array, begin: Array, length: Array, bits: int) -> Array:
    begin, length = begin.astype(np.uint64) & 255, length.astype(np.uint64) & 255
    assert np.all(begin + length <= bits), "a field outside its register"
    left = (bits - begin - length).astype(a.dtype)
    return (a << left) >> (left + begin.astype(a.dtype))


def _float(name: str, modifiers: Sequence[str], x: Sequence[Array]) -> Array:
    kind = x[0].dtype
    with np.errstate(all="ignore"):
        match name:
            case "add":
                return x[0] + x[1]
            case "sub":
                return x[0] - x[1]
            case "mul":
                return x[0] * x[1]
            case "div":
                return x[0] / x[1]
            case "fma":
                wide = np.float64 if kind == np.float32 else np.longdouble
                exact = x[0].astype(wide) * x[1].astype(wide) + x[2].astype(wide)
                return _rounded(exact, modifiers[0], kind)
            case "min":
                return np.minimum(*x) if "NaN" in modifiers else np.fmin(*x)
            case "max":
                return np.maximum(*x) if "NaN" in modifiers else np.fmax(*x)
            case "neg":
                return -x[0]
            case "abs":
                return np.abs(x[0])
            case "copysign":
                return np.copysign(x[1], x[0])
            case _ if name in _APPROXIMATE:
                return _APPROXIMATE[name](x[0].astype(np.float64)).astype(kind)
            case _:
                raise NotImplementedError(f"{name}.{'.'.join(modifiers)}")


def _rounded(exact: Array, way: str, kind: "np.dtype[Any]") -> Array:
    near = exact.astype(kind)
    if way == "rm":
        return np.where(near > exact, np.nextafter(near, kind.type(-np.inf)), near)
    if way == "rp":
        return np.where(near < exact, np.nextafter(near, kind.type(np.inf)), near)
    assert way == "rn", way
    return near


def _convert(modifiers: Sequence[str], x: Array) -> Array:
    *ways, to, of = modifiers
    source = x.astype(f"u{dtype(of).itemsize}").view(dtype(of))
    way = next((w for w in ways if w in _ROUND), None)
    with np.errstate(all="ignore"):
        if way is not None:
            source = _ROUND[way](source)
        if "sat" in ways:
            source = np.clip(np.nan_to_num(source), 0, 1)
        if of[0] == "f" and to[0] != "f":
            limits = np.iinfo(dtype(to))
            held = np.clip(np.nan_to_num(source.astype(np.float64)), limits.min, limits.max)
            top = held >= float(limits.max)
            return np.where(top, limits.max, np.where(top, 0, held).astype(dtype(to)))
        return source.astype(dtype(to))
