"""API keys: who is let in, for how long, and who may make them."""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from router_client.errors import Conflict, EventRouterError, Forbidden, InvalidInput, NotFound, Unauthenticated
from router_node.security import api_key, directory
from router_node.security.principal import Certificate
from stores.audit import AuditQuery
from tests.security.desk import ROOT, Site, is_over, site


@pytest.fixture
async def gate() -> AsyncIterator[Site]:
    async with site() as made:
        yield made


async def test_a_key_is_shown_once_and_lets_in_whom_it_names(gate: Site) -> None:
    made = await gate.made("billing", "publisher", "reader")

    access = await gate.admit(made["key"])

    assert re.fullmatch(r"er_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", made["key"])
    assert access.principal.name == "key:billing"
    assert access.grants.may_publish("orders.created")
    assert access.grants.may_read_events(">")
    assert not access.grants.may_subscribe("orders.created")
    assert access.principal.expires_at is None
    (listed,), after = await gate.secured.desk.keys.page(10, "")
    assert {**listed, "key": made["key"]} == made
    assert after is None


async def test_only_the_digest_is_kept(gate: Site) -> None:
    made = await gate.made("billing", "publisher")
    secret = made["key"].split("_", 2)[2]
    kept = await gate.database.access.changes(0, 10)

    assert secret not in str(kept)
    assert kept[0].body is not None
    assert kept[0].body["digest"] == api_key.digest_of(secret)


def altered(key: str) -> dict[str, str]:
    """Return what is nearly a key, by what is wrong with it."""
    _, key_id, secret = key.split("_", 2)
    flipped = ("A" if secret[0] != "A" else "B") + secret[1:]
    return {
        "another secret": f"er_{key_id}_{flipped}",
        "unknown id": f"er_{'0' * 16}_{secret}",
        "no secret": f"er_{key_id}_",
        "half a secret": key[:-20],
        "too much": key + "A",
        "white space": key + " ",
        "capitals": f"er_{key_id.upper()}_{secret}" if key_id.upper() != key_id else f"ER_{key_id}_{secret}",
        "only the secret": secret,
        "empty": "",
        "no letters": "\ud800\0\n",
        "huge": "er_" + "a" * 1_000_000,
    }


async def test_what_is_nearly_a_key_is_refused_and_not_told_why(gate: Site) -> None:
    made = await gate.made("billing", "publisher")
    told = {what: await gate.refused(token) for what, token in altered(made["key"]).items()}

    assert set(told.values()) - {told["huge"]} == {directory.refused().detail}


async def test_who_shows_nothing_is_told_what_to_show(gate: Site) -> None:
    assert "Authorization: Bearer" in await gate.refused()


