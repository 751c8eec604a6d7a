"""Lanes' durable queues, retries and dead letters on Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from redis.exceptions import OutOfMemoryError, RedisError

from partitioning.keys import GROUP, Keys
from router_client.errors import Overloaded
from router_node.log.port import (
    NOWHERE,
    SCHEDULE,
    Due,
    LaneKey,
    LaneStep,
    LaneStepped,
    LogUnavailable,
    LostPartition,
    PartitionState,
    Position,
    Released,
    RetryState,
    Spilled,
)
from router_node.log.redis_calls import Command, RedisCalls, Script
from router_node.log.redis_streams import released_of
from stores.ports import DeadLetter

STEP = Script.load("router_node.log", "step")
DISCARD = Script.load("router_node.log", "discard")
DUE = Script.load("router_node.log", "due")
LANE_SCRIPTS = (STEP, DISCARD, DUE)
_UNCHANGED = ""


class RedisLanes:
    """LaneLog and Schedule on Redis. ``tokens`` maps each owned partition to its fencing token."""

    def __init__(self, pipeline: RedisCalls, keys: Keys, tokens: Mapping[int, str]) -> None:
        self._pipeline = pipeline
        self._keys = keys
        self._tokens = tokens

    async def load(self, partition: int) -> PartitionState:
        """See LaneLog."""
        marks, labels = await self._pipeline.run(
            [("HGETALL", self._keys.high_water(partition)), ("SMEMBERS", self._keys.lanes(partition))]
        )
        state = PartitionState()
        for label, mark in _pairs(marks):
            generation, sequence = mark.split()
            state.high_water[LaneKey.of(partition, label.decode())] = Position(int(generation), int(sequence))
        lanes = [LaneKey.of(partition, label.decode()) for label in labels]
        replies = await self._pipeline.run(
            [
                command
                for lane in lanes
                for command in (
                    ("XLEN", self._keys.queue(partition, lane.label)),
                    ("HGETALL", self._keys.retry(partition, lane.label)),
                )
            ]
        )
        for lane, length, retries in zip(lanes, replies[::2], replies[1::2], strict=True):
            if length:
                state.queued[lane] = int(length)
                state.retries[lane] = {queue_id: RetryState(*orjson.loads(at)) for queue_id, at in _pairs(retries)}
        return state

    async def step(self, steps: Sequence[LaneStep]) -> list[LaneStepped | LostPartition | Overloaded]:
        """See LaneLog."""
        answers: list[LaneStepped | LostPartition | Overloaded] = []
        for step, reply in zip(steps, await self._pipeline.run([self._call(s) for s in steps]), strict=True):
            if isinstance(reply, OutOfMemoryError):
                answers.append(Overloaded("Redis is out of memory"))
            elif isinstance(reply, RedisError):
                raise LogUnavailable(f"Redis refused a step of lane {step.lane.label}: {reply}") from reply
            elif reply[0] == 0:
                answers.append(LostPartition(step.lane.partition))
            else:
                answers.append(LaneStepped(reply[2], int(reply[1]), list(map(released_of, reply[3]))))
        return answers

    async def due(self, partition: int, limit: int) -> Due | LostPartition:
        """See Schedule."""
        keys = [
            self._keys.lease(partition),
            self._keys.position(partition),
            self._keys.lanes(partition),
            self._keys.due(partition),
        ]
        keys += [self._keys.ingest(partition, level) for level in range(10)]
        keys += [self._keys.queue(partition, LaneKey(partition, SCHEDULE, level).label) for level in range(10)]
        answer = await self._pipeline.one(DUE.call(keys, self._tokens.get(partition, ""), GROUP, limit, SCHEDULE))
        if not answer[0]:
            return LostPartition(partition)
        return Due(list(map(int, answer[2:])), int(float(answer[1])) * 1000 if answer[1] else None)

    async def fetch(self, wants: Sequence[tuple[LaneKey, bytes, int]]) -> list[list[Spilled]]:
        """See LaneLog."""
        replies = await self._pipeline.run(
            [
                ("XRANGE", self._keys.queue(lane.partition, lane.label), b"(" + after, "+", "COUNT", count)
                for lane, after, count in wants
            ]
        )
        return [[_spilled(queue_id, fields) for queue_id, fields in _checked(reply)] for reply in replies]

    async def discard(self, lane: LaneKey) -> Released | LostPartition:
        """See LaneLog."""
        keys = [
            self._keys.lease(lane.partition),
            self._keys.high_water(lane.partition),
            self._keys.lanes(lane.partition),
            self._keys.queue(lane.partition, lane.label),
            self._keys.retry(lane.partition, lane.label),
            self._keys.outbox(lane.partition),
        ]
        answer = await self._pipeline.one(DISCARD.call(keys, self._tokens.get(lane.partition, ""), lane.label))
        return list(map(released_of, answer[2])) if answer[0] else LostPartition(lane.partition)

    def _call(self, step: LaneStep) -> Command:
        partition, label = step.lane.partition, step.lane.label
        keys = [
            self._keys.lease(partition),
            self._keys.high_water(partition),
            self._keys.lanes(partition),
            self._keys.queue(partition, label),
            self._keys.retry(partition, label),
            self._keys.dead_letters(partition),
            self._keys.outbox(partition),
            self._keys.due(partition),
        ]
        mark = max((spill.position for spill in step.spill), default=None)
        arguments: list[str | bytes | int] = [
            self._tokens.get(partition, ""),
            label,
            f"{mark.generation} {mark.sequence}" if mark and mark > NOWHERE else _UNCHANGED,
            len(step.spill),
        ]
        for (generation, sequence), accepted_at_us, body, kept, _ in step.spill:
            place = f"{generation} {sequence} {accepted_at_us}"
            arguments += (f"{place} {kept}" if kept else place, body)
        scheduled = [(number, spill.due_us) for number, spill in enumerate(step.spill, 1) if spill.due_us]
        arguments.append(len(scheduled))
        for number, due_us in scheduled:
            arguments += (number, f"{step.lane.priority} ", -(-due_us // 1000))
        arguments.append(len(step.retry))
        for queue_id, state in step.retry.items():
            arguments += (queue_id, orjson.dumps(list(state)))
        arguments.append(len(step.dead))
        for letter in step.dead:
            arguments += (_header(letter), letter.body)
        arguments += (len(step.remove), *step.remove)
        return STEP.call(keys, *arguments)


def _header(letter: DeadLetter) -> bytes:
    halts = {"queue_id": letter.queue_id} if letter.queue_id else {}
    return orjson.dumps(
        {
            **halts,
            "subscription": letter.subscription,
            "reason": letter.reason,
            "error": letter.error,
            "attempts": letter.attempts,
            "accepted_at_us": letter.accepted_at_us,
            "dead_at_us": letter.dead_at_us,
            "event_id": letter.event_id,
            "event_type": letter.event_type,
        }
    )


def _spilled(queue_id: bytes, fields: Sequence[bytes]) -> Spilled:
    generation, sequence, accepted, *kept = fields[1].split(b" ", 3)
    position = Position(int(generation), int(sequence))
    return Spilled(queue_id, position, int(accepted), fields[3], kept[0].decode() if kept else "")


def _pairs(reply: Any) -> list[tuple[bytes, bytes]]:
    """Read a hash reply, which is a dict under RESP3 and a flat list under RESP2."""
    found = _checked(reply)
    return list(found.items()) if isinstance(found, dict) else list(zip(found[::2], found[1::2], strict=True))


def _checked(reply: Any) -> Any:
    if isinstance(reply, RedisError):
        raise LogUnavailable(f"Redis refused: {reply}") from reply
    return reply
