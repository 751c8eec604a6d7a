"""PostgreSQL in particular: outages, frozen servers, credentials, migrations and query plans."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from stores.cursor import write_cursor
from stores.errors import StoreRejected, StoreUnavailable
from stores.migrations import Migration, migrations_of
from stores.open import open_database
from stores.ports import Attempt, AttemptQuery, EventQuery, LoggedAttempt, StoredEvent
from stores.postgres.connection import Bounds, PostgresConnection
from stores.postgres.database import PostgresDatabase
from stores.postgres.delivery_log import EXPIRE, PostgresDeliveryLog
from stores.postgres.events import PostgresEvents
from tests.support.ports import free_port
from tests.support.postgres_server import PostgresServer
from tests.support.signals import wait_for

EVENT = StoredEvent(1, "e", "a", "", "k", 5, b"{}")


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server of this module's own, to stop, freeze and lock."""
    with PostgresServer(durable=False) as server:
        yield server


async def test_nodes_that_migrate_at_the_same_time_apply_each_migration_once(database_url: str) -> None:
    databases = [await open_database(database_url) for _ in range(4)]

    applied = await asyncio.gather(*(database.migrate() for database in databases))

    assert sorted(name for names in applied for name in names) == [
        migration.name for migration in migrations_of("stores.postgres")
    ]
    assert await databases[0].migrate() == []
    await asyncio.gather(*(database.close() for database in databases))


async def test_a_database_migrated_by_a_newer_version_is_taken(database_url: str) -> None:
    database = await open_database(database_url)
    await database.migrate()
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO schema_migrations (name) VALUES ('9999_from_the_future')")
    await connection.close()

    assert await database.migrate() == []
    await database.close()


