"""PostgreSQL away under load: routing goes on, and everything is stored afterwards."""

from __future__ import annotations

import asyncio

import pytest

from tests.chaos.cluster_site import one_redis
from tests.chaos.conftest import Note
from tests.chaos.load import SHARED, Level
from tests.chaos.under_load import under_load

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]


@pytest.mark.parametrize("seconds", [20, 60])
async def test_postgresql_away_under_load_holds_nothing_up(seconds: int, seed: int, note: Note) -> None:
    async with one_redis() as (site, _), under_load(site, seed, note, Level(pause_s=0.1)) as run:
        await asyncio.to_thread(site.postgres.stop)
        before = run.load.checker.count(SHARED)
        await asyncio.sleep(seconds)  # the outage itself: time must pass
        delivered = run.load.checker.count(SHARED) - before
        note("delivered meanwhile", f"{delivered / seconds:.0f} events/s")
        await asyncio.to_thread(site.postgres.start)
        assert delivered >= seconds * 200, "publishing and delivery went on while PostgreSQL was away"
