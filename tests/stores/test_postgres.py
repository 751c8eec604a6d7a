from __future__ import annotations

import asyncio
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from stores.errors import StoreRejected, StoreUnavailable
from stores.open import open_database
from stores.ports import StoredEvent
from tests.support.ports import free_port
from tests.support.postgres_server import PostgresServer


async def test_nodes_that_migrate_at_the_same_time_apply_each_migration_once(database_url: str) -> None:
    databases = [await open_database(database_url) for _ in range(4)]

    applied = await asyncio.gather(*(database.migrate() for database in databases))

    assert sorted(applied) == [[], [], [], ["0001_events_subscriptions"]]
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


async def test_an_outage_is_unavailable_and_the_same_database_works_again_afterwards() -> None:
    with PostgresServer(durable=False) as server:
        database = await open_database(await server.create_database())
        await database.migrate()
        await database.events.ping()
        server.stop()

        with pytest.raises(StoreUnavailable):
            await database.events.ping()
        with pytest.raises(StoreUnavailable):
            await database.events.save([StoredEvent(1, "e", "a", "", "k", 5, b"{}")])

        server.start()
        assert await database.events.save([StoredEvent(1, "e", "a", "", "k", 5, b"{}")]) == 1
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


async def test_a_character_that_text_cannot_hold_is_rejected(database_url: str) -> None:
    database = await open_database(database_url)
    await database.migrate()

    with pytest.raises(StoreRejected):
        await database.events.save([StoredEvent(1, "e\x00", "a", "", "k", 5, b"{}")])
    await database.close()


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ("id = 'e77'", "events_by_id"),
        ("correlation_id = 'k77'", "events_by_correlation"),
        ("type >= 'topic.7.' AND type < 'topic.7/'", "events_by_type"),
        ("accepted_at >= 1000 AND accepted_at < 1100", "events_pkey"),
    ],
)
async def test_the_main_queries_use_their_index(database_url: str, condition: str, index: str) -> None:
    database = await open_database(database_url)
    await database.migrate()
    await database.events.save(
        [StoredEvent(n, f"e{n}", f"topic.{n % 1000}.x", "s", f"k{n % 5000}", 5, b"{}") for n in range(20_000)]
    )
    connection = await asyncpg.connect(database_url)
    await connection.execute("ANALYZE events")
    plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN SELECT * FROM events WHERE {condition}"))
    await connection.close()
    await database.close()

    assert index in plan
