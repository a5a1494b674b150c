"""Kernels: compiled functions that are called by address, so that each is compiled once.

A compiled function becomes part of everything that calls it, all the way up, and is optimised again
in each. What is large therefore stands apart: made for a configuration, when that is first used,
and reached through an address in the machine's record.
"""
# pyright: basic
# (llvmlite and Numba have no types)

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic as numba_intrinsic

from .state import STATE, Ints, State

intrinsic: Any = numba_intrinsic  # what it makes of a function has another signature

Body = Callable[[State, Ints], None]
"""Does what the instruction of a row does, whose indices have been checked."""

_SIGNATURE = types.void(numba.from_dtype(STATE), types.CPointer(types.int32))


class Kernel:
    """A compiled `Body`, and its `address`, which is good as long as this object lives."""

    def __init__(self, body: Body) -> None:
        try:
            self._code = numba.cfunc(_SIGNATURE, error_model="numpy", cache=True)(body)
        except RuntimeError:  # nothing can be written to disk
            self._code = numba.cfunc(_SIGNATURE, error_model="numpy")(body)
        address = self._code.address
        assert address is not None
        self.address: int = address


@intrinsic
def call(context: Any, address: Any, m: Any, row: Any) -> Any:
    """Run the kernel at an address."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address, *arguments = values
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in arguments])
        builder.call(builder.inttoptr(address, kind.as_pointer()), arguments)
        return context.get_dummy_value()

    return types.void(types.int64, m, row), generate
