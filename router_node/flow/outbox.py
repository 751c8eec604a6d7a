"""The level ``stored``: publishers wait for the store, and what the log has lost is fed to it again.

An event and its outbox row are stored by the persister in one transaction; the row goes when no stream and no queue
holds the event any more, which the log tells with each settlement.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from itertools import islice

import structlog

from router_client.errors import Unavailable
from router_node.log.port import Generations, LostPartition, Position, Released, Spill
from stores.errors import StoreError
from stores.ports import Outbox, Owed

WAIT_S = 10.0
LOOK_S = 0.25
FED_AT_ONCE = 50
REMOVED_AT_ONCE = 1000
REMOVALS_AT_MOST = 200_000
PAUSE_S = 1.0

log = structlog.get_logger(__name__)


class OutboxKeeper:
    """Knows what publishers wait for, feeds partitions that lost data, and removes what is settled.

    ``announce`` tells other nodes what was stored here. Beyond ``REMOVALS_AT_MOST`` settled rows are left behind: after
    a loss they would be delivered once more.
    """

    def __init__(self, outbox: Outbox, generations: Generations, slots_of: Callable[[int], Collection[int]]) -> None:
        self._outbox = outbox
        self._generations = generations
        self._slots_of = slots_of
        self.announce: Callable[[list[str]], None] = lambda _: None
        self._awaited: dict[str, asyncio.Future[None]] = {}
        self._settled: deque[tuple[int, str]] = deque(maxlen=REMOVALS_AT_MOST)
        self._more = asyncio.Event()
        self.fed = 0

    @property
    def waiting(self) -> int:
        """Events that publishers wait for."""
        return len(self._awaited)

    @property
    def removing(self) -> int:
        """Rows of settled events that are still to be removed."""
        return len(self._settled)

    async def stored(self, event_ids: Collection[str]) -> set[str]:
        """Wait until these events are stored, for ``WAIT_S`` at most; returns those that are.

        The notice that one is may be lost, so the store is asked too.
        """
        loop = asyncio.get_running_loop()
        waits = {each: self._awaited.setdefault(each, loop.create_future()) for each in event_ids}
        try:
            async with asyncio.timeout(WAIT_S):
                while pending := [future for future in waits.values() if not future.done()]:
                    await asyncio.wait(pending, timeout=LOOK_S)
                    await self._look([each for each, future in waits.items() if not future.done()])
        except TimeoutError:
            log.warning("events were not stored in time", events=sum(not future.done() for future in waits.values()))
        finally:
            for each, future in waits.items():
                if self._awaited.get(each) is future:
                    del self._awaited[each]
        return {each for each, future in waits.items() if future.done()}

    def were_stored(self, event_ids: Sequence[str]) -> None:
        """Hear from the persister of this node."""
        self.heard(event_ids)
        self.announce(list(event_ids))

    def heard(self, event_ids: Sequence[str]) -> None:
        """Hear that events are stored."""
        for each in event_ids:
            future = self._awaited.get(each)
            if future is not None and not future.done():
                future.set_result(None)

    def released(self, keys: Released) -> None:
        """Hear that nothing in the log holds these events any more."""
        if keys:
            self._settled.extend(keys)
            self._more.set()

    async def open(self, partition: int) -> bool:
        """Begin to own a partition: feed it what it lost. False when it is not ours any more.

        Raises LogUnavailable, and Unavailable when the store cannot be asked; what was fed by then stays.
        """
        begun = await self._generations.begin(partition)
        if isinstance(begun, LostPartition):
            return False
        if not begun.unfed:
            return True
        fed, last, slots = 0, None, self._slots_of(partition)
        while page := await self._page(slots, begun.generation, last):
            answer = await self._generations.feed(partition, [(owed.event.priority, _spill(owed)) for owed in page])
            if isinstance(answer, LostPartition):
                return False
            fed, last = fed + answer, page[-1]
        if fed:
            self.fed += fed
            log.warning("the log had lost events that were stored; they are routed again", partition=partition, fed=fed)
        return await self._generations.open(partition, begun.generation) is None

    async def run(self) -> None:
        """Remove rows of settled events, until cancelled."""
        while True:
            await self._more.wait()
            keys = list(islice(self._settled, REMOVED_AT_ONCE))
            if not keys:
                self._more.clear()
                continue
            try:
                await self._outbox.remove(keys)
            except StoreError as error:
                log.warning("settled events stay in the outbox for now", error=str(error))
                await asyncio.sleep(PAUSE_S)
            else:
                for _ in range(min(len(keys), len(self._settled))):
                    self._settled.popleft()

    async def _page(self, slots: Collection[int], generation: int, after: Owed | None) -> list[Owed]:
        try:
            return await self._outbox.load(slots, generation, FED_AT_ONCE, after)
        except StoreError as error:
            raise Unavailable(f"the store cannot tell what the log has lost: {error}") from error

    async def _look(self, event_ids: Collection[str]) -> None:
        if not event_ids:
            return
        try:
            self.heard(list(await self._outbox.stored(event_ids)))
        except StoreError as error:
            log.info("the store cannot be asked what it has", error=str(error))


def _spill(owed: Owed) -> Spill:
    body = owed.event.body
    return Spill(Position(owed.generation, owed.sequence), owed.event.accepted_at_us, body, owed.event.id)
