from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router_node.routing.filter_ranges import Edge, Range, Ranges, place_of
from router_node.routing.filter_reading import Many
from router_node.routing.route import Route

numbers = st.integers(-5, 5) | st.floats(allow_nan=False) | st.integers() | st.sampled_from([10**400, -(10**400), -0.0])
texts = st.text(max_size=3) | st.text("ab\ud800\uffff\U00010000", max_size=3).map(lambda end: "x" * 31 + end)
edges = st.one_of(*[st.tuples(values, st.integers(0, 1)).map(lambda each: Edge(*each)) for values in (numbers, texts)])
ranges = st.builds(Range, st.none() | edges, st.none() | edges).filter(
    lambda span: (span.low or span.high) is not None and span.can_be_filed()
)


@given(st.lists(numbers, min_size=2) | st.lists(texts, min_size=2))
def test_places_keep_the_order(values: list[int | float | str]) -> None:
    values.sort()  # type: ignore[call-overload]

    assert sorted(map(place_of, values)) == list(map(place_of, values))


def holds(span: Range, low_side: object, high_side: object) -> bool:
    """Whether one value satisfies the lower bound, and another the upper one."""
    kinds = (str,) if span.is_text else (int, float)
    if not isinstance(low_side, kinds) or not isinstance(high_side, kinds):
        return False
    low = span.low is None or (low_side > span.low.value if span.low.after else low_side >= span.low.value)  # type: ignore[operator]
    high = span.high is None or (high_side <= span.high.value if span.high.after else high_side < span.high.value)  # type: ignore[operator]
    return low and high


def found(filed: Ranges, value: object) -> list[str]:
    routes: list[Route] = []
    for leaf in filed.reached(value):
        leaf.match({}, routes)
    return sorted(route.name for route in routes)


@given(st.lists(ranges, max_size=12), st.lists(numbers | texts, min_size=1, max_size=4), st.data())
def test_a_value_finds_each_range_that_holds_it_once_while_ranges_come_and_go(
    spans: list[Range], values: list[int | float | str], data: st.DataObject
) -> None:
    filed = Ranges()
    there: dict[str, tuple[Range, Route]] = {}
    for number, span in enumerate(spans):
        route = Route(str(number), (), {})
        route.order = number
        for leaf in filed.leaves_of(span):
            leaf.add(route, None)
        there[route.name] = span, route
        if data.draw(st.booleans()):
            span, gone = there.pop(data.draw(st.sampled_from(sorted(there))))
            for leaf in filed.leaves_of(span):
                leaf.remove(gone, None)
            filed.tidy(span)

    for value in values:
        assert found(filed, value) == sorted(name for name, (span, _) in there.items() if holds(span, value, value))
    several = Many(set(values))
    assert found(filed, several) == sorted(
        name
        for name, (span, _) in there.items()
        if any(holds(span, left, right) for left in values for right in values)
    )
    for span, route in there.values():
        for leaf in filed.leaves_of(span):
            leaf.remove(route, None)
        filed.tidy(span)
    assert filed.is_empty
