"""`auth`: from the first key, made in the database, to what it lets one do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command_line import CommandLine
from tests.support.ports import free_port

KEY = re.compile(r"er_[0-9a-f]{16}_[A-Za-z0-9_-]{43}")


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """The command line of who made the first key, beside a node whose security is on."""
    folder = tmp_path_factory.mktemp("auth")
    bare = CommandLine(folder)
    database = f"sqlite:///{folder}/er.sqlite"
    made = bare("auth", "keys", "create", "root", "--policy", "admin", "--database", database)
    key = made.out.strip()
    assert KEY.fullmatch(key)
    assert "not shown again" in made.err
    url = f"http://127.0.0.1:{free_port()}"
    listen = ("--listen", url.removeprefix("http://"), "--database", database)
    with (folder / "node.log").open("wb") as log, bare.start("dev", *listen, stderr=log, ER_SECURITY="on") as node:
        assert node.stdout is not None
        assert url in node.stdout.readline()
        yield CommandLine(folder, ER_URL=url, ER_TOKEN=key)
        node.terminate()
    assert key.split("_", 2)[2] not in (folder / "node.log").read_text()


def test_nobody_comes_in_without_a_key(admin: CommandLine) -> None:
    refused = admin("auth", "me", code=1, ER_TOKEN="")
    assert "Not authenticated" in refused.err or "API key" in refused.err
    assert "error:" in refused.err
    assert "next:" in refused.err


def test_the_life_of_a_key(admin: CommandLine) -> None:
    (made,) = admin("auth", "keys", "create", "ci", "-p", "publisher", "--expires", "90d", "--json").documents
    assert KEY.fullmatch(made["key"])
    admin("publish", "orders.created", "{}", ER_TOKEN=made["key"])

    rotated = admin("auth", "keys", "rotate", made["id"]).out.strip()
    admin("publish", "orders.created", "{}", code=1, ER_TOKEN=made["key"])
    admin("publish", "orders.created", "{}", ER_TOKEN=rotated)

    assert "is revoked" in admin("auth", "keys", "revoke", made["id"]).out
    admin("publish", "orders.created", "{}", code=1, ER_TOKEN=rotated)
    listed = {each["id"]: each for each in admin("auth", "keys", "list", "--json").documents}
    assert listed[made["id"]]["state"] == "revoked"
    assert made["id"] in admin("auth", "keys", "list").out
    assert admin("auth", "keys", "revoke", "0" * 16, code=3).out == ""


def test_the_life_of_a_policy(admin: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text('{"publish": ["a.>"], "manage": "read"}')
    options = ("--publish", "orders.>", "--member", "cert:scan-*", "--limit", "publish_per_s=50")
    (policy,) = admin("auth", "policies", "put", "orders", "--file", file, *options, "--json").documents

    assert (policy["publish"], policy["manage"], policy["limits"]) == (["orders.>"], "read", {"publish_per_s": 50})
    assert "orders.>" in admin("auth", "policies", "show", "orders").out
    assert "orders" in admin("auth", "policies", "list").out
    assert admin("auth", "policies", "delete", "orders", "--json").documents == [{"deleted": "orders"}]
    assert "unknown" in admin("auth", "policies", "put", "x", "--limit", "speed=1", code=1).err
    assert "publish_per_s=50" in admin("auth", "policies", "put", "x", "--limit", "fast", code=2).err


def test_can_i_answers_by_its_exit_code(admin: CommandLine) -> None:
    assert "admin" in admin("auth", "can-i", "publish", "orders.created").out
    admin("auth", "keys", "create", "shop", "-p", "publisher")
    (no,) = admin("auth", "can-i", "subscribe", "a.>", "--as", "key:shop", "--json", code=1).documents
    assert (no["allowed"], no["policies"]) == (False, ["publisher"])
    assert "key:root" in admin("auth", "me").out


def test_the_audit_log_tells_of_the_first_key_too(admin: CommandLine) -> None:
    entries = admin("auth", "audit", "--principal", "database", "--json").documents
    assert [(each["action"], each["details"]["name"]) for each in entries] == [("key.create", "root")]
    assert "key.create" in admin("auth", "audit", "--action", "key.create", "--since", "1h").out
