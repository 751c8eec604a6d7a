"""Who made which subscriptions, and how many each."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from router_node.routing.owners import Owners

NAMES, WHO = st.sampled_from(["a", "b", "c"]), st.sampled_from([None, "key:x", "jwt:y"])


@given(st.lists(st.tuples(NAMES, WHO, st.booleans()), max_size=50))
def test_the_counts_are_those_of_what_is_there(steps: list[tuple[str, str | None, bool]]) -> None:
    owners, model = Owners(), dict[str, str]()
    for name, owner, forget in steps:
        model.pop(name, None)
        if forget:
            owners.forget(name)
        else:
            owners.note(name, owner)
            if owner is not None:
                model[name] = owner
        counts = Counter(model.values())
        assert {each: owners.made_by(each) for each in ("key:x", "jwt:y")} == {
            each: counts[each] for each in ("key:x", "jwt:y")
        }
        assert {each: owners.of(each) for each in "abc"} == {each: model.get(each) for each in "abc"}
