"""Publishing many events: encoded once, cut into batches by count and bytes, several of them on the way at a time."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import Any

from router_client.errors import EventRouterError, InvalidInput, Overloaded
from router_client.event import Event, from_object
from router_client.transports.port import Outcome, Transport

# A node takes frames of up to 1 MiB; this leaves room for the frame around the events.
MAX_BATCH_BYTES = 768 * 1024
MAX_BATCH = 1000

Publishable = Event | Mapping[str, Any]


def encode(event: Publishable) -> bytes:
    """Return the event object as JSON bytes, with an id and a timestamp of ours where the caller gave none.

    Raises InvalidInput or TooLarge.
    """
    return (event if isinstance(event, Event) else from_object(dict(event))).encode()


class Publisher:
    """Sends batches over a transport, and sends again what was refused as overloaded while there is time for that."""

    def __init__(self, transport: Transport, retry_overloaded_s: float) -> None:
        self._transport = transport
        self._retry_overloaded_s = retry_overloaded_s

    async def one(self, body: bytes, ack: str) -> Outcome:
        """Publish one encoded event; an error of the whole batch is returned as the event's own."""
        return (await self._send([body], ack))[0]

    async def many(
        self,
        events: Iterable[Publishable] | AsyncIterable[Publishable],
        *,
        batch: int,
        ack: str,
    ) -> AsyncGenerator[list[Outcome], None]:
        """Yield the outcomes batch by batch, in the order of the events.

        Cancelling or closing the generator cancels the batches on the way and waits for their end.
        """
        if not 1 <= batch <= MAX_BATCH:
            raise InvalidInput(f"from 1 to {MAX_BATCH}", field="batch")
        flying: deque[asyncio.Task[list[Outcome]]] = deque()
        try:
            async for chunk in _chunks(events, batch):
                if len(flying) >= self._transport.ordered_batches:
                    yield await flying.popleft()
                flying.append(asyncio.create_task(self._send(chunk, ack)))
            while flying:
                yield await flying.popleft()
        finally:
            for task in flying:
                task.cancel()
            await asyncio.gather(*flying, return_exceptions=True)

    async def _send(self, chunk: list[bytes | EventRouterError], ack: str) -> list[Outcome]:
        """Return one outcome for each part of the chunk; parts that are errors already stay as they are."""
        outcomes: list[Any] = list(chunk)
        places = [place for place, part in enumerate(chunk) if isinstance(part, bytes)]
        deadline = time.monotonic() + self._retry_overloaded_s
        while places:
            answers = await self._attempt([outcomes[place] for place in places], ack)
            bodies = {place: outcomes[place] for place in places}
            for place, answer in zip(places, answers, strict=True):
                outcomes[place] = answer
            refused = [place for place in places if isinstance(outcomes[place], Overloaded)]
            if not refused:
                break
            wait_s = max(outcomes[place].retry_after_s for place in refused) * random.uniform(0.5, 1.0)  # noqa: S311
            if time.monotonic() + wait_s > deadline:
                break
            await asyncio.sleep(wait_s)
            for place in refused:
                outcomes[place] = bodies[place]
            places = refused
        return outcomes

    async def _attempt(self, bodies: list[bytes], ack: str) -> list[Outcome]:
        try:
            return await self._transport.publish(bodies, ack)
        except EventRouterError as error:
            return [error] * len(bodies)


async def _chunks(
    events: Iterable[Publishable] | AsyncIterable[Publishable], batch: int
) -> AsyncIterator[list[bytes | EventRouterError]]:
    chunk: list[bytes | EventRouterError] = []
    size = 0
    async for part in _encoded(events):
        length = len(part) if isinstance(part, bytes) else 0
        if chunk and (len(chunk) >= batch or size + length > MAX_BATCH_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(part)
        size += length
    if chunk:
        yield chunk


async def _encoded(
    events: Iterable[Publishable] | AsyncIterable[Publishable],
) -> AsyncIterator[bytes | EventRouterError]:
    if isinstance(events, AsyncIterable):
        async for event in events:
            yield _encode(event)
    else:
        for event in events:
            yield _encode(event)


def _encode(event: Publishable) -> bytes | EventRouterError:
    try:
        return encode(event)
    except EventRouterError as error:
        return error
