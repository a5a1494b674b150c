"""Running a loop program in NumPy, so that each step of the compiler can be compared with the last.

Buffers hold noise until they are written, so that what is read too early shows.
"""

from collections.abc import Mapping
from math import inf, prod

import numpy as np

from .evaluate import DTYPES, Array, arithmetic, fold, open_grid, value_of
from .expr import RANGES, Axis, BinaryOp, Expr, ExpressionError, Tensor, Type
from .loops import Allocate, Block, Body, Buffer, For, Program, When


def interpret(program: Program, given: Mapping[Tensor, Array]) -> dict[Tensor, Array]:
    """Return every tensor of `program.tensors` after the program has run on the given ones."""
    run = _Run()
    for buffer in program.tensors:
        array = given.get(buffer.tensor)
        run.arrays[buffer] = run.noise(buffer, buffer.shape) if array is None else array.copy()
    run.body(program.body)
    return {buffer.tensor: run.arrays[buffer] for buffer in program.tensors}


class _Run:
    def __init__(self) -> None:
        self.arrays: dict[Tensor, Array] = {}
        self.env: dict[Axis, Array] = {}
        self.random = np.random.default_rng(0)

    def noise(self, buffer: Buffer, shape: tuple[int, ...]) -> Array:
        dtype = DTYPES[buffer.element]
        return self.random.integers(-100, 100, prod(shape)).reshape(shape).astype(dtype)

    def body(self, body: Body) -> None:
        for statement in body:
            match statement:
                case For(axis, extent, _, inner):
                    for value in range(self._number(extent)):
                        self.env[axis] = np.array([value])
                        self.body(inner)
                    self.env.pop(axis, None)
                case When(condition, inner):
                    if self._number(condition):
                        self.body(inner)
                case Allocate(buffer):
                    shape = tuple(max(0, self._number(count)) for count in buffer.counts)
                    over = [s for s, m in zip(shape, buffer.shape, strict=True) if s > m]
                    assert not over, f"{buffer} is {shape}"
                    self.arrays[buffer] = self.noise(buffer, shape)
                case Block():
                    self._block(statement)

    def _number(self, expr: Expr) -> int:
        return int(value_of(expr, self.env, self.arrays.__getitem__).ravel()[0])

    def _block(self, block: Block) -> None:
        extents = [max(0, self._number(extent)) for _, extent in block.loops]
        if not all(extents):
            return
        rank = len(extents)
        grid = open_grid([axis for axis, _ in block.loops], extents)
        env = {axis: value.reshape((1,) * max(rank, 1)) for axis, value in self.env.items()} | grid
        array = self.arrays.__getitem__
        home = array(block.target.tensor)
        places = tuple(value_of(index, env, array) for index in block.target.indices)
        for place, extent in zip(places, home.shape, strict=True):
            if place.min() < 0 or place.max() >= extent:
                raise ExpressionError(f"{block.target} leaves {home.shape}")
        shape = tuple(extents) or (1,)
        target_shape = np.broadcast_shapes(*(place.shape for place in places))
        value = value_of(block.value, env, array, guarded=block.guard is not None)
        if block.update is None:
            home[places] = np.broadcast_to(value, target_shape)
            return
        value = np.broadcast_to(value, shape)
        if block.guard is not None:
            holds = value_of(block.guard, env, array)
            value = np.where(holds, value, _neutral(block.update, block.value.type))
        over = tuple(n for n, extent in enumerate(shape) if target_shape[n] < extent)
        folded = fold(block.update, value, over) if over else value
        home[places] = arithmetic(block.update, home[places], folded.reshape(target_shape))


def _neutral(op: BinaryOp, kind: Type) -> Array:
    """Return what changes nothing when it is folded in."""
    low, high = (-inf, inf) if kind.is_float else RANGES[kind]
    values = {BinaryOp.ADD: 0, BinaryOp.MUL: 1, BinaryOp.MAX: low, BinaryOp.MIN: high}
    return np.array(values[op], DTYPES[kind])
