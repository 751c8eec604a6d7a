"""What every EventStore promises, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson
import pytest

from router_client.errors import InvalidInput
from router_client.topics import matches
from stores.errors import StoreRejected
from stores.open import open_database
from stores.ports import EventPage, EventQuery, EventStore, StoredEvent
from tests.support.postgres_server import PostgresServer

START = datetime(2013, 7, 10, 12, tzinfo=UTC)
START_US = int(START.timestamp()) * 1_000_000


@pytest.fixture(scope="module")
def shared_url(postgres_server: PostgresServer) -> Iterator[str]:
    """One PostgreSQL database for the module: emptying it takes a tenth of the time of making another."""
    with ThreadPoolExecutor(1) as thread:
        url = thread.submit(asyncio.run, postgres_server.create_database()).result()
        yield url
        thread.submit(asyncio.run, postgres_server.drop_database(url)).result()


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[EventStore]:
    url = "sqlite:///:memory:" if request.param == "sqlite" else request.getfixturevalue("shared_url")
    database = await open_database(url)
    await database.migrate()
    yield database.events
    await database.close()
    if request.param == "postgres":
        connection = await asyncpg.connect(url)
        await connection.execute("TRUNCATE events")
        await connection.close()


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


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"n": 1}, ["e1", "e2", "e3", "e4"]),
        ({"text": "a\0b"}, ["e1"]),
        ({"text": "a\\u0000b"}, ["e2"]),
        ({"k\0": 1}, ["e3"]),
        ({"text": "\0"}, []),
    ],
)
async def test_the_character_that_jsonb_cannot_hold_is_like_any_other(
    store: EventStore, wanted: dict[str, Any], expected: list[str]
) -> None:
    payloads: list[dict[str, Any]] = [{"text": "a\0b"}, {"text": "a\\u0000b"}, {"k\0": 1}, {}]
    await store.save([event(n, payload={"n": 1, **payload}) for n, payload in enumerate(payloads, 1)])

    assert await ids(store, payload=wanted) == expected


async def test_a_body_without_payload_contains_none(store: EventStore) -> None:
    await store.save([event(1)._replace(body=b"{}"), event(2)])

    assert await ids(store, payload={}) == ["e2"]


@pytest.mark.parametrize("conditions", [{"payload": {"rare": True}}, {"type": "*.rare"}, {"payload": {"none": 0}}])
@pytest.mark.parametrize("descending", [True, False])
async def test_a_page_looks_at_a_bounded_number_of_events_and_goes_on(
    store: EventStore, monkeypatch: pytest.MonkeyPatch, descending: bool, conditions: dict[str, Any]
) -> None:
    monkeypatch.setattr("stores.event_search.SCANNED_AT_MOST", 7)
    rare = {3, 29, 30, 49}
    await store.save([event(n, topic="a.rare" if n in rare else "a.b", payload={"rare": n in rare}) for n in range(50)])
    query = EventQuery(limit=2, descending=descending, **conditions)
    expected = [] if "none" in conditions.get("payload", {}) else sorted(rare, reverse=descending)

    first = await store.query(EventQuery(limit=2, payload={"none": 0}))
    found = await every_page(store, query)

    assert first.events == []
    assert first.next is not None, "nothing found so far, and not the last page"
    assert [e.id for e in found] == [f"e{n}" for n in expected]


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


def forged(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        *["", "x", "%%%", "bm90IGEgY3Vyc29y", "ä", "A" * 5000, "!" + forged("5 e5"), forged("5 e5") + "="],
        *map(forged, ["5", "+5 e5", "1_0 e5", "٣ e5", f"{2**63} e5", "9" * 5000 + " e5", "5 e\0", "5.0 e5"]),
    ],
)
async def test_a_bad_cursor_is_named(store: EventStore, cursor: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await store.query(EventQuery(cursor=cursor))
    assert caught.value.field == "cursor"


@pytest.mark.parametrize("pattern", ["", "a..b", "a.>.b", "a b", "a\0"])
async def test_a_bad_pattern_is_named(store: EventStore, pattern: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await store.query(EventQuery(type=pattern))
    assert caught.value.field == "type"


async def test_a_payload_that_json_cannot_say_is_named(store: EventStore) -> None:
    with pytest.raises(InvalidInput) as caught:
        await store.query(EventQuery(payload={"a": "\ud800"}))
    assert caught.value.field == "payload"


@pytest.mark.parametrize("text", ["e\0", "e\ud800"])
async def test_text_that_cannot_be_stored_is_not_found_and_breaks_nothing(store: EventStore, text: str) -> None:
    await store.save([event(1)])

    assert await store.load(text) is None
    assert await ids(store, source=text) == []
    assert await ids(store, correlation_id=text) == []
    assert await store.delete([text, "e1"]) == 1


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


async def test_writers_that_save_the_same_events_in_any_order_all_succeed(store: EventStore) -> None:
    events = [event(n) for n in range(3000)]

    saved = await asyncio.gather(
        *(store.save(batch) for batch in (events, events[::-1], events[1500:] + events[:1500]))
    )

    assert sum(saved) == 3000
    assert await store.count() == 3000


async def test_a_cancelled_save_is_all_or_nothing_and_harms_nobody(store: EventStore) -> None:
    for turns in range(15):
        task = asyncio.create_task(store.save([event(turns * 1000 + n) for n in range(500)]))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        other = await asyncio.gather(store.save([event(100_000 + turns)]), task, return_exceptions=True)
        assert other[0] == 1

    assert await store.delete([f"e{100_000 + turns}" for turns in range(15)]) == 15
    for turns in range(15):
        assert await store.delete([f"e{turns * 1000 + n}" for n in range(500)]) in (0, 500)


async def test_ping_answers(store: EventStore) -> None:
    await store.ping()
