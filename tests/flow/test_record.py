"""The recorder against real databases that go away, freeze, come back and refuse."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from router_node.flow import record
from router_node.flow.record import ALL, FAILURES, OFF, Recorder
from router_node.retention import DAY_US, STEP_ATTEMPTS, Retention
from stores.errors import StoreRejected, StoreUnavailable
from stores.open import open_database
from stores.ports import Attempt, AttemptQuery, Database, DeliveryLog, LoggedAttempt
from tests.support.clock import FakeClock
from tests.support.postgres_server import PostgresServer
from tests.support.signals import wait_for


class Valve:
    """A real delivery log behind a valve: shut, it is away; ``poison`` is an event id it refuses."""

    def __init__(self, inner: DeliveryLog) -> None:
        self.inner = inner
        self.shut = False
        self.tried = asyncio.Event()
        self.poison = ""
        self.batches: list[int] = []

    async def save(self, attempts: Sequence[LoggedAttempt]) -> None:
        self.tried.set()
        if self.shut:
            raise StoreUnavailable("the valve is shut")
        if any(each.attempt.event_id == self.poison for each in attempts):
            raise StoreRejected("poison")
        await self.inner.save(attempts)
        self.batches.append(len(attempts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    opened = await open_database("sqlite:///:memory:")
    await opened.migrate()
    yield opened
    await opened.close()


@pytest.fixture
def valve(database: Database) -> Valve:
    return Valve(database.delivery_log)


@asynccontextmanager
async def running(recorder: Recorder) -> AsyncIterator[Recorder]:
    task = asyncio.create_task(recorder.run())
    try:
        yield recorder
    finally:
        task.cancel()
        await asyncio.wait([task])


def attempt(n: int, **more: Any) -> Attempt:
    return Attempt(1_000_000 + n * 10, f"e{n}", "late", 3, 1, "acked")._replace(**more)


async def events_of(database: Database) -> list[str]:
    page = await database.delivery_log.query(AttemptQuery(descending=False, limit=1000))
    return [each.attempt.event_id for each in page.attempts]


async def test_what_is_noted_is_in_the_log_a_moment_later_with_the_node(database: Database) -> None:
    async with running(Recorder(database.delivery_log, "node-1")) as recorder:
        for n in range(10):
            recorder.note(attempt(n))
        async with asyncio.timeout(5):
            await recorder.drain()

    found = (await database.delivery_log.query(AttemptQuery(descending=False))).attempts
    assert found == [LoggedAttempt("node-1", attempt(n)) for n in range(10)]
    assert (recorder.written, recorder.dropped, recorder.waiting) == (10, 0, 0)


async def test_many_attempts_make_few_writes(valve: Valve) -> None:
    async with running(Recorder(valve, "one")) as recorder:
        for n in range(10):
            recorder.note(attempt(n))
            await asyncio.sleep(0)
        await wait_for(lambda: recorder.waiting == 0, 5, "all are written")

    assert valve.batches == [10]


async def test_attempts_that_end_together_are_told_apart_in_their_order(database: Database) -> None:
    async with running(Recorder(database.delivery_log, "one")) as recorder:
        for n in range(300):
            recorder.note(attempt(n, at_us=5_000_000))
        recorder.note(attempt(300, at_us=5_000_001))
        await recorder.drain()

    assert await events_of(database) == [f"e{n}" for n in range(301)]


async def test_a_clock_that_was_set_back_is_believed(database: Database) -> None:
    async with running(Recorder(database.delivery_log, "one")) as recorder:
        recorder.note(attempt(1, at_us=9_000_000))
        recorder.note(attempt(2, at_us=5_000_000))
        await recorder.drain()

    assert await events_of(database) == ["e2", "e1"]


@pytest.mark.parametrize(
    ("logged", "wanted"),
    [(ALL, [True, True, True, True]), (FAILURES, [False, True, True, True]), (OFF, [False] * 4)],
)
async def test_which_attempts_are_wanted(valve: Valve, logged: str, wanted: list[bool]) -> None:
    recorder = Recorder(valve, "one", logged)

    ends = (("acked", 1), ("acked", 2), ("failed", 1), ("expired", 0))
    assert [recorder.wants(outcome, number) for outcome, number in ends] == wanted


async def test_the_oldest_are_dropped_and_counted_while_the_log_is_away(
    valve: Valve, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "HELD_ATTEMPTS", 20)
    valve.shut = True
    async with running(Recorder(valve, "one")) as recorder:
        recorder.note(attempt(0))
        await valve.tried.wait()
        for n in range(1, 101):
            recorder.note(attempt(n))

        assert (recorder.waiting, recorder.dropped) == (21, 80)
        valve.shut = False
        async with asyncio.timeout(10):
            await recorder.drain()

    assert await events_of(database) == ["e0", *(f"e{n}" for n in range(81, 101))]


async def test_long_errors_and_responses_are_bounded_too(valve: Valve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "HELD_CHARS", 10_000)
    recorder = Recorder(valve, "one")

    for n in range(100):
        recorder.note(attempt(n, error="e" * 100, response="r" * 900))

    assert (recorder.waiting, recorder.dropped) == (10, 90)


async def test_text_that_no_database_can_hold_is_logged_without_what_it_cannot(database_url: str) -> None:
    database = await open_database(database_url)
    await database.migrate()
    async with running(Recorder(database.delivery_log, "one")) as recorder:
        recorder.note(attempt(1, error="nul \0", response="half \ud800"))
        await recorder.drain()

    ((_, found),) = (await database.delivery_log.query(AttemptQuery())).attempts
    await database.close()
    assert (found.error, found.response) == ("nul \ufffd", "half ?")


async def test_what_the_store_refuses_is_dropped_and_the_next_goes_in(valve: Valve, database: Database) -> None:
    valve.poison = "e1"
    async with running(Recorder(valve, "one")) as recorder:
        recorder.note(attempt(1))
        await recorder.drain()
        recorder.note(attempt(2))
        await recorder.drain()

    assert await events_of(database) == ["e2"]
    assert recorder.dropped == 1


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server to freeze."""
    with PostgresServer(durable=False) as server:
        yield server


