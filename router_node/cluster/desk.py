"""What operators ask about nodes and partitions. Any node answers for all: everything is read from Redis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from partitioning.errors import RedisUnavailable
from partitioning.growth import Growth
from partitioning.keys import Keys
from partitioning.leases import Leases, epoch_of, holder_of
from partitioning.membership import Member, Membership
from partitioning.redis_commands import Commands, run_all
from partitioning.slots import MAX_PARTITIONS
from router_client.errors import Conflict, InvalidInput, NotFound, Unavailable
from router_node.clock import moment_text
from router_node.cluster.cluster import Cluster

LEVELS = range(9, -1, -1)


class ClusterDesk:
    """See contract.ClusterDesk."""

    def __init__(
        self, cluster: Cluster, membership: Membership, leases: Leases, commands: Commands, keys: Keys
    ) -> None:
        self._cluster = cluster
        self._membership = membership
        self._leases = leases
        self._commands = commands
        self._keys = keys
        self._growth = Growth(commands, keys)

    async def nodes(self) -> list[dict[str, Any]]:
        """See contract.ClusterDesk."""
        with _readable():
            roster = await self._membership.look()
        return [_node(member, "draining" if member.draining else "live") for member in _sorted(roster.members)] + [
            _node(member, "gone") for member in _sorted(roster.gone)
        ]

    async def drain(self, node: str, *, undo: bool) -> None:
        """See contract.ClusterDesk."""
        with _readable():
            roster = await self._membership.look()
            if node not in roster.members:
                raise NotFound(f"no node {node} lives; GET /v1/nodes lists those that do", field="id")
            if not undo and roster.placed() in ([], [node]):
                raise Conflict(f"no other node is there to take over from {node}; start one first", field="id")
            if undo:
                await self._membership.ask_to_work(node)
            else:
                await self._membership.ask_to_drain(node, roster.now_us)
        self._cluster.link.notify("members")

    async def partitions(self) -> list[dict[str, Any]]:
        """See contract.ClusterDesk."""
        partitions = range(self._cluster.pipeline.partitions)
        with _readable():
            roster = await self._membership.look()
            tokens = await self._leases.tokens(partitions)
            waiting = await self._waiting(partitions)
            oldest = await self._oldest(waiting)
            spilled = await self._spilled(partitions)
        placement = self._cluster.presence.placement
        return [
            {
                "partition": p,
                "owner": holder_of(tokens[p]) if p in tokens else None,
                "placed": placement.get(p),
                "epoch": epoch_of(tokens[p]) if p in tokens else 0,
                "since": moment_text(epoch_of(tokens[p])) if p in tokens else None,
                "backlog": {str(level): count for level, count in waiting[p].items()},
                "spilled": spilled[p],
                "lag_s": max(0.0, (roster.now_us - oldest[p]) / 1e6) if p in oldest else 0.0,
            }
            for p in partitions
        ]

    async def growth(self) -> dict[str, Any] | None:
        """See contract.ClusterDesk."""
        with _readable():
            plan = await self._growth.plan()
            if plan is None or not plan.target:
                return None
            passages = await self._growth.passages(range(plan.partitions))
        return {
            "from": plan.partitions,
            "to": plan.target,
            "partitions": plan.partitions,
            "sealed": sum(passage.sealed >= plan.target for passage in passages.values()),
            "passed": sum(passage.is_past(plan.target) for passage in passages.values()),
            "lanes_waiting": sum(len(passage.owed) for passage in passages.values()),
        }

    async def grow(self, to: int) -> dict[str, Any]:
        """See contract.ClusterDesk."""
        present = self._cluster.growing.plan
        if not present.partitions < to <= MAX_PARTITIONS and to != present.target:
            raise InvalidInput(
                f"more than the {present.partitions} there are, and at most {MAX_PARTITIONS}", field="to"
            )
        with _readable():
            agreed, before, target = await self._growth.begin(present.partitions, to)
        if not agreed:
            under_way = (
                f"the growth from {before} to {target} is under way" if target else f"there are {before} already"
            )
            raise Conflict(under_way, field="to")
        self._cluster.link.notify("members")
        begun = {"from": before, "to": to, "partitions": before, "sealed": 0, "passed": 0, "lanes_waiting": 0}
        return await self.growth() or begun

    async def rebalance(self) -> int:
        """See contract.ClusterDesk."""
        placement = self._cluster.presence.placement
        with _readable():
            owners = await self._leases.holders(range(self._cluster.pipeline.partitions))
        self._cluster.link.notify("members")
        return sum(owners.get(partition) != node for partition, node in placement.items())

    async def _waiting(self, partitions: Sequence[int]) -> dict[int, dict[int, int]]:
        streams = [self._keys.ingest(p, level) for p in partitions for level in LEVELS]
        lengths = iter(await run_all(self._commands, [("XLEN", stream) for stream in streams]))
        return {p: {level: next(lengths) for level in LEVELS} for p in partitions}

    async def _oldest(self, waiting: Mapping[int, Mapping[int, int]]) -> dict[int, int]:
        """Return when the oldest unsettled event of each partition that has one was accepted, µs since 1970."""
        places = [(p, level) for p, levels in waiting.items() for level, count in levels.items() if count]
        found = await run_all(
            self._commands, [("XRANGE", self._keys.ingest(*place), "-", "+", "COUNT", 1) for place in places]
        )
        oldest: dict[int, int] = {}
        for (partition, _), entries in zip(places, found, strict=True):
            at = _accepted_at(entries)
            if at is not None:
                oldest[partition] = min(at, oldest.get(partition, at))
        return oldest

    async def _spilled(self, partitions: Sequence[int]) -> dict[int, int]:
        labels = await run_all(self._commands, [("SMEMBERS", self._keys.lanes(p)) for p in partitions])
        queues = [(p, label.decode()) for p, found in zip(partitions, labels, strict=True) for label in found]
        lengths = await run_all(self._commands, [("XLEN", self._keys.queue(p, label)) for p, label in queues])
        spilled = dict.fromkeys(partitions, 0)
        for (partition, _), length in zip(queues, lengths, strict=True):
            spilled[partition] += length
        return spilled


def _node(member: Member, state: str) -> dict[str, Any]:
    told = member.details
    return {
        "node": member.node,
        "address": told.get("address"),
        "version": told.get("version"),
        "started_at": moment_text(int(told.get("started_at_ms", 0))),
        "seen_s": member.silent_ms / 1000,
        "state": state,
        "partitions": told.get("partitions", 0) if state != "gone" else 0,
        "consumers": told.get("consumers", 0),
        "unsettled": told.get("unsettled", 0),
        "load": told.get("load", 0.0),
    }


def _sorted(members: Mapping[str, Member]) -> list[Member]:
    return [members[node] for node in sorted(members)]


def _accepted_at(entries: Any) -> int | None:
    try:
        return int(entries[0][1][1].split()[2])
    except (IndexError, ValueError, TypeError):  # settled meanwhile, or not written by a node
        return None


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except RedisUnavailable as error:
        raise Unavailable(f"the state of the cluster cannot be read: {error}") from error
