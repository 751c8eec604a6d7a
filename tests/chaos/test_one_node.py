"""One node alone on real Redis and PostgreSQL: nobody takes over, and nothing is lost all the same."""

from __future__ import annotations

import pytest

from tests.chaos.cluster_site import one_redis
from tests.chaos.conftest import Note
from tests.chaos.load import Level
from tests.chaos.under_load import under_load

pytestmark = pytest.mark.timeout(180)


async def test_the_only_node_killed_at_full_load_and_started_again_loses_nothing(seed: int, note: Note) -> None:
    async with one_redis(nodes=1) as (site, _), under_load(site, seed, note, Level(batch=150, pause_s=0.0)) as run:
        await run.load.flows(8_000)
        site.nodes[0].kill()
        await run.excuse_what_is_in_flight()
        await site.nodes[0].start()
        await run.load.flows(8_000)
