"""The subscription spec: what may be asked for, and that every fault names its member."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_client.errors import InvalidInput
from router_client.spec import MAX_IN_FLIGHT, MAX_PATTERNS, RetryPolicy, SubscriptionSpec

TOPICS = {"topics": ["orders.*"]}

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True)
patterns = st.lists(st.text("abz*é-", min_size=1, max_size=4) | st.just("*"), min_size=1, max_size=4).map(".".join)
bodies = st.fixed_dictionaries(
    {"topics": st.lists(patterns, min_size=1, max_size=5)},
    optional={
        "filter": st.dictionaries(st.text("abc.$", min_size=1), st.integers() | st.text(), max_size=3),
        "ordering": st.sampled_from(["key", "strict", "none"]),
        "ack_timeout_s": st.floats(0.05, 43_200),
        "retry": st.fixed_dictionaries(
            {},
            optional={
                "max_attempts": st.integers(1, 100),
                "base_s": st.integers(0, 3600) | st.floats(0, 3600),
                "factor": st.floats(1, 10),
                "max_s": st.floats(0, 86_400),
                "jitter": st.floats(0, 1),
            },
        ),
        "on_dead_letter": st.sampled_from(["release", "halt"]),
        "max_in_flight": st.integers(1, MAX_IN_FLIGHT),
        "durable": st.booleans(),
        "buffer": st.integers(1, 100_000),
        "overflow": st.sampled_from(["drop_oldest", "drop_newest", "block"]),
        "destination": st.just({"kind": "consumer"}),
    },
)


def refused_field(body: object, name: object = "late") -> str | None:
    with pytest.raises(InvalidInput) as caught:
        SubscriptionSpec.from_object(name, body)
    return caught.value.field


@settings(deadline=None)
@given(names, bodies)
def test_a_spec_survives_the_wire(name: str, body: dict[str, Any]) -> None:
    spec = SubscriptionSpec.from_object(name, body)
    assert SubscriptionSpec.from_object(name, json.loads(json.dumps(spec.to_object()))) == spec


@settings(deadline=None)
@given(names, bodies)
def test_what_was_asked_for_is_there(name: str, body: dict[str, Any]) -> None:
    written = SubscriptionSpec.from_object(name, body).to_object()
    assert written["name"] == name
    assert written["topics"] == list(dict.fromkeys(body["topics"]))
    for member, value in body.items():
        if member == "retry":
            assert {key: written["retry"][key] for key in value} == value
        elif member != "topics":
            assert written[member] == value


def test_defaults_are_spelled_out() -> None:
    assert SubscriptionSpec.from_object("late", TOPICS).to_object() == {
        "name": "late",
        "topics": ["orders.*"],
        "filter": {},
        "ordering": "key",
        "ack_timeout_s": 30.0,
        "retry": {"max_attempts": 5, "base_s": 1.0, "factor": 2.0, "max_s": 300.0, "jitter": 0.1},
        "on_dead_letter": "release",
        "max_in_flight": 100,
        "durable": True,
        "buffer": 1000,
        "overflow": "drop_oldest",
        "destination": {"kind": "consumer"},
        "paused": False,
        "paused_reason": "",
        "skip_before_us": 0,
    }


def test_null_is_absent() -> None:
    members = [m for m in SubscriptionSpec.from_object("late", TOPICS).to_object() if m not in ("name", "topics")]
    spec = SubscriptionSpec.from_object("late", {**TOPICS, **dict.fromkeys(members)})
    assert spec == SubscriptionSpec.from_object("late", TOPICS)
    assert refused_field({"topics": None}) == "topics"


def test_a_partial_retry_policy_keeps_the_other_defaults() -> None:
    spec = SubscriptionSpec.from_object("late", {**TOPICS, "retry": {"max_attempts": 9}})
    assert spec.retry == RetryPolicy(max_attempts=9)


@pytest.mark.parametrize("name", ["a", "0", "late", "late-flights_v2.1", "x" * 128])
def test_names(name: str) -> None:
    assert SubscriptionSpec.from_object(name, TOPICS).name == name
    assert SubscriptionSpec.from_object(name, {**TOPICS, "name": name}).name == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "_a", "a b", "a/b", "a:b", "é", "a\n", "x" * 129, None, 5, ["a"]])
def test_bad_names(name: object) -> None:
    assert refused_field(TOPICS, name) == "name"


def test_a_body_of_another_name_is_refused() -> None:
    assert refused_field({**TOPICS, "name": "other"}) == "name"


@pytest.mark.parametrize("body", [None, [], "text", 5, True])
def test_a_spec_is_an_object(body: object) -> None:
    assert refused_field(body) == "subscription"


NAN = float("nan")
BAD: dict[str, list[Any]] = {
    "topics": [[], {}, "a", 5, None, ["a"] * (MAX_PATTERNS + 1)],
    "topics[0]": [[""], [5], [None], [["a"]], ["a..b"], ["a b"], [">.a"], ["x" * 513]],
    "topics[1]": [["a", "b."], ["a", ""]],
    "filter": [[], "a", 5, True],
    "ordering": ["", "Key", "random", 5, True, ["key"]],
    "ack_timeout_s": [0, 0.04, -1, 43_201, "30", True, NAN, float("inf"), 10**400, []],
    "retry": [[], 5, "fast", True],
    "retry.max_attempts": [{"max_attempts": v} for v in (0, -1, 101, 5.0, "5", True, None)],
    "retry.base_s": [{"base_s": v} for v in (-0.1, 3601, NAN, "1", True, None)],
    "retry.factor": [{"factor": v} for v in (0.9, 11, NAN, "2")],
    "retry.max_s": [{"max_s": v} for v in (-1, 86_401, NAN, "2")],
    "retry.jitter": [{"jitter": v} for v in (-0.1, 1.1, NAN, "2")],
    "retry.tries": [{"tries": 5}],
    "on_dead_letter": ["ignore", "", 5],
    "max_in_flight": [0, -1, MAX_IN_FLIGHT + 1, 1.0, "1", True],
    "durable": [0, 1, "true", []],
    "buffer": [0, 100_001, 1.5, "1", True],
    "overflow": ["drop", "", 5],
    "destination": [[], "consumer", 5],
    "destination.kind": [{}, {"kind": None}, {"kind": "amqp"}, {"kind": ["consumer"]}],
    "destination.url": [
        {"kind": "consumer", "url": "http://localhost"},
        {"kind": "webhook"},
        *(
            {"kind": "webhook", "url": url}
            for url in (
                "https://127.1/",
                "https://2130706433/",
                "https://0x7f000001/",
                "https://0177.0.0.1/",
                "https://127.0.0.1./",
                "https://%31%32%37.0.0.1/",
                "https://[::1%25lo]/",
                "https://[::1]x/",
                "https://[v1.a]/",
                "https://a..b/",
                f"https://{'a' * 64}.com/",
                "https://a\\@b/",
                "https://a\\b/",
                "https://a/\x7f",
                "https://a/#b",
                "https://é.example/",
            )
        ),
    ],
    "destination.topic": [
        {"kind": "kafka"},
        *({"kind": "kafka", "topic": topic} for topic in ("", ".", "..", "a/b", "a b", "a" * 250, 5, ["a"])),
        {"kind": "webhook", "url": "https://a/", "topic": "a"},
    ],
    "destination.bootstrap": [
        {"kind": "kafka", "topic": "a", "bootstrap": bootstrap}
        for bootstrap in ("", "a:0", "a:65536", "a:b", "kafka://a", "a,", "u@a", ",".join(["a"] * 21), 5)
    ],
    "destination.format": [{"kind": "kafka", "topic": "a", "format": each} for each in ("avro", "", 5)],
    "destination.mode": [{"kind": "kafka", "topic": "a", "mode": each} for each in ("batch", "", 5)],
    "destination.key": [{"kind": "kafka", "topic": "a", "key": each} for each in ("payload", "", 5)],
    "destination.concurrency": [{"kind": "kafka", "topic": "a", "concurrency": each} for each in (0, 10_001, 1.5)],
    "destination.timeout_s": [{"kind": "kafka", "topic": "a", "timeout_s": each} for each in (0, 30, 121, "5")],
    "destination.secret": [
        {"kind": "webhook", "url": "https://a/", "secret": secret}
        for secret in (
            "",
            "whsec_",
            "whsec_" + "A" * 33,
            "A" * 28,
            "whsec_" + "A" * 89,
            "A" * 31 + "-",
            ["A" * 33],
            [],
            5,
        )
    ],
    "Topics": [["a"]],
    "": [1],
}


@pytest.mark.parametrize("field", BAD)
def test_every_fault_names_its_member(field: str) -> None:
    member = field.partition(".")[0].partition("[")[0]
    wrong = []
    for value in BAD[field]:
        try:
            SubscriptionSpec.from_object("late", {**TOPICS, member: value})
            wrong.append((value, "accepted"))
        except InvalidInput as error:
            if error.field != field:
                wrong.append((value, f"blames {error.field}"))
    assert wrong == []


def test_topics_are_required() -> None:
    assert refused_field({}) == "topics"


def test_bounds_are_inclusive() -> None:
    low = {"ack_timeout_s": 0.05, "max_in_flight": 1, "buffer": 1}
    low_retry = {"max_attempts": 1, "base_s": 0, "factor": 1, "max_s": 0, "jitter": 0}
    high = {"ack_timeout_s": 43_200, "max_in_flight": MAX_IN_FLIGHT, "buffer": 100_000}
    high_retry = {"max_attempts": 100, "base_s": 3600, "factor": 10, "max_s": 86_400, "jitter": 1}
    for members, retry in ((low, low_retry), (high, high_retry)):
        written = SubscriptionSpec.from_object("late", {**TOPICS, **members, "retry": retry}).to_object()
        assert {member: written[member] for member in members} == members
        assert written["retry"] == retry


def test_repeated_topics_count_once() -> None:
    spec = SubscriptionSpec.from_object("late", {"topics": ["b", "a", "b"]})
    assert spec.topics == ("b", "a")
    most = [f"t.{number}" for number in range(MAX_PATTERNS)]
    assert SubscriptionSpec.from_object("late", {"topics": most}).topics == tuple(most)


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example/h?x=1",
        "https://10.0.0.1:8443/",
        "https://[2001:db8::1]:1/",
        "http://localhost",
        "https://a_b-c.d",
    ],
)
def test_urls_of_webhooks(url: str) -> None:
    spec = SubscriptionSpec.from_object("late", {**TOPICS, "destination": {"kind": "webhook", "url": url}})
    assert spec.destination["url"] == url
