"""What a kernel reads: values where they lie, constants, and elements of both as expressions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..affine import limits, tidy
from ..expr import (
    Binary,
    BinaryOp,
    Cast,
    Const,
    Expr,
    Placeholder,
    Tensor,
    Type,
    cast,
    constant,
    placeholder,
    select,
)
from ..graph import DType, Value
from .stored import TYPES, ZERO, Stored

Array = NDArray[Any]


@dataclass(frozen=True)
class View:
    """Elements of a value: the first one, and how many lie from one index to the next."""

    stored: Stored
    begin: int
    strides: tuple[int, ...]


@dataclass
class Operands:
    """Collects the operands of one kernel.

    Attributes
    ----------
    views : dict of Tensor to View
    arrays : dict of Tensor to array
        Constants, as they are to lie in memory.
    """

    stored: dict[Value, list[Stored]]
    constants: dict[Value, Array]
    views: dict[Tensor, View] = field(default_factory=dict[Tensor, View])
    arrays: dict[Tensor, Array] = field(default_factory=dict[Tensor, Array])
    _whole: dict[Stored, Placeholder] = field(default_factory=dict[Stored, Placeholder])
    _known: dict[tuple[Value, bool, bool], Placeholder] = field(
        default_factory=dict[tuple[Value, bool, bool], Placeholder]
    )

    def array(self, array: Array, name: str = "w") -> Placeholder:
        """Return a constant as a tensor."""
        tensor = placeholder(f"{name}{len(self.arrays)}", array.shape, TYPES[DType.of(array)])
        self.arrays[tensor] = np.ascontiguousarray(array)
        return tensor

    def view(
        self, stored: Stored, shape: Sequence[int], strides: Sequence[int], begin: int
    ) -> Placeholder:
        """Return part of a value, or all of it in other extents, as a tensor."""
        tensor = placeholder(f"x{len(self.views)}", shape, stored.element)
        self.views[tensor] = View(stored, begin, tuple(strides))
        return tensor

    def out(self, tensor: Tensor, stored: Stored) -> None:
        """Say where a kernel's result lies."""
        self.views[tensor] = View(stored, stored.begin(), stored.strides)

    def find(self, value: Value, block: int) -> Stored:
        """Return a value where it lies: in such blocks if it does, else as it is."""
        known = self.stored[value]
        return next((one for one in known if one.block == block), known[0])

    def element(
        self, value: Value, at: Sequence[Expr], *, block: int = 0, shift: bool = False
    ) -> Expr:
        """Return the element of a value, or of a constant, at indices that it broadcasts to.

        Indices may lie in the padding of the last block of channels, where there is block; what
        is there is any number. With `shift` a constant is a number of bits.
        """
        extents = (1,) * (len(at) - len(value.shape)) + value.shape
        used = [
            Const(0) if extent == 1 else index for extent, index in zip(extents, at, strict=True)
        ][len(at) - len(value.shape) :]
        if value in self.constants:
            return self._constant(value, used, extents, block, shift)
        stored = self.find(value, block)
        return self.read(stored, self.whole(stored), used)

    def whole(self, stored: Stored) -> Placeholder:
        """Return all of a value, without its halo, as a tensor of the extents that it lies in."""
        if stored not in self._whole:
            self._whole[stored] = self.view(stored, stored.inner, stored.strides, stored.begin())
        return self._whole[stored]

    def read(self, stored: Stored, tensor: Placeholder, at: Sequence[Expr]) -> Expr:
        """Return the element of `tensor`, which has all of a value, at indices of the value."""
        if not stored.block:
            return inside(at, stored.value.shape[1:2], tensor[tuple(at)])
        n, c, *rest = at
        y, x = rest or (Const(0), Const(0))
        place: list[Expr] = [n, tidy(c // stored.block), y, x, tidy(c % stored.block)]
        if stored.batch > 1:
            place[:1], place[-1:] = [tidy(n // stored.batch)], [tidy(n % stored.batch), place[-1]]
        found = inside(at, [stored.inner[1] * stored.block], tensor[tuple(place)])
        return unbiased(found) if stored.biased else found

    def _constant(
        self, value: Value, at: list[Expr], extents: tuple[int, ...], block: int, shift: bool
    ) -> Expr:
        array, kind = self.constants[value], TYPES[value.dtype]
        if (array == array.flat[0]).all():
            return constant(array.flat[0].item(), kind)
        padded = bool(block) and len(extents) >= 2 and extents[1] > 1
        narrow = shift and bool((array >= 0).all())
        key = value, padded, narrow
        if key not in self._known:
            if padded:
                around = [(0, 0)] * array.ndim
                axis = 1 - (len(extents) - array.ndim)
                around[axis] = (0, -array.shape[axis] % block)
                array = np.pad(array, around)
            self._known[key] = self.array(array.astype(np.uint8) if narrow else array, "c")
        return cast(self._known[key][tuple(at)], kind)


def inside(at: Sequence[Expr], channels: Sequence[int], found: Expr) -> Expr:
    """Return an element, or zero beyond the last channel, if there are channels."""
    if not channels or limits(at[1])[1] < channels[0]:
        return found
    return select(at[1] < channels[0], found, constant(0, found.type))


def unbiased(found: Expr) -> Expr:
    """Return the int8 that a uint8 stands for."""
    return cast(cast(found, Type.INT32) - ZERO, Type.INT8)


def biased(value: Expr) -> Expr:
    """Return the uint8 that stands for an int8."""
    return cast(widened(value) + ZERO, Type.UINT8)


def widened(value: Expr) -> Expr:
    """Return an int8 as int32."""
    match value:
        case Cast(Type.INT8, operand) if operand.type is Type.INT32 and _narrow(operand):
            return operand
        case _:
            return cast(value, Type.INT32)


def _narrow(operand: Expr) -> bool:
    """Return whether an int32 is surely an int8: it came from a uint8."""
    match operand:
        case Binary(BinaryOp.SUB, Cast(Type.INT32, inner), Const(offset)):
            return inner.type is Type.UINT8 and offset == ZERO
        case _:
            return False
