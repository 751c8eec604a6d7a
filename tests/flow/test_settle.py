"""The settler when the log has no room for what a lane adds, and when a partition changes owner under a step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from router_client.errors import Overloaded
from router_node.delivery.item import Head, Item
from router_node.delivery.lane import Lane, Taken
from router_node.flow import settle
from router_node.flow.settle import Settler
from router_node.log.memory import MemoryLog
from router_node.log.port import Entry, LaneKey, LaneStep, LaneStepped, LostPartition, NewRecord, Position, Settled
from stores.ports import DeadLetter
from tests.support.signals import wait_for

HEAD = Head("e", "k", "a.b", 5)


class Letters:
    async def add(self, letters: Sequence[DeadLetter]) -> None:
        raise AssertionError("nothing dies here")


class FullLog(MemoryLog):
    """A memory log that takes no spills while ``full``."""

    full = True

    async def step(self, steps: Sequence[LaneStep]) -> list[LaneStepped | LostPartition | Overloaded]:
        return [
            Overloaded("full") if self.full and step.spill else (await super(FullLog, self).step([step]))[0]
            for step in steps
        ]


class CountingLog(MemoryLog):
    """A memory log that notes how many entries each call settles."""

    def __init__(self) -> None:
        super().__init__(Letters())
        self.calls: list[int] = []

    async def settle(self, entries: Sequence[Entry]) -> Settled:
        self.calls.append(len(entries))
        return await super().settle(entries)


class Driver:
    def __init__(self) -> None:
        self.steps: list[list[bytes]] = []

    def stepped(self, lane: Lane, taken: Taken, answer: LaneStepped) -> None:
        lane.stepped(taken, answer)
        self.steps.append([spill.body for spill in taken.step.spill])


async def test_a_refused_spill_waits_its_turn_while_entries_settle() -> None:
    log = FullLog(Letters())
    settler, driver = Settler(log, log, lambda partition: None), Driver()
    lane = Lane(LaneKey(0, "late", 5))
    await log.append([NewRecord(0, 5, None, b"{}")])
    (entry,) = await log.read([(0, 5)], 1)
    running = asyncio.create_task(settler.run())

    def spill(number: int) -> None:
        item = Item(lane, Position(1, number), 1, b"%d" % number, HEAD, 0.0, keyed=False)
        lane.spilling = True
        lane.unsaved.append(item)
        settler.make_durable(lane, driver)

    async def settled() -> bool:
        return (await log.backlog([0]))[0][5] == 0

    spill(1)
    settler.hold(entry)
    entry.outstanding += 1
    settler.release(entry)
    await wait_for(settled, 5, "the entry settles although the spill is refused")
    spill(2)
    assert driver.steps == []

    log.full = False
    await wait_for(lambda: len(driver.steps) == 2, 5, "both spills are taken")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert driver.steps == [[b"1"], [b"2"]]


async def test_entries_settle_together_and_at_once_when_somebody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router_node.flow.settle.GATHER_S", 60)
    log = CountingLog()
    settler = Settler(log, log, lambda partition: None)
    running = asyncio.create_task(settler.run())
    for _ in range(3):
        await log.append([NewRecord(0, 5, None, b"{}")])
        (entry,) = await log.read([(0, 5)], 1)
        settler.hold(entry)
        entry.outstanding += 1
        settler.release(entry)
        await asyncio.sleep(0)
    assert log.calls == []

    async with asyncio.timeout(5):
        await settler.written()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert log.calls == [3]
    assert settler.unsettled_events == 0


class HeldLog(FullLog):
    """Steps are answered when they are let through."""

    full = False

    def __init__(self) -> None:
        super().__init__(Letters())
        self.asked = asyncio.Event()
        self.through = asyncio.Event()
        self.made: list[LaneStep] = []

    async def step(self, steps: Sequence[LaneStep]) -> list[LaneStepped | LostPartition | Overloaded]:
        self.asked.set()
        self.made += steps
        answers = await super().step(steps)
        await self.through.wait()
        return answers


def spilling(settler: Settler, subscription: str) -> Lane:
    lane = Lane(LaneKey(0, subscription, 5))
    lane.spilling = True
    lane.unsaved.append(Item(lane, Position(1, 1), 1, b"1", HEAD, 0.0, keyed=False))
    settler.make_durable(lane, Driver())
    return lane


async def test_a_step_refused_for_want_of_room_is_not_made_for_the_next_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "PAUSE_S", 0.001)
    log = HeldLog()
    log.full = True
    settler = Settler(log, log, lambda partition: None)
    spilling(settler, "late")
    running = asyncio.create_task(settler.run())
    await log.asked.wait()

    settler.forget(0)
    log.full = False
    log.through.set()
    await settler.quiet()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert len(log.made) == 1
    assert (await log.load(0)).queued == {}


async def test_steps_that_wait_for_others_are_not_made_for_the_next_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "STEPS_AT_ONCE", 1)
    log = HeldLog()
    settler = Settler(log, log, lambda partition: None)
    first, _ = spilling(settler, "first"), spilling(settler, "second")
    running = asyncio.create_task(settler.run())
    await log.asked.wait()

    settler.forget(0)
    log.through.set()
    await settler.quiet()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert [step.lane for step in log.made] == [first.key]
    assert (await log.load(0)).queued == {first.key: 1}
