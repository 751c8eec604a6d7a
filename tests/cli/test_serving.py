"""`dev` and `serve`: start, say where, drain at the first signal, and say what is missing."""

from __future__ import annotations

import json
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.cli.command_line import CommandLine
from tests.support.node_process import NodeProcess
from tests.support.ports import free_port


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_a_dev_node(cli: CommandLine, tmp_path: Path, number: signal.Signals) -> None:
    with cli.start("dev", "--listen", "127.0.0.1:0") as node:
        assert node.stdout is not None
        said = node.stdout.readline().strip()
        url = said.removeprefix("Event Router listens on ")
        assert url.startswith("http://127.0.0.1:")
        cli("publish", "before.stop", "--id", "before-stop", "--url", url)
        node.send_signal(number)
        rest, log = node.communicate(timeout=5)
        assert node.returncode == 0, log
    assert rest == ""
    assert "Traceback" not in log
    assert (tmp_path / "event-router.sqlite").exists()
    with cli.start("dev", "--listen", "127.0.0.1:0") as again:
        assert again.stdout is not None
        url = again.stdout.readline().strip().removeprefix("Event Router listens on ")
        assert cli("events", "show", "before-stop", "--json", "--url", url).documents[0]["type"] == "before.stop"
        again.terminate()
        assert again.wait(5) == 0


def test_an_address_that_is_taken(er: CommandLine) -> None:
    taken = er.environment["ER_URL"].removeprefix("http://")
    result = er("dev", "--listen", taken, code=1)
    assert "next:  choose another with --listen" in result.err


def test_dev_uses_neither_redis_nor_postgresql(cli: CommandLine) -> None:
    refused = cli("dev", code=2, ER_DATABASE_URL="postgresql://er:s3cret@localhost/er")
    assert "--database sqlite:///" in refused.err
    assert "s3cret" not in refused.err
    cluster = {"ER_REDIS_URL": f"redis://127.0.0.1:{free_port()}", "ER_WORKERS": "2"}
    with cli.start("dev", "--listen", "127.0.0.1:0", **cluster) as node:
        assert node.stdout is not None
        assert "listens on" in node.stdout.readline()
        node.terminate()
        said = node.communicate(timeout=5)[1]
        assert "does not use ER_REDIS_URL" in said
        assert "does not use ER_WORKERS" in said
        assert node.returncode == 0


def test_serve_needs_redis(cli: CommandLine) -> None:
    refused = cli("serve", code=2)
    assert "ER_REDIS_URL is not set" in refused.err
    assert "next:  ER_REDIS_URL=redis://" in refused.err


def test_settings_that_cannot_be_used(cli: CommandLine) -> None:
    assert "ER_LISTEN" in cli("dev", "--listen", "nowhere", code=2).err


def test_a_signal_ends_a_node_that_still_waits_for_redis(cli: CommandLine) -> None:
    redis = f"redis://127.0.0.1:{free_port()}"
    with cli.start("serve", "--listen", "127.0.0.1:0", ER_REDIS_URL=redis) as node:
        assert node.stderr is not None
        while "waiting for what the node needs" not in node.stderr.readline():
            assert node.poll() is None
        node.terminate()
        out, _ = node.communicate(timeout=5)
        assert (node.returncode, out) == (0, "")


async def test_serve_on_redis_and_postgresql(cli: CommandLine, redis_url: str, database_url: str) -> None:
    async with NodeProcess(redis_url=redis_url, database_url=database_url, cluster="cli") as node:
        subscribe = ["subscribe", "up", "--topic", "cluster.*", "--count", "1", "--json", "--url", node.url]
        with cli.start(*subscribe) as subscriber:
            assert subscriber.stderr is not None
            assert "waiting" in subscriber.stderr.readline()
            cli("publish", "cluster.up", "--url", node.url)
            assert json.loads(subscriber.communicate(timeout=10)[0])["type"] == "cluster.up"
        doctor = cli("doctor", "--json", ER_REDIS_URL=redis_url, ER_DATABASE_URL=database_url)
        assert {"postgresql schema": "ok"}.items() <= {
            each["check"]: each["state"] for each in doctor.documents
        }.items()
        assert await node.terminate(timeout_s=5) == 0


def test_the_log_is_json_when_asked_for(cli: CommandLine) -> None:
    with cli.start("dev", "--listen", "127.0.0.1:0", ER_LOG_FORMAT="json", ER_LOG_LEVEL="debug") as node:
        assert node.stdout is not None
        url = node.stdout.readline().strip().removeprefix("Event Router listens on ")
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
            assert answer.status == 200
        node.terminate()
        log = node.communicate(timeout=5)[1].splitlines()
    entries = [json.loads(line) for line in log if line.startswith("{")]
    assert entries
    assert all({"event", "level", "timestamp"} <= entry.keys() for entry in entries)
