"""Every kernel by name, which is how operators refer to them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from . import conv, elementwise, logic, pool, qlinear, quantize, reduce, shape

KERNELS: dict[str, Callable[..., Any]] = {
    "add": elementwise.add,
    "argmax": reduce.argmax,
    "broadcast": shape.broadcast,
    "cast": elementwise.cast,
    "concat": shape.concat,
    "conv2d": conv.conv2d,
    "dense": conv.dense,
    "dequantize_linear": quantize.dequantize_linear,
    "divide": elementwise.divide,
    "equal": logic.equal,
    "gather": shape.gather,
    "less": logic.less,
    "less_or_equal": logic.less_or_equal,
    "matmul": conv.matmul,
    "max_pool2d": pool.max_pool2d,
    "maximum": elementwise.maximum,
    "minimum": elementwise.minimum,
    "multiply": elementwise.multiply,
    "pad": shape.pad,
    "power": elementwise.power,
    "qlinear_average_pool": qlinear.qlinear_average_pool,
    "qlinear_softmax": qlinear.qlinear_softmax,
    "quantize_linear": quantize.quantize_linear,
    "reduce": reduce.reduce,
    "reshape": shape.reshape,
    "shift_right": elementwise.shift_right,
    "slice": shape.slice_,
    "softmax": reduce.softmax,
    "subtract": elementwise.subtract,
    "sum_pool2d": pool.sum_pool2d,
    "transpose": shape.transpose,
    "unary": elementwise.unary,
    "unfold": shape.unfold,
    "where": logic.where,
}


def run(
    kernel: str, attributes: Mapping[str, Any], arrays: Sequence[NDArray[Any]]
) -> tuple[NDArray[Any], ...]:
    """Run one kernel and return its outputs; KeyError when there is none of that name."""
    with np.errstate(all="ignore"):  # infinities and NaN go through as in any float program
        outputs: Any = KERNELS[kernel](*arrays, **attributes)
    return cast("tuple[NDArray[Any], ...]", outputs if isinstance(outputs, tuple) else (outputs,))
