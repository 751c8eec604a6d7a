"""How events, attempts, dead letters, nodes and partitions look as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.output import Column, short_time

EVENT_COLUMNS = (Column("ID", whole=True), Column("TIME", whole=True), Column("P"), Column("TYPE"), Column("KEY"))
LETTER_COLUMNS = (
    Column("ID", whole=True),
    Column("DEAD AT", whole=True),
    Column("SUBSCRIPTION"),
    Column("REASON"),
    Column("TRIES"),
    Column("TYPE"),
)
DELIVERY_COLUMNS = (
    Column("ENDED", whole=True),
    Column("EVENT", whole=True),
    Column("SUBSCRIPTION"),
    Column("TRY"),
    Column("OUTCOME"),
)
HISTORY_COLUMNS = (
    Column("ENDED", whole=True),
    Column("SUBSCRIPTION"),
    Column("TRY"),
    Column("OUTCOME"),
    Column("MS"),
    Column("STATUS"),
    Column("ERROR"),
)
COUNT_COLUMNS = (Column("SUBSCRIPTION"), Column("REASON"), Column("COUNT"))
NODE_COLUMNS = (
    Column("NODE", whole=True),
    Column("STATE"),
    Column("PARTITIONS"),
    Column("CONSUMERS"),
    Column("UNSETTLED"),
    Column("EVENTS/S"),
    Column("SEEN"),
)
SUBSCRIPTION_COLUMNS = (
    Column("NAME", whole=True),
    Column("STATE"),
    Column("BACKLOG"),
    Column("IN FLIGHT"),
    Column("CONSUMERS"),
    Column("TOPICS"),
)
REPLAY_COLUMNS = (
    Column("ID", whole=True),
    Column("STARTED", whole=True),
    Column("SUBSCRIPTION"),
    Column("STATE"),
    Column("DELIVERED"),
)
PARTITION_COLUMNS = (
    Column("PARTITION"),
    Column("OWNER", whole=True),
    Column("LAST HAND-OFF", whole=True),
    Column("BACKLOG"),
    Column("SPILLED"),
    Column("LAG"),
)
KEY_COLUMNS = (
    Column("ID", whole=True),
    Column("NAME"),
    Column("STATE"),
    Column("POLICIES"),
    Column("CREATED", whole=True),
    Column("EXPIRES", whole=True),
)
POLICY_COLUMNS = (Column("NAME", whole=True), Column("ALLOWS"), Column("MANAGE"), Column("MEMBERS"))
AUDIT_COLUMNS = (
    Column("WHEN", whole=True),
    Column("WHO"),
    Column("DID"),
    Column("TO"),
    Column("OUTCOME"),
)


def event_row(event: dict[str, Any]) -> list[object]:
    """Return the row of an event object; the key is left out where it is the event's own id."""
    key = event["correlation_id"]
    return [
        event["id"],
        short_time(event["timestamp"]),
        event["priority"],
        event["type"],
        key if key != event["id"] else "",
    ]


def letter_row(letter: dict[str, Any]) -> list[object]:
    """Return the row of a dead letter."""
    return [
        letter["id"],
        short_time(letter["dead_at"]),
        letter["subscription"],
        letter["reason"],
        letter["attempts"],
        letter["event_type"],
    ]


def delivery_row(delivery: dict[str, Any]) -> list[object]:
    """Return the row of an attempt among those of many events."""
    return [
        short_time(delivery["at"]),
        delivery["event_id"],
        delivery["subscription"],
        delivery["attempt"],
        delivery["outcome"] + (", dead" if delivery["dead"] else ""),
    ]


def history_row(delivery: dict[str, Any]) -> list[object]:
    """Return the row of an attempt among those of its event."""
    at, _, subscription, attempt, outcome = delivery_row(delivery)
    return [at, subscription, attempt, outcome, f"{delivery['latency_ms']:,.1f}", delivery["status"], delivery["error"]]


def count_row(count: dict[str, Any]) -> list[object]:
    """Return the row of a count of dead letters."""
    return [count["subscription"], count["reason"], f"{count['count']:,}"]


def node_row(node: dict[str, Any]) -> list[object]:
    """Return the row of a node."""
    return [
        node["node"],
        node["state"],
        node["partitions"],
        node["consumers"],
        node["unsettled"],
        f"{node['load']:,.0f}",
        f"{node['seen_s']:.1f} s ago",
    ]


def subscription_row(subscription: dict[str, Any]) -> list[object]:
    """Return the row of a subscription."""
    kind = subscription["destination"]["kind"]
    return [
        subscription["name"],
        "paused" if subscription["paused"] else "delivering" if kind == "consumer" else kind,
        f"{subscription['backlog']:,}",
        subscription["in_flight"],
        subscription["consumers"],
        ", ".join(subscription["topics"]),
    ]


def replay_row(replay: dict[str, Any]) -> list[object]:
    """Return the row of a replay."""
    return [
        replay["id"],
        short_time(replay["created_at"]),
        replay["subscription"],
        replay["state"],
        f"{replay['delivered']:,}",
    ]


def partition_row(partition: dict[str, Any]) -> list[object]:
    """Return the row of a partition; where its owner is not where it is placed, both are shown."""
    owner, placed = partition["owner"] or "-", partition["placed"]
    return [
        partition["partition"],
        owner if placed in (owner, None) else f"{owner} -> {placed}",
        short_time(partition["since"]),
        levels(partition["backlog"]),
        partition["spilled"] or "-",
        f"{partition['lag_s']:.1f} s" if partition["lag_s"] else "-",
    ]


def key_row(key: dict[str, Any]) -> list[object]:
    """Return the row of an API key."""
    policies = ", ".join(key["policies"])
    times = short_time(key["created_at"]), short_time(key["expires_at"]) or "-"
    return [key["id"], key["name"], key["state"], policies, *times]


def policy_row(policy: dict[str, Any]) -> list[object]:
    """Return the row of a policy."""
    rights = ("publish", "subscribe", "events", "dead_letters")
    allows = " ".join(f"{right}:{','.join(policy[right])}" for right in rights if policy[right])
    return [policy["name"], allows or "-", policy["manage"], ", ".join(policy["members"]) or "-"]


def audit_row(entry: dict[str, Any]) -> list[object]:
    """Return the row of an entry of the audit log."""
    return [short_time(entry["at"]), entry["principal"], entry["action"], entry["object"], entry["outcome"]]


def levels(backlog: Mapping[str, int]) -> str:
    """Return what waits at which priority, highest first, such as ``9:3 5:120``; levels without any are left out."""
    waiting = sorted(((int(level), count) for level, count in backlog.items() if count), reverse=True)
    return " ".join(f"{level}:{count}" for level, count in waiting) or "-"
