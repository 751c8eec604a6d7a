"""Ranges and regular expressions for patterns, against the grammar's own definition."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from router_client.topics import is_literal, matches
from stores.topic_range import topic_range

words = st.sampled_from(["a", "b", "a-b", "a/b", "a+", "é", "(x", "a*", ">b", "\\d", "^", "$", "[a]", "~", "%", "_"])
topics = st.lists(words, min_size=1, max_size=4).map(".".join)
patterns = st.tuples(st.lists(words | st.just("*"), max_size=4), st.sampled_from([[], [">"]])).map(
    lambda parts: ".".join(parts[0] + parts[1]) or "*"
)


@settings(max_examples=500, deadline=None)
@given(patterns.filter(lambda pattern: not is_literal(pattern)), topics)
def test_range_and_regex_together_are_the_grammar(pattern: str, topic: str) -> None:
    found = topic_range(pattern)

    in_range = found.high is None or found.low.encode() <= topic.encode() < found.high.encode()
    assert (in_range and (found.regex is None or bool(re.search(found.regex, topic)))) is matches(pattern, topic)


def test_a_final_tail_needs_no_regex() -> None:
    assert topic_range("a.b.>") == ("a.b.", "a.b/", None)
    assert topic_range(">") == ("", None, None)
