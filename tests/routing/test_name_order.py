"""The order of names is what sorting them each time would give, whatever came and went between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router_node.routing.name_order import NameOrder

NAMES = st.sampled_from("abcdefgh")
STEPS = st.lists(st.one_of(NAMES.map(lambda name: ("toggle", name)), NAMES.map(lambda name: ("list", name))))


@given(STEPS, st.integers(1, 9))
def test_it_is_the_order_of_what_is_there(steps: list[tuple[str, str]], limit: int) -> None:
    there: dict[str, None] = {}
    order = NameOrder(there.keys())
    for step, name in [*steps, ("list", "")]:
        if step == "list":
            assert order.starting_at(name, limit) == [each for each in sorted(there) if each >= name][:limit]
        elif name in there:
            del there[name]
            order.went(name)
        else:
            there[name] = None
            order.came(name)
