"""How often a tensor ALU micro-op finds its source in the operand register. Compiled."""

from .columns import DST_IN, DST_OUT, ITER_IN, ITER_OUT, SRC_IN, SRC_OUT, UOP_BEGIN, UOP_END
from .jit import compiled, constant
from .state import Ints

_ZERO, _ONE = constant(0), constant(1)


@compiled
def operand_hits(row: Ints, uops: Ints) -> int:
    """Return how many micro-ops of a tensor ALU read the source that the one before read.

    That is, its index is the same and the one before did not write that tile. Whether two
    micro-ops in a row have the same source is the same in every iteration, so only pairs that do
    are looked at, and for these whether the earlier one wrote the tile is a linear equation.
    """
    begin, end = row[UOP_BEGIN], row[UOP_END]
    outs, inners = row[ITER_OUT], row[ITER_IN]
    if begin >= end or outs == 0 or inners == 0:
        return 0
    by_out = row[DST_OUT] - row[SRC_OUT]
    by_inner = row[DST_IN] - row[SRC_IN]
    hits = 0
    for u in range(begin + 1, end):
        src = uops[4 * u + 1]
        if src == uops[4 * u - 3]:
            apart = uops[4 * u - 4] - src
            hits += outs * inners - _zeros(apart, by_out, outs, by_inner, inners)
    last_dst, last_src = uops[4 * end - 4], uops[4 * end - 3]
    src = uops[4 * begin + 1]
    if src + row[SRC_IN] == last_src:
        apart = last_dst - src - row[SRC_IN]
        hits += outs * (inners - 1) - _zeros(apart, by_out, outs, by_inner, inners - 1)
    back = (inners - 1) * row[SRC_IN]
    if src + row[SRC_OUT] == last_src + back:
        apart = last_dst + (inners - 1) * row[DST_IN] - src - row[SRC_OUT]
        hits += outs - 1 - _zeros(apart, by_out, outs - 1, _ZERO, _ONE)
    return hits


@compiled
def _zeros(constant: int, by_out: int, outs: int, by_inner: int, inners: int) -> int:
    """Count the iterations in which constant + out * by_out + inner * by_inner is 0.

    Division is slow, so an `out` is looked at only where some inner iteration comes at least near.
    """
    if by_inner < 0:
        constant, by_out, by_inner = -constant, -by_out, -by_inner
    count, rest, far = 0, -constant, by_inner * (inners - 1)
    for _ in range(outs):
        if 0 <= rest <= far:
            if by_inner == 0:
                count += inners
            elif rest % by_inner == 0:
                count += 1
        rest -= by_out
    return count
