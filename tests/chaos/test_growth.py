"""A node dies at each step of a growth from 16 to 64 partitions under load: nothing is lost or out of order."""

from __future__ import annotations

from contextlib import suppress

import aiohttp
import pytest

from tests.chaos.aftermath import nothing_left, stored
from tests.chaos.cluster_site import looking_into
from tests.chaos.conftest import Note
from tests.chaos.load import Level, Load, subscribe
from tests.cluster.site import get
from tests.support.node_process import NodeProcess
from tests.support.signals import wait_for

pytestmark = pytest.mark.timeout(150)

BEFORE, AFTER = 16, 64
BACKLOG, LOAD = 1_500, 3_000

# The steps of partitioning/growth.py, by how often the node that dies has taken each.
STEPS = [
    "begin:after:1",
    "seal:before:1",
    "pass_fence:before:1",
    "pass_fence:after:1",
    "pass_fence:after:40",
    "passages:after:3",
    "clear:before:1",
    "clear:after:2",
    "finish:before:1",
    "finish:after:1",
]
SHORT = {"seal:after:1", "pass_fence:before:7"}


@pytest.mark.parametrize(
    "step",
    [*(pytest.param(step, marks=pytest.mark.slow) for step in STEPS), *sorted(SHORT)],
)
async def test_a_node_that_dies_in_a_growth_leaves_nothing_behind(
    step: str, redis_url: str, database_url: str, seed: int, note: Note
) -> None:
    settings = {
        "redis_url": redis_url,
        "database_url": database_url,
        "ER_PARTITIONS": str(BEFORE),
        "ER_LEASE_MS": "1000",
        "ER_DEDUP_WINDOW_S": "600",
    }
    crashing = "tests.support.crashing_node"
    doomed = NodeProcess(node_id="doomed", module=crashing, ER_TEST_CRASH=step, **settings)
    # Every node looks whether the growth can be finished; it is to be the doomed one that does it.
    later = NodeProcess(node_id="steady", module=crashing, ER_TEST_CRASH="finish:refused:20", **settings)
    async with later as steady, doomed, looking_into(redis_url) as redis:
        await subscribe(steady)
        load = Load(steady.url, [steady.url], seed=seed, partitions=BEFORE, level=Level(batch=50, pause_s=0.06))
        async with load.publishing():
            await load.acknowledges(BACKLOG)
        async with load.publishing():
            await grow(doomed)
            # Lanes owe what was published before only while nobody has taken it; the last steps need consumers.
            with suppress(AssertionError):
                await wait_for(lambda: doomed.process.exit_code is not None, 2, f"the node dies at {step} already")
            async with load.consuming():
                await wait_for(lambda: doomed.process.exit_code is not None, 30, f"the node dies at {step}")
                await grow(steady)  # resumed, or begun anew when the node died before anything was agreed
                await wait_for(lambda: grown(steady), 40, "the growth ends")
                await load.flows(LOAD)
        async with load.consuming():
            await load.all_delivered(40)
            await nothing_left(redis, AFTER, 30)
    rows = await stored(database_url)

    note("acknowledged", len(load.checker.acknowledged))
    note("repeats", load.checker.repeats)
    assert load.checker.undelivered() == {}
    assert load.checker.violations == []
    assert rows.keys() == load.checker.acknowledged


async def grow(node: NodeProcess) -> None:
    """Ask for the growth; the node may die before it answers."""
    url = f"{node.url}/v1/partitions/grow"
    with suppress(aiohttp.ClientError):
        async with aiohttp.ClientSession() as session, session.post(url, json={"to": AFTER}) as response:
            assert response.status in (202, 400), await response.text()


async def grown(node: NodeProcess) -> bool:
    state = await get(node, "/v1/partitions")
    return state.get("growth") is None and len(state["partitions"]) == AFTER
