"""The part of a box of iterations that conditions leave is cut into boxes, each iteration once."""

from itertools import product
from operator import mul

from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.compiler.emit.box import Box, boxes
from vtakit.compiler.emit.plan import Limit


@settings(max_examples=200, deadline=None)
@given(
    extents=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    data=st.data(),
)
def test_boxes_hold_exactly_the_iterations_where_all_limits_hold(
    extents: list[int], data: st.DataObject
) -> None:
    limits: list[tuple[int, tuple[int, ...]]] = data.draw(
        st.lists(
            st.tuples(
                st.integers(-6, 6),
                st.tuples(*[st.integers(-2, 2) for _ in extents]),
            ),
            max_size=4,
        )
    )
    found = list(
        boxes(Box.whole(extents), [Limit(lambda env, b=b: b, steps) for b, steps in limits], {})
    )
    points = [point for box in found for point in product(*map(range, box.lows, box.highs))]
    wanted = {
        point
        for point in product(*map(range, extents))
        if all(base + sum(map(mul, point, steps)) >= 0 for base, steps in limits)
    }
    assert len(points) == len(set(points))
    assert set(points) == wanted


def test_an_edge_cuts_a_window_into_few_boxes() -> None:
    # y in 4, ky in 3, where y*2 + ky - 1 is inside 0..8: only the first window lacks a row.
    limits = [Limit(lambda env: -1, (2, 1)), Limit(lambda env: 8, (-2, -1))]
    found = list(boxes(Box.whole((4, 3)), limits, {}))
    assert found == [Box((1, 0), (4, 1)), Box((0, 1), (4, 3))]
