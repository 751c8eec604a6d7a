"""What every EventStore promises, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from router_client.errors import InvalidInput
from router_client.topics import matches
from stores.errors import StoreRejected
from stores.open import open_database
from stores.ports import EventPage, EventQuery, EventStore, StoredEvent

START = datetime(2013, 7, 10, 12, tzinfo=UTC)
START_US = int(START.timestamp()) * 1_000_000


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[EventStore]:
    url = "sqlite:///:memory:" if request.param == "sqlite" else request.getfixturevalue("database_url")
    database = await open_database(url)
    await database.migrate()
    yield database.events
    await database.close()


def event(
    n: int,
    *,
    topic: str = "orders.created",
    key: str = "k",
    source: str = "shop",
    payload: dict[str, Any] | None = None,
    at_us: int | None = None,
) -> StoredEvent:
    body = {"id": f"e{n}", "type": topic, "correlation_id": key, "priority": 5, "payload": payload or {}}
    at = START_US + n * 1_000_000 if at_us is None else at_us
    return StoredEvent(at, f"e{n}", topic, source, key, 5, orjson.dumps(body))


async def ids(store: EventStore, **conditions: Any) -> list[str]:
    page = await store.query(EventQuery(descending=False, **conditions))
    return [found.id for found in page.events]


async def test_what_is_saved_is_loaded_byte_for_byte(store: EventStore) -> None:
    saved = event(1, key="Grüße", payload={"text": "ä\u2028\\u0000"})._replace(body=b'{"payload": {"n":1.0} }')

    assert await store.save([saved]) == 1

    assert await store.load("e1") == saved
    assert await store.load("e2") is None


async def test_saving_again_changes_nothing_and_counts_only_what_is_new(store: EventStore) -> None:
    await store.save([event(1), event(2)])

    assert await store.save([event(2)._replace(body=b"{}"), event(3)]) == 1

    assert await store.count() == 3
    found = await store.load("e2")
    assert found is not None
    assert found.body == event(2).body


async def test_an_id_accepted_twice_loads_the_first(store: EventStore) -> None:
    await store.save([event(1, at_us=START_US + 5), event(1, at_us=START_US + 1)])

    found = await store.load("e1")

    assert found is not None
    assert found.accepted_at_us == START_US + 1


async def test_saving_nothing_is_allowed(store: EventStore) -> None:
    assert await store.save([]) == 0


@pytest.mark.parametrize(
    "pattern", ["a.b", "a.*", "a.>", ">", "*", "*.b", "*.*.c", "a.*.c", "*.>", "a.b.>", "a.*.>", "é.*", "a_b.*", "x.y"]
)
async def test_a_type_or_pattern_finds_what_the_topic_grammar_says(store: EventStore, pattern: str) -> None:
    topics = ["a", "a.b", "a.b.c", "a.x.c", "ab.c", "a-b.c", "b.b", "a.b.c.d", "é.ü", "a_b.c", "aXb.c", "a.", "a.%"]
    await store.save([event(n, topic=topic) for n, topic in enumerate(topics) if not topic.endswith(".")])

    found = await ids(store, type=pattern)

    assert found == [f"e{n}" for n, topic in enumerate(topics) if not topic.endswith(".") and matches(pattern, topic)]


async def test_conditions_all_hold(store: EventStore) -> None:
    await store.save([event(1, key="a", source="x"), event(2, key="a", source="y"), event(3, key="b", source="x")])

    assert await ids(store, correlation_id="a") == ["e1", "e2"]
    assert await ids(store, source="x") == ["e1", "e3"]
    assert await ids(store, correlation_id="a", source="x", type="orders.*") == ["e1"]
    assert await ids(store, correlation_id="a", source="x", type="other") == []


async def test_time_begins_inclusive_and_ends_exclusive(store: EventStore) -> None:
    await store.save([event(n) for n in range(5)])

    since, until = START + timedelta(seconds=1), START + timedelta(seconds=3)

    assert await ids(store, since=since, until=until) == ["e1", "e2"]
    assert await ids(store, since=START + timedelta(microseconds=1)) == ["e1", "e2", "e3", "e4"]


PAYLOADS: list[dict[str, Any]] = [
    {"amount": 10, "tags": ["a", "b"], "who": {"name": "Ann", "age": 30}},
    {"amount": 10.0, "tags": ["b"]},
    {"amount": "10", "who": {"name": "Bob"}},
    {"items": [{"sku": "x", "n": 1}, {"sku": "y", "n": 2}], "ok": True},
    {},
]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"amount": 10}, [0, 1]),
        ({"tags": ["b"]}, [0, 1]),
        ({"tags": ["b", "a", "b"]}, [0]),
        ({"who": {"name": "Ann"}}, [0]),
        ({"items": [{"sku": "y"}]}, [3]),
        ({"items": [{"sku": "x", "n": 2}]}, []),
        ({"ok": True}, [3]),
        ({"ok": 1}, []),
        ({"missing": None}, []),
    ],
)
async def test_payload_containment(store: EventStore, wanted: dict[str, Any], expected: list[int]) -> None:
    await store.save([event(n, payload=payload) for n, payload in enumerate(PAYLOADS)])

    assert await ids(store, payload=wanted) == [f"e{n}" for n in expected]


async def test_a_payload_that_jsonb_cannot_hold_does_not_break_the_query(store: EventStore) -> None:
    await store.save([event(1, payload={"text": "a\u0000b", "n": 1}), event(2, payload={"n": 1})])

    assert "e2" in await ids(store, payload={"n": 1})


@pytest.mark.parametrize("descending", [True, False])
async def test_pages_hold_every_event_once_in_order(store: EventStore, descending: bool) -> None:
    saved = [event(n, at_us=START_US + n // 3, payload={"even": n % 2 == 0}) for n in range(25)]
    await store.save(saved)
    for wanted in (None, {"even": True}):
        expected = [e for e in saved if wanted is None or b'"even":true' in e.body]

        found = await every_page(store, EventQuery(limit=4, descending=descending, payload=wanted))

        assert found == sorted(expected, key=lambda e: (e.accepted_at_us, e.id), reverse=descending)


async def every_page(store: EventStore, query: EventQuery) -> Sequence[StoredEvent]:
    found: list[StoredEvent] = []
    page = EventPage([], None)
    for _ in range(100):
        page = await store.query(EventQuery(**{**_fields(query), "cursor": page.next}))
        found += page.events
        if page.next is None:
            return found
    raise AssertionError("the pages do not end")


def _fields(query: EventQuery) -> dict[str, Any]:
    return {name: getattr(query, name) for name in query.__dataclass_fields__}


@pytest.mark.parametrize("cursor", ["", "x", "%%%", "bm90IGEgY3Vyc29y", "ä", "A" * 5000])
async def test_a_bad_cursor_is_named(store: EventStore, cursor: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await store.query(EventQuery(cursor=cursor))
    assert caught.value.field == "cursor"


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_a_bad_limit_is_named(store: EventStore, limit: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        await store.query(EventQuery(limit=limit))
    assert caught.value.field == "limit"


async def test_delete_says_how_many_went(store: EventStore) -> None:
    await store.save([event(n) for n in range(3)])

    assert await store.delete(["e0", "e2", "nobody"]) == 2

    assert await ids(store) == ["e1"]


async def test_data_that_the_database_refuses_is_rejected_whole(store: EventStore) -> None:
    too_big = event(2)._replace(priority=2**70)

    with pytest.raises(StoreRejected):
        await store.save([event(1), too_big])

    assert await store.count() == 0
    assert await store.save([event(1)]) == 1, "the store works on"


async def test_ping_answers(store: EventStore) -> None:
    await store.ping()
