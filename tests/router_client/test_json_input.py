"""JSON from strangers: nothing is changed in silence, everything refused is InvalidInput."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_client.errors import InvalidInput
from router_client.json_input import MAX_DEPTH, check_depth, loads

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc0é", max_size=3), inner, max_size=4),
    max_leaves=20,
)


def nested(levels: int, inside: str = "") -> bytes:
    return ("[" * levels + inside + "]" * levels).encode()


def refusal(document: bytes | str) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        loads(document, "payload")
    return caught.value


@settings(deadline=None)
@given(values)
def test_what_python_writes_is_read_unchanged(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert loads(text) == loads(text.encode()) == value


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b" ",
        b"{",
        b"[1,]",
        b"{'a':1}",
        b"{1:2}",
        b"1 2",
        b"nul",
        b"\xef\xbb\xbf{}",
        b"[1] // one",
        b"01",
        b".5",
        b"+1",
    ],
)
def test_bad_syntax(document: bytes) -> None:
    assert refusal(document).field == "payload"


@pytest.mark.parametrize("document", [b'"\xff"', b'"\xc3"', b'"\xed\xa0\x80"', b'"\\ud800"', b'"a\nb"', '"\ud800"'])
def test_bad_text(document: bytes | str) -> None:
    assert refusal(document).field == "payload"


@pytest.mark.parametrize("document", [b"NaN", b"[Infinity]", b"-Infinity", b"1e400", b"-1e400", b"9" * 400])
def test_numbers_that_are_none_or_infinite(document: bytes) -> None:
    assert refusal(document).field == "payload"


@pytest.mark.parametrize("number", [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1])
def test_integers_of_64_bits_are_exact(number: int) -> None:
    assert loads(f'{{"a": [{number}]}}') == {"a": [number]}


@pytest.mark.parametrize("number", [2**64, 2**64 + 1, -(2**63) - 1, 10**20, -(10**20), 10**30])
def test_wider_integers_are_refused(number: int) -> None:
    for document in (f"{number}", f'{{"a": [1, {number}]}}'):
        assert "64 bits" in refusal(document).detail


@pytest.mark.parametrize("document", ['"123456789012345678901234567890"', "0.1234567890123456789012", "1e22"])
def test_long_digits_that_are_no_integer_pass(document: str) -> None:
    assert loads(document) == json.loads(document)


def test_an_event_s_depth_is_not_the_business_of_the_document_around_it() -> None:
    assert loads(nested(MAX_DEPTH + 1)) is not None


@pytest.mark.parametrize("levels", [900, 1000, 1024, 1025, 100_000])
def test_absurd_nesting_is_refused_and_not_an_accident(levels: int) -> None:
    if levels > 1024:
        assert refusal(nested(levels)).field == "payload"
    assert refusal(nested(max(levels, 1000), "1234567890123456789")).field == "payload"


def test_check_depth_counts_objects_and_arrays() -> None:
    value: Any = []
    for level in range(MAX_DEPTH - 1):
        value = [value, [], {}] if level % 2 else {"a": value, "b": [1]}
    check_depth(value, "payload")
    with pytest.raises(InvalidInput) as caught:
        check_depth([value], "payload")
    assert caught.value.field == "payload"


def test_check_depth_lets_wide_documents_pass() -> None:
    value: list[list[int]] = [[] for _ in range(1000)]
    check_depth(value, "payload")


def test_check_depth_is_not_fooled_by_brackets_in_text() -> None:
    check_depth(["[" * 100], "payload")
