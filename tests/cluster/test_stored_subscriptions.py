"""What a node takes up of the subscriptions in the store, through a whole embedded node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from router_client.spec import SubscriptionSpec
from router_node import operations
from router_node.node import Node, embedded
from stores.open import open_database
from stores.ports import Database


async def put_all(url: str, specs: dict[str, dict[str, Any]]) -> Database:
    database = await open_database(url)
    await database.migrate()
    for name, spec in specs.items():
        await database.subscriptions.put(name, {"name": name, **spec})
    return database


def names(node: Node) -> Sequence[str]:
    return sorted(spec.name for spec in node.pipeline.registry.specs())


async def test_a_stored_subscription_that_is_refused_now_does_not_keep_the_node_from_starting(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/er.sqlite"
    broken = {"topics": ["a.>"], "filter": {"a": {"$no": 1}}}
    heavy = {"topics": ["a.>"], "filter": {"a": {"$regex": r"\pL"}, "$or": [{"a": {"$mod": [7, 1]}}] * 499}}
    await (await put_all(url, {"sound": {"topics": ["a.>"]}, "broken": broken, "heavy": heavy})).close()

    async with embedded(url) as node:
        assert [spec["name"] for spec in await node.management.subscriptions()] == ["sound"]
        created, _ = await node.management.put_subscription("broken", {"topics": ["a.>"]})

    assert created


async def test_only_what_changed_is_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "LOADED_AT_ONCE", 2)
    url = f"sqlite:///{tmp_path}/er.sqlite"
    other = await put_all(url, {f"s{n}": {"topics": ["a.>"]} for n in range(5)})
    async with embedded(url) as node:
        assert names(node) == [f"s{n}" for n in range(5)]
        put: list[str] = []
        node.pipeline.registry.changed = put.append

        await node.management.load_subscriptions()
        assert put == []
        await other.subscriptions.put("s1", {"name": "s1", "topics": ["b.>"]})
        await other.subscriptions.put("s2", {"name": "s2", "topics": ["a.>"]})
        await other.subscriptions.remove("s3")
        await other.subscriptions.put("s9", {"name": "s9", "topics": ["a.>"]})
        await node.management.load_subscriptions()

        assert put == ["s1", "s3", "s9"], "s2 was put as it is"
        assert names(node) == ["s0", "s1", "s2", "s4", "s9"]
        assert node.pipeline.registry.spec("s1").topics == ("b.>",)
    await other.close()


async def test_a_store_that_went_back_in_time_is_loaded_anew(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/er.sqlite"
    earlier = await put_all(f"sqlite:///{tmp_path}/earlier.sqlite", {"old": {"topics": ["a.>"]}})
    await (await put_all(url, {name: {"topics": ["a.>"]} for name in ("old", "new", "newer")})).close()
    async with embedded(url) as node:
        node.pipeline.registry.put(SubscriptionSpec(name="live", topics=("a.>",), durable=False))
        node.management._database.subscriptions = earlier.subscriptions
        await node.management.load_subscriptions()

        assert names(node) == ["live", "old"]
    await earlier.close()


async def test_asking_for_all_subscriptions_or_for_metrics_wakes_none(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/er.sqlite"
    await (await put_all(url, {name: {"topics": ["a.>"]} for name in "abc"})).close()
    async with embedded(url) as node:
        told = await node.management.subscriptions()
        page = node.metrics.text().decode()

        assert [(each["name"], each["backlog"], each["consumers"]) for each in told] == [(n, 0, 0) for n in "abc"]
        assert "\ner_subscriptions 3.0\n" in page
        assert "\ner_subscriptions_awake 0.0\n" in page
        assert node.pipeline.registry.awake == 0


async def test_a_page_of_subscriptions_costs_what_is_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/er.sqlite"
    await (await put_all(url, {f"s{number:03}": {"topics": ["a.>"]} for number in range(300)})).close()
    async with embedded(url) as node:
        looked_at: list[str] = []
        spec = node.pipeline.registry.spec
        monkeypatch.setattr(node.pipeline.registry, "spec", lambda name: looked_at.append(name) or spec(name))
        page = await node.management.subscriptions("s100", 5)

        assert [each["name"] for each in page] == looked_at == [f"s{number}" for number in range(100, 105)]
        assert (await node.management.subscription("s299"))["name"] == "s299"
        assert looked_at[5:] == ["s299"]
