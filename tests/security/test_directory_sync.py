"""Keys and policies as a node takes them up from the store: what changed, what was lost, what is too much."""

from __future__ import annotations

from typing import Any

import pytest

from router_node.audit_trail import WAITING_AT_MOST, AuditTrail, Deed
from router_node.config import Settings
from router_node.secured import secure
from router_node.security import directory_sync
from router_node.security.principal import Principal
from stores.audit import AuditEntry, AuditQuery
from stores.errors import StoreUnavailable
from tests.security.desk import ROOT, Site, is_over, site


def beside(made: Site) -> Site:
    """Return another node on the same database, which hears no notices."""
    settings = Settings(security="on", database_url="sqlite:///:memory:")
    return Site(secure(settings, made.database, made.clock, lambda: False), made.database, made.clock)


async def test_another_node_takes_up_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_sync, "LOADED_AT_ONCE", 3)
    async with site() as one:
        other = beside(one)
        keys = [await one.made(f"k{n}", "publisher") for n in range(8)]
        await one.put("shop", publish=["a"])
        await other.secured.sync.look()
        access = await other.admit(keys[7]["key"])
        assert other.secured.directory.keys == 8
        assert other.secured.directory.policy("shop") is not None

        await one.secured.desk.keys.revoke(ROOT, keys[7]["id"])
        await one.secured.desk.policies.delete(ROOT, "shop")
        assert not is_over(access)  # it has not looked yet
        await other.secured.sync.look()

        assert is_over(access)
        assert other.secured.directory.policy("shop") is None


async def test_a_notice_refuses_a_key_before_the_store_tells() -> None:
    async with site() as one:
        other = beside(one)
        key = await one.made("k", "publisher")
        await other.secured.sync.look()
        access = await other.admit(key["key"])

        other.secured.sync.heard([other.secured.sync.revision + 1, [key["id"]]])

        assert is_over(access)
        await other.refused(key["key"])


@pytest.mark.parametrize("body", [None, 7, [], ["x", []], [10**9, "x"], [10**9, ["x"] * 1001], [10**9, [7, None]]])
async def test_a_notice_can_give_nothing_and_break_nothing(body: Any) -> None:
    async with site() as one:
        key = await one.made("k", "publisher")
        access = await one.admit(key["key"])
        one.secured.sync.heard(body)
        assert not is_over(access)
        assert one.secured.directory.keys == 1


async def test_a_store_that_was_set_back_is_loaded_anew() -> None:
    async with site() as one:
        other = beside(one)
        key = await one.made("k", "publisher")
        await other.secured.sync.look()
        other.secured.sync.revision = 10**6
        access = await other.admit(key["key"])
        await one.secured.desk.keys.revoke(ROOT, key["id"])

        await other.secured.sync.look()

        assert is_over(access)
        assert other.secured.sync.revision == one.secured.sync.revision


async def test_a_refused_change_is_not_looked_for_for_ever() -> None:
    async with site() as one:
        await one.made("k", "publisher")
        (there,) = await one.database.access.changes(0, 10)
        entry = AuditEntry(0, "x", "key:root", "key.rotate", there.name)
        assert not await one.database.access.put(there._replace(revision=99), None, entry)

        await one.secured.sync.look()

        assert one.secured.sync.revision == await one.database.access.revision()


async def test_what_no_version_of_ours_wrote_is_left_out_and_named() -> None:
    async with site() as one:
        for kind, name in (("key", "0" * 16), ("policy", "odd")):
            there = await one.database.access.get(kind, name)
            entry = AuditEntry(0, name, "key:root", "x", name)
            await one.database.access.put(there._replace(body={"publish": 7}), None, entry)
        await one.secured.sync.look()
        assert one.secured.directory.keys == 0
        assert one.secured.directory.policy("odd") is None


@pytest.mark.parametrize(
    ("member", "principal", "fits"),
    [
        ("cert:a?c", "cert:abc", False),
        ("cert:[ab]", "cert:a", False),
        ("cert:[ab]", "cert:[ab]", True),
        ("cert:*", "key:a", False),
        ("*:root", "key:root", True),
        ("cert:a*b*c", "cert:a1b2c", True),
        ("cert:a*b*c", "cert:acb", False),
        ("cert:ab*bc", "cert:abc", False),
        ("cert:*", "cert:a\nb", True),
        ("cert:" + "a*" * 100 + "b", "cert:" + "a" * 250, False),
    ],
)
async def test_a_star_in_a_member_stands_for_any_text_and_nothing_else_is_special(
    member: str, principal: str, fits: bool
) -> None:
    async with site() as one:
        await one.put("p", publish=["a"], members=[member])
        assert (one.secured.directory.policies_of(Principal(principal)) == ("p",)) is fits


async def test_limits_of_several_policies_add_up_to_the_most_generous() -> None:
    async with site() as one:
        await one.put("slow", limits={"publish_per_s": 5, "connections": 3})
        await one.put("fast", limits={"publish_per_s": 50})
        access = await one.admit((await one.made("k", "slow", "fast", "observer"))["key"])
        limits = access.limits
        assert (limits.publish_per_s, limits.connections, limits.event_bytes) == (50, 3, None)


# -- the trail to the audit log


class Away:
    """An audit log whose database is away until it is told otherwise."""

    def __init__(self) -> None:
        self.away = True
        self.kept: list[AuditEntry] = []

    async def add(self, entries: list[AuditEntry]) -> None:
        if self.away:
            raise StoreUnavailable("away")
        self.kept += entries


async def test_entries_wait_for_the_database_within_a_bound() -> None:
    log = Away()
    trail = AuditTrail(log, lambda: 1)  # type: ignore[arg-type]
    for n in range(WAITING_AT_MOST + 3):
        trail.note(Deed("key:a", "x.y", str(n)))
    with pytest.raises(StoreUnavailable):
        await trail.written()
    assert (trail.waiting, trail.dropped) == (WAITING_AT_MOST, 3)

    log.away = False
    await trail.written()

    assert [entry.object for entry in log.kept] == [str(n) for n in range(WAITING_AT_MOST)]


async def test_what_was_noted_last_is_written_when_the_node_stops() -> None:
    async with site() as one:
        async with one.secured.kept_up():
            one.secured.desk.note(Deed("key:a", "node.drain", "one"))
        assert [entry.action for entry in (await one.secured.desk.audit(AuditQuery())).entries] == ["node.drain"]
