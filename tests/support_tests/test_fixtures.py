"""The suite's own fixtures, seen from outside: a session of sinners in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.node_process import NodeProcess

ROOT = Path(__file__).resolve().parents[2]

SINNERS = """
import asyncio
from redis import Redis

async def test_orphan():
    asyncio.get_running_loop().create_task(asyncio.Event().wait(), name="left behind")

async def test_clean():
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0))

def test_synchronous():
    pass

def test_leak(redis_url):
    with Redis.from_url(redis_url) as redis:
        redis.set("forgotten", 1)

def test_tidy(redis_url):
    with Redis.from_url(redis_url) as redis:
        assert redis.dbsize() == 0
        redis.set("expires", 1, ex=60)
"""

NEEDS_SERVERS = """
def test_redis(redis_url):
    pass

async def test_postgres(database_url):
    pass
"""


def run_session(folder: Path, tests: str, **environment: str) -> str:
    """Run ``tests`` under this suite's fixtures, in order, and return pytest's report."""
    (folder / "test_session.py").write_text(tests)
    plugins = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-p", "no:randomly"]
    options = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "-rA"]
    session = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *options, str(folder / "test_session.py")],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return session.stdout + session.stderr


def test_sins_are_found_and_named(tmp_path: Path) -> None:
    report = run_session(tmp_path, SINNERS)
    assert "5 passed" in report, report
    assert "2 errors" in report, report
    assert "Failed: the test left 1 asyncio tasks running" in report, report
    assert "name='left behind'" in report, report
    assert "permanent: forgotten" in report, report


@pytest.mark.parametrize("variable", ["ER_TEST_REDIS_SERVER", "ER_TEST_POSTGRES_BIN"])
def test_a_missing_server_is_an_error_and_never_a_skip(tmp_path: Path, variable: str) -> None:
    report = run_session(tmp_path, NEEDS_SERVERS, **{variable: str(tmp_path / "nowhere")})
    assert "1 passed" in report, report
    assert "1 error" in report, report
    assert f"ServerMissing: {variable} names" in report, report
    assert "skipped" not in report


async def test_a_node_that_cannot_start_shows_its_last_words(redis_url: str) -> None:
    node = NodeProcess(redis_url=redis_url, database_url="nonsense://", ER_PARTITIONS="many")
    with pytest.raises(AssertionError, match=r"(?s)ended with [12] before it was ready.*end of the node's output\n.+"):
        async with node:
            pass
    assert not node.folder.exists()
