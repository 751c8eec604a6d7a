"""The topic grammar and the plain definition of matching."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_client.errors import InvalidInput
from router_client.topics import (
    MAX_TOKENS,
    MAX_TOPIC_BYTES,
    check_pattern,
    check_topic,
    contains,
    is_literal,
    matches,
)
from tests.router_client.shared_cases import case_files, load

tokens = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="."), min_size=1, max_size=4)
literals = tokens.filter(lambda token: token not in ("*", ">"))
topics = st.lists(literals, min_size=1, max_size=5).map(".".join)
small = st.sampled_from(["a", "b", "c*", ">d"])
small_topics = st.lists(small, min_size=1, max_size=4).map(".".join)
small_patterns = st.builds(
    lambda parts, tail: ".".join(parts + tail),
    st.lists(small | st.just("*"), min_size=1, max_size=4),
    st.sampled_from([[], [">"]]),
)


def accepts(check: Callable[[object], str], value: object) -> bool:
    try:
        return check(value) == value
    except InvalidInput:
        return False


def covers(pattern: str, topic: str) -> bool:
    """What is invalid matches nothing. (Topics of some cases hold wildcards, so check_topic is not asked.)"""
    return accepts(check_pattern, pattern) and "" not in topic.split(".") and matches(pattern, topic)


@pytest.mark.parametrize("path", case_files("topics.json"))
def test_matching_cases(path: Path) -> None:
    cases = load(path)
    failures = [case for case in cases if covers(case["pattern"], case["topic"]) is not case["expected"]]
    assert failures == []
    assert len(cases) >= 60


@pytest.mark.parametrize("path", case_files("topics_valid.json"))
def test_validity_cases(path: Path) -> None:
    checks = {"publish_subject": check_topic, "subscription_pattern": check_pattern}
    cases = load(path)
    failures = [case for case in cases if accepts(checks[case["kind"]], case["value"]) is not case["valid"]]
    assert failures == []
    assert len(cases) >= 60


def by_recursion(pattern: list[str], topic: list[str]) -> bool:
    if not pattern or not topic:
        return not pattern and not topic
    if pattern == [">"]:
        return True
    return pattern[0] in ("*", topic[0]) and by_recursion(pattern[1:], topic[1:])


@settings(deadline=None)
@given(small_patterns, small_topics)
def test_matching_is_what_its_recursive_definition_says(pattern: str, topic: str) -> None:
    assert matches(pattern, topic) is by_recursion(pattern.split("."), topic.split("."))


@settings(deadline=None)
@given(topics)
def test_a_topic_is_a_pattern_that_matches_itself(topic: str) -> None:
    assert check_topic(topic) == check_pattern(topic) == topic
    assert is_literal(topic)
    assert matches(topic, topic)
    assert matches(">", topic)
    assert not matches(topic + ".>", topic)


@settings(deadline=None)
@given(topics, topics)
def test_a_literal_matches_only_itself(pattern: str, topic: str) -> None:
    assert matches(pattern, topic) is (pattern == topic)


@pytest.mark.parametrize("pattern", ["*", ">", "a.*", "*.a", "a.>", "a.*.b"])
def test_a_wildcard_token_makes_a_pattern_that_is_no_topic(pattern: str) -> None:
    assert not is_literal(pattern)
    assert check_pattern(pattern) == pattern
    with pytest.raises(InvalidInput):
        check_topic(pattern)


@pytest.mark.parametrize("value", [None, 5, True, ["a"], {"a": 1}, b"a"])
def test_what_is_no_text_is_refused(value: object) -> None:
    for check in (check_topic, check_pattern):
        with pytest.raises(InvalidInput, match="is text"):
            check(value)


@pytest.mark.parametrize(
    ("longest", "too_long"),
    [
        ("x" * MAX_TOPIC_BYTES, "x" * (MAX_TOPIC_BYTES + 1)),
        ("é" * (MAX_TOPIC_BYTES // 2), "é" * (MAX_TOPIC_BYTES // 2) + "x"),
        (".".join("x" * MAX_TOKENS), ".".join("x" * (MAX_TOKENS + 1))),
    ],
    ids=["bytes", "bytes of text beyond ASCII", "tokens"],
)
def test_limits(longest: str, too_long: str) -> None:
    for check in (check_topic, check_pattern):
        assert check(longest) == longest
        with pytest.raises(InvalidInput, match="at most"):
            check(too_long)


short_patterns = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=3).map(".".join)
patterns_of_two_letters = st.one_of(short_patterns, short_patterns.map(lambda text: f"{text}.>"), st.just(">"))
EVERY_SHORT_TOPIC = [
    ".".join(tokens) for length in range(1, 6) for tokens in itertools.product(("a", "b", "c"), repeat=length)
]


@settings(max_examples=400)
@given(patterns_of_two_letters, patterns_of_two_letters)
def test_a_pattern_contains_another_if_it_covers_each_of_its_topics(outer: str, inner: str) -> None:
    covered = [topic for topic in EVERY_SHORT_TOPIC if matches(inner, topic)]
    assert covered
    assert contains(outer, inner) is all(matches(outer, topic) for topic in covered)


def test_errors_name_the_field_they_are_given() -> None:
    for check in (check_topic, check_pattern):
        with pytest.raises(InvalidInput) as caught:
            check("", "topics[3]")
        assert caught.value.field == "topics[3]"
