"""What doctor makes of what servers answer."""

from __future__ import annotations

from typing import Any

import pytest

from cli.findings import judge_clock, judge_postgres, judge_redis, judge_schema

SOUND = {"redis_version": "7.0.15", "role": "master", "maxmemory_policy": "noeviction", "aof_enabled": "1"}


def test_a_sound_redis() -> None:
    assert {finding.state for finding in judge_redis(SOUND)} == {"ok"}


@pytest.mark.parametrize(
    ("change", "check", "state"),
    [
        ({"redis_version": "6.2.14"}, "redis version", "fail"),
        ({"redis_version": "10.0.0"}, "redis version", "ok"),
        ({"role": "slave"}, "redis role", "fail"),
        ({"maxmemory_policy": "allkeys-lru"}, "redis eviction", "fail"),
        ({"aof_enabled": "0"}, "redis persistence", "warn"),
    ],
)
def test_a_redis_that_is_not(change: dict[str, Any], check: str, state: str) -> None:
    (finding,) = [finding for finding in judge_redis({**SOUND, **change}) if finding.check == check]
    assert finding.state == state
    assert bool(finding.todo) is (state != "ok")


@pytest.mark.parametrize(("offset", "within", "state"), [(0.2, 0.1, "ok"), (-3, 0.1, "warn"), (3, 2.5, "ok")])
def test_the_clock(offset: float, within: float, state: str) -> None:
    assert judge_clock(offset, within).state == state


def test_postgres() -> None:
    assert judge_postgres(14, "14.1").state == "ok"
    assert judge_postgres(13, "13.9").state == "fail"


@pytest.mark.parametrize(
    ("applied", "state", "named"),
    [
        ({"1", "2"}, "ok", "2 migrations"),
        ({"1"}, "warn", "1 of"),
        (set(), "warn", "2 of"),
        ({"1", "2", "3"}, "warn", "3"),
    ],
)
def test_the_schema(applied: set[str], state: str, named: str) -> None:
    finding = judge_schema({"1", "2"}, applied)
    assert finding.state == state
    assert named in finding.found
