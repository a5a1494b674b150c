"""Memory as compiled code sees it: bare pointers, indexed like arrays.

NumPy arrays own what they point at and are counted by whoever holds them, which costs more than
most of what the inner functions do. Python owns the arrays; compiled code gets their addresses.
"""
# pyright: basic
# (llvmlite and Numba have no types)

from typing import Any

from numba.core import types
from numba.extending import intrinsic as numba_intrinsic

intrinsic: Any = numba_intrinsic  # what it makes of a function has another signature


def _pointer_to(element: Any) -> Any:
    @intrinsic
    def at(context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.inttoptr(values[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(types.int64), generate

    return at


int8s = _pointer_to(types.int8)
int16s = _pointer_to(types.int16)
int32s = _pointer_to(types.int32)
int64s = _pointer_to(types.int64)


@intrinsic
def skip(context: Any, pointer: Any, count: Any) -> Any:
    """Return the pointer to the element `count` further on."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.gep(values[0], [values[1]])

    return pointer(pointer, types.int64), generate