async def test_a_migration_that_fails_leaves_nothing_and_those_before_it_stay(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Migration("9998_broken", "CREATE TABLE half (a int); SELECT no_such_function()")
    monkeypatch.setattr("stores.postgres.migrate.migrations_of", lambda package: [*migrations_of(package), broken])
    database = await open_database(database_url)

    with pytest.raises(StoreUnavailable, match="no_such_function"):
        await database.migrate()

    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("SELECT to_regclass('half')") is None
    assert [row[0] for row in await connection.fetch("SELECT name FROM schema_migrations ORDER BY name")] == [
        migration.name for migration in migrations_of("stores.postgres")
    ]
    await connection.close()
    await database.close()


async def test_an_outage_is_unavailable_and_the_same_database_works_again_afterwards(
    own_server: PostgresServer,
) -> None:
    database = await open_database(await own_server.create_database())
    await database.migrate()
    own_server.stop()

    with pytest.raises(StoreUnavailable):
        await database.events.ping()
    with pytest.raises(StoreUnavailable):
        await database.events.save([EVENT])

    own_server.start()
    assert await database.events.save([EVENT]) == 1
    await database.close()


async def test_a_frozen_server_holds_nobody_longer_than_the_bounds_say(own_server: PostgresServer) -> None:
    database = PostgresDatabase(
        await own_server.create_database(), Bounds(connect_s=0.3, read_s=0.3, write_s=0.3, migrate_s=0.3)
    )
    await database.migrate()
    await database.events.ping()
    own_server.pause()
    start = time.monotonic()
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await database.events.save([EVENT])
        assert time.monotonic() - start < 0.3, "a cancelled call goes at once"
        for call in (database.events.ping, database.migrate, database.subscriptions.revision):
            with pytest.raises(StoreUnavailable, match="no answer in time"):
                await call()
        assert time.monotonic() - start < 3
    finally:
        own_server.resume()
    # What was given up may have been written all the same: the answer is how many rows are new.
    assert await database.events.save([EVENT]) in (0, 1)
    assert await database.events.count() == 1
    await database.close()


async def test_closing_does_not_wait_for_a_frozen_server(own_server: PostgresServer) -> None:
    database = PostgresDatabase(await own_server.create_database(), Bounds(connect_s=0.3))
    await database.events.ping()
    own_server.pause()
    try:
        async with asyncio.timeout(3):
            await database.close()
    finally:
        own_server.resume()


async def test_what_a_caller_gave_up_ends_on_the_server(own_server: PostgresServer) -> None:
    url = await own_server.create_database()
    database = PostgresDatabase(url, Bounds(write_s=0.2))

    with pytest.raises(StoreUnavailable, match=r"statement timeout|no answer in time"):
        await database._connection.execute("SELECT pg_sleep(60)")

    running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(60)'"
    connection = await asyncpg.connect(url)
    async with asyncio.timeout(5):
        while await connection.fetchval(running):
            await asyncio.sleep(0.02)
    await connection.close()
    await database.close()


async def test_a_wrong_password_says_what_to_do_and_never_the_password(own_server: PostgresServer) -> None:
    connection = await asyncpg.connect(own_server.url)
    await connection.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
    hba = own_server.folder / "data" / "pg_hba.conf"
    hba.write_text("host all locked 127.0.0.1/32 scram-sha-256\n" + hba.read_text())
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()
    parts = urlsplit(own_server.url)
    for password, reason in (("hushhush", "password authentication failed"), ("right", None)):
        netloc = f"locked:{password}@{parts.hostname}:{parts.port}"
        database = await open_database(urlunsplit(parts._replace(netloc=netloc)))
        if reason is None:
            await database.events.ping()
        else:
            with pytest.raises(StoreUnavailable, match=f"{reason}.*check the user and password") as caught:
                await database.events.ping()
            assert password not in everything_said(caught.value)
        await database.close()


def everything_said(error: BaseException | None) -> str:
    return "" if error is None else f"{error!r} {error} " + everything_said(error.__cause__)


@pytest.mark.parametrize("rest", ["user:hush/hush@localhost/db", "user:x@localhost:hushhush/db", "u:hush#hush@h/db"])
async def test_a_malformed_url_is_explained_without_quoting_it(rest: str) -> None:
    database = await open_database(f"postgresql://{rest}")

    with pytest.raises(StoreUnavailable) as caught:
        await database.events.ping()

    assert "hush" not in everything_said(caught.value)
    await database.close()


async def test_a_closed_database_stays_closed(database_url: str) -> None:
    database = await open_database(database_url)
    await database.events.ping()
    await database.close()
    await database.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        await database.events.ping()


async def test_a_read_only_server_is_unavailable_and_not_a_refusal(database_url: str) -> None:
    database = await open_database(database_url)
    await database.migrate()
    await database.close()
    connection = await asyncpg.connect(database_url)
    name = urlsplit(database_url).path.removeprefix("/")
    await connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    await connection.close()
    database = await open_database(database_url)

    with pytest.raises(StoreUnavailable, match="connect to the primary"):
        await database.events.save([EVENT])

    await database.close()


async def test_nobody_listening_is_unavailable() -> None:
    database = await open_database(f"postgresql://user:hushhush@127.0.0.1:{free_port()}/nowhere")

    with pytest.raises(StoreUnavailable) as caught:
        await database.migrate()

    assert "hushhush" not in str(caught.value)
    await database.close()


async def test_a_missing_database_says_what_to_do_and_never_the_password(database_url: str) -> None:
    parts = urlsplit(database_url)
    user = f"{parts.username or 'postgres'}:hushhush@{parts.netloc.rpartition('@')[2]}"
    database = await open_database(urlunsplit(parts._replace(netloc=user, path="/no_such_database")))

    with pytest.raises(StoreUnavailable, match="create the database named in ER_DATABASE_URL") as caught:
        await database.events.ping()

    assert "hushhush" not in str(caught.value)
    await database.close()


@pytest.mark.parametrize(
    "refused",
    [EVENT._replace(id="e\x00"), EVENT._replace(id="\ud800"), EVENT._replace(priority=99_999)],
    ids=["NUL", "surrogate", "not a smallint"],
)
async def test_data_that_its_types_cannot_hold_is_rejected(database_url: str, refused: StoredEvent) -> None:
    database = await open_database(database_url)
    await database.migrate()

    with pytest.raises(StoreRejected):
        await database.events.save([EVENT, refused])

    assert await database.events.count() == 0
    await database.close()


class Explaining(PostgresConnection):
    """A connection that answers with no rows and keeps the plans of what it was asked."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.plans: list[str] = []

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        self.plans.append("\n".join(row[0] for row in await self._connection.fetch(f"EXPLAIN {sql}", *values)))
        return []


async def test_the_main_queries_use_their_index(database_url: str) -> None:
    database = await open_database(database_url)
    await database.migrate()
    body = b'{"payload":{}}'
    await database.events.save(
        [StoredEvent(n, f"e{n}", f"topic.{n % 1000}.x", "s", f"k{n % 5000}", 5, body) for n in range(20_000)]
    )
    await database.close()
    connection = await asyncpg.connect(database_url)
    await connection.execute("ANALYZE events")

    async def plans(query: EventQuery | str) -> str:
        explaining = Explaining(connection)
        events = PostgresEvents(explaining)
        await (events.load(query) if isinstance(query, str) else events.query(query))
        return "\n".join(explaining.plans)

    for query, index in (
        ("e77", "events_by_id"),
        (EventQuery(correlation_id="k77"), "events_by_correlation"),
        (EventQuery(correlation_id="k77", payload={"a": 1}), "events_by_correlation"),
        (EventQuery(type="topic.7.x"), "events_by_type"),
        (EventQuery(type="topic.7.>"), "events_by_type"),
        (EventQuery(type="topic.7.*", descending=False), "events_by_type"),
        (EventQuery(), "events_pkey"),
        (EventQuery(payload={"a": 1}), "events_pkey"),
    ):
        plan = await plans(query)
        assert index in plan, f"{query}\n{plan}"
        assert "Seq Scan" not in plan, f"{query}\n{plan}"
    await connection.close()


async def test_a_connection_is_given_back_without_a_round_trip(database_url: str) -> None:
    database = await open_database(database_url)
    await database.events.ping()

    connection = await asyncpg.connect(database_url)
    last = await connection.fetch("SELECT query FROM pg_stat_activity WHERE application_name = 'event-router'")
    await connection.close()
    await database.close()

    assert [row["query"] for row in last] == ["SELECT 1"]


async def test_attempts_are_found_and_expired_by_index(database_url: str) -> None:
    database = await open_database(database_url)
    await database.migrate()
    attempts = [
        LoggedAttempt(f"node {n % 3}", Attempt(n, f"e{n}", f"s{n % 40}", 7, 1, "failed" if n % 1000 == 0 else "acked"))
        for n in range(20_000)
    ]
    await database.delivery_log.save(attempts)
    await database.close()
    connection = await asyncpg.connect(database_url)
    await connection.execute("ANALYZE attempts")

    for query, index in (
        (AttemptQuery(event_id="e77"), "attempts_by_event"),
        (AttemptQuery(event_id="e77", subscription="s7", outcome="failed"), "attempts_by_event"),
        (AttemptQuery(subscription="s7"), "attempts_by_subscription"),
        (AttemptQuery(subscription="s7", outcome="failed", descending=False), "attempts_by_subscription"),
        (AttemptQuery(subscription="s7", cursor=write_cursor(700, "node 1")), "attempts_by_subscription"),
        (AttemptQuery(), "attempts_pkey"),
    ):
        explaining = Explaining(connection)
        await PostgresDeliveryLog(explaining).query(query)
        plan = "\n".join(explaining.plans)
        assert index in plan, f"{query}\n{plan}"
        assert "Seq Scan" not in plan, f"{query}\n{plan}"
    expiring = Explaining(connection)
    await expiring.fetch(EXPIRE, 10_000, 100)
    assert "attempts_pkey" in expiring.plans[0]
    assert "Seq Scan" not in expiring.plans[0]
    await connection.close()


async def test_a_time_out_that_had_taken_effect_logs_nothing_twice(database_url: str) -> None:
    database = await open_database(database_url)
    await database.migrate()
    attempts = [LoggedAttempt("one", Attempt(n, f"e{n}", "s", 7, 1, "acked")) for n in range(10)]
    await database.delivery_log.save(attempts[:5])

    await database.delivery_log.save(attempts)
    with pytest.raises(StoreRejected):
        await database.delivery_log.save([LoggedAttempt("one", attempts[0].attempt._replace(at_us=99, error="nul \0"))])

    assert await database.delivery_log.count() == 10
    await database.close()


async def test_changes_of_subscriptions_become_visible_in_their_order(database_url: str) -> None:
    database = await open_database(database_url)
    await database.migrate()
    slow = await asyncpg.connect(database_url)
    async with slow.transaction():
        await slow.execute("INSERT INTO subscriptions (name, spec) VALUES ('slow', '{}')")
        putting = asyncio.create_task(database.subscriptions.put("quick", {}))
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        await wait_for(lambda: slow.fetchval(waits), 5, "the later change waits for the earlier")
        assert await database.subscriptions.changes(0, 10) == []

    assert await putting
    assert [change.name for change in await database.subscriptions.changes(0, 10)] == ["slow", "quick"]
    await slow.close()
    await database.close()
