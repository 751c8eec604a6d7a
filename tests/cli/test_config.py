"""`config`: what a node would start with, without secrets, and every fault at once."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from router_node.config import Settings
from tests.cli.command_line import CommandLine

URL = "redis://worker:s3cret@redis.example:6379/0"


def test_show_leaves_passwords_out(cli: CommandLine) -> None:
    (shown,) = cli("config", "show", "--json", ER_REDIS_URL=URL).documents
    assert shown["redis_url"] == "redis://worker:***@redis.example:6379/0"
    table = cli("config", "show", ER_REDIS_URL=URL).out
    assert "s3cret" not in table
    assert "worker:***@" in table
    assert max(map(len, table.splitlines())) <= 80


def test_show_tells_what_was_given_from_what_is_default(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('cluster = "blue"\nlease_ms = 500\n')
    lines = cli("config", "show", "--config", file, ER_LEASE_MS="700").out.splitlines()
    assert [line.split() for line in lines if "CLUSTER" in line or "LEASE" in line or "PARTITIONS" in line] == [
        ["ER_CLUSTER", "blue"],
        ["ER_PARTITIONS", "64", "default"],
        ["ER_LEASE_MS", "700"],
    ]


def test_check_names_every_fault(cli: CommandLine) -> None:
    result = cli("config", "check", code=2, ER_LISTEN="nowhere", ER_LEASE_MS="1", ER_TYPO="1")
    assert all(name in result.err for name in ("ER_LISTEN", "ER_LEASE_MS", "ER_TYPO"))
    assert result.out == ""


@pytest.mark.parametrize("address", ["ftp://here", "http://user@here", "https://here?x=1", "http://"])
def test_an_address_that_clients_cannot_use_is_a_fault(cli: CommandLine, address: str) -> None:
    assert "ER_ADVERTISE" in cli("config", "check", code=2, ER_ADVERTISE=address).err


@pytest.mark.parametrize(
    ("listen", "advertise", "told"),
    [
        ("10.0.0.1:8080", None, "10.0.0.1:8080"),
        ("0.0.0.0:8080", None, f"{socket.gethostname()}:8080"),
        ("[::]:8080", None, f"{socket.gethostname()}:8080"),
        ("0.0.0.0:8080", "node-1.example:80", "node-1.example:80"),
        ("0.0.0.0:8080", "https://router.example", "https://router.example"),
    ],
)
def test_a_node_tells_where_clients_reach_it(listen: str, advertise: str | None, told: str) -> None:
    assert Settings(listen=listen, advertise=advertise).advertised == told


def test_a_node_with_a_certificate_tells_clients_to_come_by_tls() -> None:
    assert (
        Settings(listen="10.0.0.1:8080", tls_cert="node.pem", tls_key="node.key").advertised == "https://10.0.0.1:8080"
    )


def test_check_says_for_what_they_are_good(cli: CommandLine) -> None:
    assert cli("config", "check", "--json").documents == [{"ok": True, "command": "dev"}]
    assert cli("config", "check", "--json", ER_REDIS_URL=URL).documents == [{"ok": True, "command": "serve"}]
    assert "event-router serve" in cli("config", "check", ER_REDIS_URL=URL).out
