from __future__ import annotations

from pathlib import Path

from router_node.node import embedded
from stores.open import open_database


async def test_a_stored_subscription_that_is_refused_now_does_not_keep_the_node_from_starting(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/er.sqlite"
    database = await open_database(url)
    await database.migrate()
    for name, spec in {
        "sound": {"topics": ["a.>"]},
        "broken": {"topics": ["a.>"], "filter": {"a": {"$no": 1}}},
        "heavy": {"topics": ["a.>"], "filter": {"a": {"$regex": r"\pL"}, "$or": [{"a": {"$mod": [7, 1]}}] * 499}},
    }.items():
        await database.subscriptions.put(name, {"name": name, **spec})
    await database.close()

    async with embedded(url) as node:
        assert [spec["name"] for spec in await node.management.subscriptions()] == ["sound"]
        created, _ = await node.management.put_subscription("broken", {"topics": ["a.>"]})

    assert created
