"""What `doctor` makes of what it sees: findings, each with the step to take. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Literal, NamedTuple

OLDEST_REDIS = (7, 0)
OLDEST_POSTGRES = 14
CLOCK_OFFSET_S = 1.0


class Finding(NamedTuple):
    """One thing looked at: ``state`` fail keeps a node from its promises, warn is worth a thought."""

    check: str
    state: Literal["ok", "warn", "fail"]
    found: str
    todo: str = ""


def judge_redis(info: Mapping[str, str]) -> list[Finding]:
    """Return what the answer to INFO says of a Redis server."""
    version = str(info["redis_version"])
    number = tuple(int(part) for part in version.split(".")[:2])
    policy = str(info.get("maxmemory_policy", "unknown"))
    return [
        Finding("redis version", "ok", version)
        if number >= OLDEST_REDIS
        else Finding("redis version", "fail", version, "upgrade to Redis 7.0 or later, or Valkey"),
        Finding("redis role", "ok", "master")
        if info.get("role", "master") == "master"
        else Finding(
            "redis role", "fail", str(info["role"]), "point ER_REDIS_URL at the master; replicas take no writes"
        ),
        Finding("redis eviction", "ok", policy)
        if policy == "noeviction"
        else Finding("redis eviction", "fail", policy, "CONFIG SET maxmemory-policy noeviction, or events vanish"),
        Finding("redis persistence", "ok", "append-only file")
        if info.get("aof_enabled") == "1"
        else Finding(
            "redis persistence", "warn", "no append-only file", "CONFIG SET appendonly yes, or publish with ack=stored"
        ),
        Finding("redis replicas", "ok", f"{info.get('connected_slaves', '0')} connected; ack=replicated needs them"),
    ]


def judge_cluster(state: Mapping[str, str]) -> Finding:
    """Return the finding for the answer to CLUSTER INFO."""
    found = f"{state.get('cluster_state')}, {state.get('cluster_slots_ok')} of 16384 slots served"
    if state.get("cluster_state") == "ok":
        return Finding("redis cluster", "ok", found)
    return Finding("redis cluster", "fail", found, "bring its primaries back, or promote their replicas")


def judge_clock(offset_s: float, within_s: float) -> Finding:
    """Return the finding for a clock ``offset_s`` ahead of Redis, give or take ``within_s``."""
    found = f"{offset_s:+.3f} s to Redis, give or take {within_s:.3f} s"
    if abs(offset_s) - within_s <= CLOCK_OFFSET_S:
        return Finding("clock", "ok", found)
    return Finding("clock", "warn", found, "synchronise this machine's clock (NTP); the times of its events are off")


def judge_postgres(major: int, version: str) -> Finding:
    """Return the finding for a server's version."""
    if major >= OLDEST_POSTGRES:
        return Finding("postgresql version", "ok", version)
    return Finding("postgresql version", "fail", version, f"upgrade to PostgreSQL {OLDEST_POSTGRES} or later")


def judge_schema(known: Set[str], applied: Set[str]) -> Finding:
    """Return the finding for the migrations this version knows and those the database has."""
    if applied - known:
        found = f"of a newer version: {', '.join(sorted(applied - known))}"
        return Finding("postgresql schema", "warn", found, "upgrade this installation before it serves")
    missing = len(known - applied)
    if missing:
        found = f"{missing} of {len(known)} migrations are to come"
        return Finding("postgresql schema", "warn", found, "start one node with `event-router serve`; it applies them")
    return Finding("postgresql schema", "ok", f"{len(known)} migrations applied")
