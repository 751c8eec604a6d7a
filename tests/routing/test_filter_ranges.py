from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_node.routing import filter_ranges
from router_node.routing.effort import UNLIMITED
from router_node.routing.filter_elements import Many
from router_node.routing.filter_ranges import Ranges
from router_node.routing.range_tree import Range, place_of
from router_node.routing.route import Route

numbers = st.integers(-5, 5) | st.floats(allow_nan=False) | st.integers() | st.sampled_from([10**400, -(10**400), -0.0])
texts = st.text(max_size=3) | st.text("ab\ud800\uffff\U00010000", max_size=3).map(lambda end: "x" * 15 + end)
after = st.integers(0, 1)
ranges = st.one_of(
    *[st.builds(Range, st.none() | kind, after, st.none() | kind, after) for kind in (numbers, texts)]
).filter(lambda span: span[::2] != (None, None) and span.can_be_filed())


@given(st.lists(numbers, min_size=2) | st.lists(texts, min_size=2))
def test_places_keep_the_order(values: list[int | float | str]) -> None:
    values.sort()  # type: ignore[call-overload]

    assert sorted(map(place_of, values)) == list(map(place_of, values))


def holds(span: Range, low_side: object, high_side: object) -> bool:
    """Whether one value satisfies the lower bound, and another the upper one."""
    kinds = (str,) if span.is_text() else (int, float)
    if not isinstance(low_side, kinds) or not isinstance(high_side, kinds):
        return False
    low = span.low is None or (low_side > span.low if span.low_after else low_side >= span.low)  # type: ignore[operator]
    high = span.high is None or (high_side <= span.high if span.high_after else high_side < span.high)  # type: ignore[operator]
    return low and high


def found(filed: Ranges, value: object) -> list[str]:
    routes: list[Route] = []
    filed.match(value, routes)
    return sorted(route.name for route in routes)


@given(st.lists(ranges, max_size=12), st.lists(numbers | texts, min_size=1, max_size=4), st.integers(0, 8), st.data())
def test_a_value_finds_each_range_that_holds_it_once_while_ranges_come_and_go(
    spans: list[Range], values: list[int | float | str], few: int, data: st.DataObject
) -> None:
    filed = Ranges()
    there: dict[str, tuple[Range, Route]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filter_ranges, "FEW_RANGES", few)
        for number, span in enumerate(spans):
            route = Route(str(number), (), {})
            route.order = number
            filed.add(span, route)
            there[route.name] = span, route
            if data.draw(st.booleans()):
                filed.remove(*there.pop(data.draw(st.sampled_from(sorted(there)))))

    for value in values:
        assert found(filed, value) == sorted(name for name, (span, _) in there.items() if holds(span, value, value))
    assert found(filed, Many(set(values), UNLIMITED.spend)) == sorted(
        name
        for name, (span, _) in there.items()
        if any(holds(span, left, right) for left in values for right in values)
    )
    for span, route in there.values():
        filed.remove(span, route)
    assert filed.is_empty
