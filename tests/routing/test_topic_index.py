from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_client.errors import Conflict, InvalidInput
from router_client.topics import check_pattern, check_topic, matches
from router_node.routing import topic_index
from router_node.routing.topic_index import MAX_LONG_SHAPES, TopicIndex

GOLDEN = Path(__file__).parents[1] / "golden"
SHARED = Path(__file__).parents[3] / "shared" / "cases"
FOLDERS = [folder for folder in (GOLDEN, SHARED) if (folder / "topics.json").is_file()]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_case_matches_as_expected_in_an_index_of_all_of_them(folder: Path) -> None:
    cases = json.loads((folder / "topics.json").read_text())
    valid = json.loads((folder / "topics_valid.json").read_text())
    others = [case["value"] for case in valid if case["kind"] == "subscription_pattern" and case["valid"]]
    patterns = [case["pattern"] for case in cases if is_valid(check_pattern, case["pattern"])]
    index: TopicIndex[str] = TopicIndex()
    for pattern in [*others, *patterns]:
        index.put(pattern, pattern)

    assert len(cases) >= 50
    found = {c["topic"]: index.match(c["topic"]) for c in cases if is_valid(check_topic, c["topic"])}
    assert [c["id"] for c in cases if (c["pattern"] in found.get(c["topic"], ())) is not c["expected"]] == []


def is_valid(check: Callable[[object], str], text: str) -> bool:
    try:
        return check(text) == text
    except InvalidInput:
        return False


tokens = st.sampled_from(["a", "b", "c"])
topics = st.lists(tokens, min_size=1, max_size=5).map(".".join)
patterns = st.tuples(st.lists(tokens | st.just("*"), max_size=5), st.sampled_from([["a"], ["*"], [">"]])).map(
    lambda parts: ".".join(parts[0] + parts[1])
)


@given(st.lists(st.tuples(st.booleans(), patterns)), st.lists(topics, min_size=1, max_size=5))
def test_it_finds_what_the_plain_definition_finds_while_patterns_come_and_go(
    changes: list[tuple[bool, str]], asked: list[str]
) -> None:
    index: TopicIndex[str] = TopicIndex()
    there: set[str] = set()
    for number, (comes, pattern) in enumerate(changes):
        if comes:
            index.put(pattern, pattern)
            there.add(pattern)
        else:
            index.remove(pattern)
            there.discard(pattern)
        topic = asked[number % len(asked)]
        assert sorted(index.match(topic)) == sorted(each for each in there if matches(each, topic))

    assert len(index) == len(there)
    assert all(index.get(each) == each for each in there)
    for pattern in there:
        index.remove(pattern)
    assert (len(index), index.shapes) == (0, 0)


def shapes_of(length: int, last: str) -> Iterator[str]:
    """Patterns of ``length`` tokens before ``last``, one of each way to have wildcards."""
    return (".".join([*tokens, last]) for tokens in product("a*", repeat=length))


def fill(index: TopicIndex[int], patterns: Iterable[str]) -> None:
    """Put patterns until one is refused, and some more."""
    refused = []
    for pattern in patterns:
        try:
            index.put(pattern, 0)
        except Conflict as error:
            refused.append(error.field)
    assert set(refused) == {"topics"}


def test_whatever_longer_patterns_there_are_short_ones_of_every_shape_have_room() -> None:
    index: TopicIndex[int] = TopicIndex()
    fill(index, [*shapes_of(9, ">"), *shapes_of(9, "a")])
    for length in range(7):
        for pattern in [*shapes_of(length, ">"), *shapes_of(length, "*"), *shapes_of(length, "a")]:
            index.put(pattern, 0)

    assert index.shapes == 2 * MAX_LONG_SHAPES
    assert len(index.match("a.a.a.a.a.a.a")) == 2**8 - 1


def test_a_shape_that_is_there_takes_any_number_of_patterns_when_no_other_has_room() -> None:
    index: TopicIndex[int] = TopicIndex()
    fill(index, shapes_of(10, "a"))
    known = len(index)

    index.put("z.z.z.z.z.z.z.z.z.*.z", 1)

    assert len(index) == known + 1


def test_a_topic_that_is_remembered_costs_nothing_again_until_a_pattern_with_wildcards_changes() -> None:
    index: TopicIndex[str] = TopicIndex()
    index.put("a.*", "s")
    found = index.match("a.b")
    assert index.match("a.b") is found

    index.put("b.b", "t")
    assert index.match("a.b") is found
    index.put("a.b", "u")
    assert set(index.match("a.b")) == {"s", "u"}
    index.remove("a.*")
    index.remove("a.b")
    assert index.match("a.b") == ()


def test_it_remembers_a_bounded_number_of_topics_and_those_asked_for_again_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(topic_index, "REMEMBERED_TOPICS", 10)
    index: TopicIndex[str] = TopicIndex()
    index.put(">", "s")
    often = index.match("often")
    for number in range(1000):
        index.match(str(number))
        assert index.match("often") is often

    assert len(index._recent) + len(index._older) <= 10