async def test_every_refusal_compares_in_constant_time_whether_the_id_exists_or_not(
    gate: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await gate.made("billing", "publisher")
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def counting(a: Any, b: Any) -> bool:
        compared.append((len(a), len(b)))
        return real(a, b)

    monkeypatch.setattr("router_node.security.api_key.hmac.compare_digest", counting)
    calls = {}
    for what, token in altered(made["key"]).items():
        compared.clear()
        await gate.refused(token)
        calls[what] = list(compared)

    assert calls.pop("huge") == []  # its length alone refuses it
    assert set(map(tuple, calls.values())) == {((64, 64), (64, 64))}


async def test_a_key_expires(gate: Site) -> None:
    made = await gate.made("billing", "publisher", expires_in_s=60)
    access = await gate.admit(made["key"])
    gate.clock.advance(59.9)
    assert not is_over(access)

    gate.clock.advance(0.2)

    assert is_over(access)
    await gate.refused(made["key"])
    assert (await gate.secured.desk.keys.page(1, ""))[0][0]["state"] == "expired"
    with pytest.raises(Conflict):
        await gate.secured.desk.keys.rotate(ROOT, made["id"], {})


async def test_a_revoked_key_ends_what_it_opened(gate: Site) -> None:
    made, other = await gate.made("billing", "publisher"), await gate.made("billing", "publisher")
    access, spared = await gate.admit(made["key"]), await gate.admit(other["key"])

    await gate.secured.desk.keys.revoke(ROOT, made["id"])

    assert is_over(access)
    assert not is_over(spared)
    await gate.refused(made["key"])
    assert (await gate.secured.desk.keys.revoke(ROOT, made["id"]))["state"] == "revoked"  # again changes nothing
    with pytest.raises(NotFound):
        await gate.secured.desk.keys.revoke(ROOT, "0" * 16)


@pytest.mark.parametrize("grace_s", [0, 300])
async def test_a_rotated_secret_is_good_for_its_grace_and_no_longer(gate: Site, grace_s: int) -> None:
    made = await gate.made("billing", "publisher")
    before = await gate.admit(made["key"])

    rotated = await gate.secured.desk.keys.rotate(ROOT, made["id"], {"grace_s": grace_s})

    assert rotated["key"] != made["key"]
    after = await gate.admit(rotated["key"])
    assert is_over(before) is (grace_s == 0)
    gate.clock.advance(grace_s + 0.1)
    assert is_over(before)
    await gate.refused(made["key"])
    assert not is_over(after)


async def test_of_two_rotations_only_the_last_former_secret_has_grace(gate: Site) -> None:
    made = await gate.made("billing", "publisher")
    second = await gate.secured.desk.keys.rotate(ROOT, made["id"], {"grace_s": 300})
    await gate.secured.desk.keys.rotate(ROOT, made["id"], {"grace_s": 300})

    await gate.refused(made["key"])
    await gate.admit(second["key"])


async def test_a_change_of_a_policy_reaches_who_is_connected(gate: Site) -> None:
    await gate.put("shop", publish=["orders.>"])
    access = await gate.admit((await gate.made("till", "shop"))["key"])
    assert access.grants.may_publish("orders.created")

    await gate.put("shop", publish=["refunds.>"], limits={"publish_per_s": 5})

    assert not access.grants.may_publish("orders.created")
    assert access.limits.publish_per_s == 5


BAD_BODIES: list[tuple[dict[str, Any], str]] = [
    ({"policies": []}, "name"),
    ({"name": "a b", "policies": []}, "name"),
    ({"name": "../x", "policies": []}, "name"),
    ({"name": "a"}, "policies"),
    ({"name": "a", "policies": "admin"}, "policies"),
    ({"name": "a", "policies": [1]}, "policies"),
    ({"name": "a", "policies": ["nobody-made-it"]}, "policies"),
    ({"name": "a", "policies": [], "expires_in_s": 0}, "expires_in_s"),
    ({"name": "a", "policies": [], "expires_in_s": True}, "expires_in_s"),
    ({"name": "a", "policies": [], "expires_in_s": 1e300}, "expires_in_s"),
    ({"name": "a", "policies": [], "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
    ({"name": "a", "policies": [], "id": "0" * 16}, "id"),
]


@pytest.mark.parametrize(("body", "field"), BAD_BODIES)
async def test_a_bad_body_is_refused_by_name(gate: Site, body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await gate.secured.desk.keys.create(ROOT, body)
    assert caught.value.field == field


async def test_there_are_no_more_keys_than_there_may_be(gate: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router_node.key_desk.MAX_KEYS", 2)
    monkeypatch.setattr(directory, "MAX_KEYS", 2)
    await gate.made("short", expires_in_s=10)
    first = await gate.made("one")
    with pytest.raises(Conflict):
        await gate.made("two")

    gate.clock.advance(11)  # what has expired makes room, and so does what is revoked
    await gate.made("two")
    await gate.secured.desk.keys.revoke(ROOT, first["id"])
    await gate.made("three")


# -- nobody gives away what they do not have


async def manager(gate: Site, **more: Any) -> Any:
    """Return who may manage, and what else is given."""
    await gate.put("managing", manage="write", **more)
    return await gate.asker(await gate.made("manager", "managing"))


async def attempt(call: Any) -> EventRouterError | None:
    """Return how a call is refused."""
    try:
        await call
    except EventRouterError as error:
        return error
    return None


async def test_who_manages_cannot_make_itself_more(gate: Site) -> None:
    await gate.put("named", publish=[">"], members=["key:chosen"])
    admins = await gate.made("boss", "admin")
    by = await manager(gate, publish=["orders.>"])
    desk = gate.secured.desk

    attacks = {
        "a key of admin": desk.keys.create(by, {"name": "x", "policies": ["admin"]}),
        "a key that a policy names": desk.keys.create(by, {"name": "chosen", "policies": []}),
        "an admin's secret": desk.keys.rotate(by, admins["id"], {}),
        "a policy of more": desk.policies.put(by, "mine", {"publish": [">"]}),
        "more in its own policy": desk.policies.put(by, "managing", {"manage": "write", "subscribe": ["a"]}),
        "itself a member": desk.policies.put(by, "named", {"publish": [">"], "members": ["key:manager"]}),
        "events": desk.policies.put(by, "mine", {"events": ["orders.created"]}),
        "dead letters": desk.policies.put(by, "mine", {"dead_letters": ["orders.created"]}),
        "a built-in policy": desk.policies.put(by, "observer", {"manage": "read"}),
    }
    refusals = {what: await attempt(call) for what, call in attacks.items()}

    assert isinstance(refusals.pop("a built-in policy"), Conflict)
    assert {what: type(error) for what, error in refusals.items()} == dict.fromkeys(refusals, Forbidden)


async def test_who_manages_gives_what_it_has(gate: Site) -> None:
    by = await manager(gate, publish=["orders.>"])

    await gate.put("part", by, publish=["orders.created", "orders.eu.*"], manage="read")
    made = await gate.made("till", "part", by=by)

    assert made["created_by"] == "key:manager"
    assert (await gate.admit(made["key"])).grants.may_publish("orders.eu.1")


# -- secrets stay secret


async def test_no_secret_is_in_logs_or_in_the_audit_log(
    gate: Site, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "aiosqlite")  # as cli.logs has it, whatever the level of the rest
    structlog.reset_defaults()
    secrets: list[str] = []
    with capture_logs() as logs:
        made = await gate.made("billing", "publisher")
        gate.clock.advance(1)
        rotated = await gate.secured.desk.keys.rotate(ROOT, made["id"], {"grace_s": 5})
        await gate.admit(rotated["key"])
        for token in altered(rotated["key"]).values():
            await gate.refused(token)
        gate.clock.advance(1)
        await gate.secured.desk.keys.revoke(ROOT, made["id"])
        secrets += [each["key"].split("_", 2)[2] for each in (made, rotated)]
    entries = (await gate.secured.desk.audit(AuditQuery())).entries

    assert [entry.action for entry in entries] == ["key.revoke", "key.rotate", "key.create"]
    written = f"{logs} {entries} {capsys.readouterr()} {caplog.text}"
    hidden = [*secrets, *(api_key.digest_of(each) for each in secrets)]
    assert made["id"] in written
    assert [each for each in hidden if each in written] == []


async def test_the_audit_log_says_who_did_what_from_where(gate: Site) -> None:
    made = await gate.made("billing", "publisher")
    await gate.put("shop", publish=["a"])
    await gate.secured.desk.policies.delete(ROOT, "shop")
    by_object = await gate.secured.desk.audit(AuditQuery(object=made["id"]))
    by_action = await gate.secured.desk.audit(AuditQuery(action="policy.delete"))

    (entry,) = by_object.entries
    assert (entry.principal, entry.action, entry.outcome, entry.peer) == ("key:root", "key.create", "done", "10.1.2.3")
    assert entry.details == {"name": "billing", "policies": ["publisher"]}
    assert [each.object for each in by_action.entries] == ["shop"]


# -- certificates


@pytest.mark.parametrize(
    ("setting", "certificate", "name"),
    [
        ("subject", Certificate("scanner-7", ("spiffe://er/other",)), "cert:scanner-7"),
        (
            "uri",
            Certificate("scanner-7", ("host.example", "spiffe://er/scan", "spiffe://er/b")),
            "cert:spiffe://er/scan",
        ),
        ("subject", Certificate("", ("spiffe://er/scan",)), None),
        ("uri", Certificate("scanner-7", ("host.example",)), None),
        ("subject", Certificate("a\nb"), None),
        ("subject", Certificate("a" * 257), None),
    ],
)
async def test_a_certificate_is_known_by_one_of_its_names(
    setting: str, certificate: Certificate, name: str | None
) -> None:
    async with site(certificate_name=setting) as gate:
        await gate.put("scanning", publish=["scans.>"], members=["cert:scanner-*", "cert:spiffe://er/s*"])
        if name is None:
            await gate.refused(certificate=certificate)
        else:
            access = await gate.admit(certificate=certificate)
            assert access.principal.name == name
            assert access.grants.may_publish("scans.made")


async def test_a_bad_token_is_refused_whatever_the_certificate(gate: Site) -> None:
    with pytest.raises(Unauthenticated):
        await gate.admit("er_wrong", Certificate("scanner-7"))