async def test_a_frozen_postgresql_neither_blocks_the_loop_nor_fills_the_memory(own_server: PostgresServer) -> None:
    url = await own_server.create_database()
    database = await open_database(url)
    await database.migrate()
    slowest_turn_s = 0.0
    async with running(Recorder(database.delivery_log, "one")) as recorder:
        recorder.note(attempt(0))
        await recorder.drain()
        own_server.pause()
        try:
            for turn in range(700):
                for n in range(100):
                    recorder.note(attempt(1 + turn * 100 + n))
                began = time.monotonic()
                await asyncio.sleep(0)
                slowest_turn_s = max(slowest_turn_s, time.monotonic() - began)
            assert recorder.waiting <= record.HELD_ATTEMPTS + record.BATCH_ATTEMPTS
            assert recorder.waiting + recorder.dropped == 70_000
            assert recorder.dropped >= 70_000 - record.HELD_ATTEMPTS - record.BATCH_ATTEMPTS
        finally:
            own_server.resume()
        held = recorder.waiting
        async with asyncio.timeout(60):
            await recorder.drain()

    assert await database.delivery_log.count() == 1 + held
    await database.close()
    assert slowest_turn_s < 1.0


# -- retention


class Steps:
    """A real delivery log that keeps what each step removed."""

    def __init__(self, inner: DeliveryLog) -> None:
        self.inner = inner
        self.removed: list[int] = []

    async def expire(self, before_us: int, limit: int) -> int:
        self.removed.append(await self.inner.expire(before_us, limit))
        return self.removed[-1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


async def test_old_attempts_go_in_bounded_steps_and_only_where_it_is_due(database: Database) -> None:
    clock, steps = FakeClock(10 * 86_400), Steps(database.delivery_log)
    old, young = 3 * DAY_US - 6000, 3 * DAY_US + 1
    await database.delivery_log.save(
        [
            *(LoggedAttempt("one", attempt(n, at_us=old + n)) for n in range(5000)),
            *(LoggedAttempt("one", attempt(n, at_us=young + n)) for n in range(10)),
        ]
    )
    mine = False
    retention = Retention(steps, 7, clock, lambda: mine)  # type: ignore[arg-type]

    assert await retention.sweep() == 0
    mine = True
    assert await retention.sweep() == 5000

    assert steps.removed == [STEP_ATTEMPTS, STEP_ATTEMPTS, 1000]
    assert await database.delivery_log.count() == 10
    clock.advance(86_400)
    assert await retention.sweep() == 10
    assert retention.expired == 5010
