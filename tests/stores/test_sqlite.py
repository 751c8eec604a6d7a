from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from router_client.errors import InvalidInput
from stores.errors import StoreUnavailable
from stores.open import open_database
from stores.ports import StoredEvent


async def test_processes_that_migrate_at_the_same_time_apply_each_migration_once(tmp_path: Path) -> None:
    databases = [await open_database(f"sqlite:///{tmp_path}/er.sqlite") for _ in range(4)]

    applied = await asyncio.gather(*(database.migrate() for database in databases))

    assert sorted(applied) == [[], [], [], ["0001_events_subscriptions_dead_letters"]]
    for database in databases:
        await database.close()
        await database.close()


async def test_what_was_saved_survives_the_process_being_killed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/er.sqlite"
    program = f"""
import asyncio, os, signal
from stores.open import open_database
from stores.ports import StoredEvent
async def main():
    database = await open_database({url!r})
    await database.migrate()
    await database.events.save([StoredEvent(n, f"e{{n}}", "a", "", "k", 5, b"{{}}") for n in range(1000)])
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stderr=subprocess.PIPE)
    await process.communicate()

    database = await open_database(url)
    assert await database.events.count() == 1000
    await database.close()


async def test_a_cancelled_save_leaves_no_transaction_open(tmp_path: Path) -> None:
    database = await open_database(f"sqlite:///{tmp_path}/er.sqlite")
    await database.migrate()
    events = [StoredEvent(n, f"e{n}", "a", "", "k", 5, b"{}") for n in range(5000)]
    for turns in range(20):
        task = asyncio.create_task(database.events.save(events))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert await database.events.save([StoredEvent(9999, "last", "a", "", "k", 5, b"{}")]) == 1
    await database.close()


async def test_a_file_that_cannot_be_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(StoreUnavailable, match="cannot open"):
        await open_database(f"sqlite:///{tmp_path}/file/er.sqlite")


@pytest.mark.parametrize("url", ["mysql://x/y", "", "sqlite:relative"])
async def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        await open_database(url)
