"""A chain of multiplications and shifts, for many channels and many chains of each at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..ops.elementwise import Add, Maximum, Minimum, Mul
from .quantize_numbers import INT32_MAX, Integers, Step, shift_by


@dataclass(frozen=True, eq=False)
class Chain:
    """((a * factors[0] >> middle) * factors[1] >> middle) * ..., with a = sum - origin.

    Numbers are (C, T): T chains for each of C channels. Factors are positive, so that the result
    never falls as the sum grows.
    """

    origin: Integers
    factors: tuple[Integers, ...]
    middle: int

    def product(self, sums: Integers) -> Integers:
        """Return what the last factor gives, for sums (C, N): (C, T, N)."""
        value = sums[:, None, :] - self.origin[..., None]
        for index, factor in enumerate(self.factors):
            value = (value >> self.middle if index else value) * factor[..., None]
        return value

    def fits(self, reach: Integers) -> NDArray[np.bool_]:
        """Return (C, T) whether 32 bits hold every product while |a| is at most `reach` (C, 1)."""
        fits = np.ones((), bool)
        value = reach
        for index, factor in enumerate(self.factors):
            value = ((value >> self.middle) + 1 if index else value) * factor
            fits = fits & (value <= INT32_MAX)
        return fits

    def take(self, index: Integers) -> "Chain":
        """Return, of the T chains of each channel, those of an index (C, N)."""
        origin = np.take_along_axis(self.origin, index, 1)
        factors = tuple(np.take_along_axis(factor, index, 1) for factor in self.factors)
        return Chain(origin, factors, self.middle)


@dataclass(frozen=True, eq=False)
class Cascade:
    """clip((chain + constant) >> shift) for each of C channels, whose sums are clipped before.

    Numbers are (C,); results lie from `bottom` to `top`.
    """

    least: Integers
    greatest: Integers
    origin: Integers
    factors: tuple[Integers, ...]
    middle: int
    constant: Integers
    shift: int
    bottom: int
    top: int

    def result(self, sums: Integers) -> Integers:
        """Return the results of sums (C, N)."""
        factors = tuple(factor[:, None] for factor in self.factors)
        chain = Chain(self.origin[:, None], factors, self.middle)
        clipped = np.clip(sums, self.least[:, None], self.greatest[:, None])
        value = (chain.product(clipped)[:, 0] + self.constant[:, None]) >> self.shift
        return np.clip(value, self.bottom, self.top)

    def steps(self, shape: tuple[int, ...], offset: Integers) -> list[Step]:
        """Return it as steps on numbers which, plus `offset`, are the sums; the last clip not.

        Its own numbers, one for each channel, get a shape.
        """

        def operand(numbers: Integers) -> Integers:
            return numbers.reshape(shape)

        steps = [
            Step(Add(), offset - operand(self.origin)),
            Step(Maximum(), operand(self.least - self.origin)),
            Step(Minimum(), operand(self.greatest - self.origin)),
        ]
        for index, factor in enumerate(self.factors):
            steps += shift_by(self.middle) if index else []
            steps.append(Step(Mul(), operand(factor)))
        return [*steps, Step(Add(), operand(self.constant)), *shift_by(self.shift)]
