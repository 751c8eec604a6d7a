"""Adding partitions while the cluster works: what each partition goes through, in Redis.

The slots that move, all of them from an older partition (a parent) to a new one (a child), move in three steps, each
taken by the owner of the partition it changes and safe to repeat:

1. Seal. In one atomic step the parent notes the new table and puts a fence into each of its ten streams. From then on
   it answers appends made by an older table with "moved", and the node appends to the child at once.
2. Pass. When nothing before the fence of a stream is unsettled but what lanes have spilled, the fence is taken away
   and those lanes are noted as owing. A child is read once all its parents have passed all ten fences.
3. Clear. A lane that owes is let off when its queue holds nothing from before the fence. Until then the lane of the
   same subscription and priority in each child keeps its events in its queue.

So an event of a key is delivered by the child only after the parent has settled every earlier one of that lane. Nothing
drives this but the state in Redis: whoever owns a partition does what is next, whatever died before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import NamedTuple

from partitioning.keys import GROUP, Keys
from partitioning.limits import DEFAULTS, Limits
from partitioning.redis_commands import Commands, Script, run_all
from partitioning.slots import slot_table

SEAL = Script.load("partitioning", "seal")
PASS_FENCE = Script.load("partitioning", "pass_fence")
CLEAR_OWED = Script.load("partitioning", "clear_owed")
BEGIN = Script.load("partitioning", "begin_growth")
FINISH = Script.load("partitioning", "finish_growth")
GROWTH_SCRIPTS = (SEAL, PASS_FENCE, CLEAR_OWED, BEGIN, FINISH)


class Plan(NamedTuple):
    """How many partitions there are, and are to be (0: no growth is under way); ``steps`` are all growths ever."""

    partitions: int
    target: int = 0
    steps: tuple[tuple[int, int], ...] = ()

    @property
    def total(self) -> int:
        """Partitions that may hold something."""
        return max(self.partitions, self.target)

    def parents(self, partition: int) -> frozenset[int]:
        """Return the partitions whose slots ``partition`` was made of; none for one of the first."""
        for before, after in self.steps:
            if before <= partition < after:
                return parents_of(before, after)[partition]
        return frozenset()


class Passage(NamedTuple):
    """How far a parent is: the table it is sealed for, those its streams have passed the fence for, lanes that owe."""

    sealed: int
    passed: Mapping[int, int]
    owed: frozenset[str]

    def is_past(self, table: int) -> bool:
        """All ten streams have passed the fence of the growth to ``table`` partitions."""
        return len(self.passed) == 10 and min(self.passed.values()) >= table


class Growth:
    """The steps on Redis. All methods raise RedisUnavailable; the next call finds out what was changed by then.

    ``limits`` are told beside the plan, for who appends without a node.
    """

    def __init__(self, commands: Commands, keys: Keys, limits: Limits = DEFAULTS) -> None:
        self._commands = commands
        self._keys = keys
        self._limits = limits

    async def plan(self) -> Plan | None:
        """Return the plan in force, None when Redis knows of none."""
        partitions, target, steps = await self._commands.one(
            ("HMGET", self._keys.meta(), "partitions", "target", "steps")
        )
        return Plan(int(partitions), int(target or 0), _steps(steps)) if partitions else None

    async def propose(self, partitions: int) -> None:
        """Make this the number of partitions, unless there is one, and tell the limits."""
        meta = self._keys.meta()
        told = ("HSET", meta, "limits", self._limits.text())
        await run_all(self._commands, [told, ("HSETNX", meta, "partitions", partitions)])

    async def limits(self) -> Limits:
        """Return the limits that were told last."""
        return Limits.read(await self._commands.one(("HGET", self._keys.meta(), "limits")))

    async def restore(self, plan: Plan) -> None:
        """Tell a Redis that has lost it what the plan is."""
        values: list[str | int] = ["partitions", plan.partitions, "limits", self._limits.text()]
        if plan.target:
            values += ["target", plan.target, "steps", f"{plan.partitions}>{plan.target}"]
        await self._commands.one(("HSET", self._keys.meta(), *values))

    async def begin(self, present: int, to: int) -> tuple[bool, int, int]:
        """Begin to grow; returns whether this growth is under way, and from and to how many partitions one is."""
        agreed, before, after = await self._commands.one(BEGIN.call([self._keys.meta()], present, to))
        return bool(agreed), int(before), int(after)

    async def finish(self, to: int) -> None:
        """Every parent has passed: the new number of partitions is the number."""
        await self._commands.one(FINISH.call([self._keys.meta()], to))

    async def seal(self, tokens: Mapping[int, str], to: int) -> set[int]:
        """Seal partitions; returns those that are sealed. The others are not owned under that token any more."""
        calls = [
            SEAL.call(
                [self._keys.lease(p), self._keys.position(p), *(self._keys.ingest(p, level) for level in range(10))],
                token,
                to,
                GROUP,
            )
            for p, token in tokens.items()
        ]
        return {p for p, done in zip(tokens, await run_all(self._commands, calls), strict=True) if done}

    async def opened(self, partitions: Collection[int]) -> bool:
        """Tell whether all of these take appends."""
        return all(await run_all(self._commands, [("HGET", self._keys.position(p), "open") for p in partitions]))

    async def pass_fence(self, partition: int, priority: int, token: str, to: int, fence: bytes) -> bool:
        """Let a stream pass its fence; False when the partition is not owned under that token any more."""
        keys = [
            self._keys.lease(partition),
            self._keys.lanes(partition),
            self._keys.fences(partition),
            self._keys.owed(partition),
            self._keys.ingest(partition, priority),
        ]
        return bool(await self._commands.one(PASS_FENCE.call(keys, token, priority, to, GROUP, fence)))

    async def passages(self, parents: Collection[int]) -> dict[int, Passage]:
        """Return how far each parent is."""
        ordered = sorted(parents)
        found = await run_all(
            self._commands,
            [
                command
                for p in ordered
                for command in (
                    ("HGET", self._keys.position(p), "table"),
                    ("HGETALL", self._keys.fences(p)),
                    ("SMEMBERS", self._keys.owed(p)),
                )
            ],
        )
        return {
            p: Passage(
                int(sealed or 0),
                {int(level): int(table) for level, table in zip(passed[::2], passed[1::2], strict=True)},
                frozenset(label.decode() for label in owed),
            )
            for p, sealed, passed, owed in zip(ordered, found[::3], found[1::3], found[2::3], strict=True)
        }

    async def clear(self, partition: int, token: str, owed: Collection[str]) -> None:
        """Let off the lanes whose queues hold nothing from before the fence any more."""
        labels = sorted(owed)
        fence, *first = await run_all(
            self._commands,
            [
                ("HGET", self._keys.position(partition), "fence"),
                *(("XRANGE", self._keys.queue(partition, label), "-", "+", "COUNT", 1) for label in labels),
            ],
        )
        at = _position(fence)
        paid = [label for label, head in zip(labels, first, strict=True) if not head or _position(head[0][1][1]) > at]
        if paid:
            keys = [self._keys.lease(partition), self._keys.owed(partition)]
            await self._commands.one(CLEAR_OWED.call(keys, token, *paid))


class Routes:
    """Which partition takes a slot now, as far as this node has been told. Pure.

    Each partition is known under the table it was last found to use. A slot is looked up in the oldest and handed on
    from a sealed parent to its child.
    """

    def __init__(self, partitions: int) -> None:
        self._base = slot_table(partitions)
        self._tables: dict[int, int] = {}

    def partition_of(self, slot: int) -> tuple[int, int]:
        """Return the partition of ``slot``, and the number of partitions by which that was decided."""
        partition, table = self._base.owners[slot], self._base.partitions
        if not self._tables:
            return partition, table
        while True:
            table = self._tables.get(partition, table)
            owner = slot_table(table).owners[slot]
            if owner == partition:
                return partition, table
            partition = owner

    def first(self, slot: int) -> int:
        """Return the partition that had ``slot`` before any growth this node has not seen the end of."""
        return self._base.owners[slot]

    def moved(self, partition: int, table: int) -> None:
        """Learn that a partition uses a newer table."""
        if table > self._tables.get(partition, self._base.partitions):
            self._tables[partition] = table

    def grown(self, partitions: int) -> None:
        """Learn that every partition uses at least this table."""
        if partitions > self._base.partitions:
            self._base = slot_table(partitions)
            self._tables = {p: table for p, table in self._tables.items() if table > partitions}


@lru_cache(maxsize=16)
def parents_of(before: int, after: int) -> dict[int, frozenset[int]]:
    """Return, for each partition that a growth adds, the partitions its slots come from."""
    parents: dict[int, set[int]] = {partition: set() for partition in range(before, after)}
    for old, new in zip(slot_table(before).owners, slot_table(after).owners, strict=True):
        if new != old:
            parents[new].add(old)
    return {partition: frozenset(found) for partition, found in parents.items()}


def _steps(text: bytes | None) -> tuple[tuple[int, int], ...]:
    if not text:
        return ()
    pairs = (step.split(">") for step in text.decode().split(","))
    return tuple((int(before), int(after)) for before, after in pairs)


def _position(text: bytes) -> tuple[int, int]:
    generation, sequence, *_ = text.split()
    return int(generation), int(sequence)
