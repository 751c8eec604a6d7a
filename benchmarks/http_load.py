"""Publishes over HTTP as fast as answers come: raw HTTP/1.1 on kept connections, so that the server is measured."""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections.abc import Iterator
from typing import cast

import uvloop

from benchmarks.flights import first_events
from benchmarks.latencies import Latencies
from benchmarks.role import say, told

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_ACCEPTED = b"HTTP/1.1 202 "


class Connection(asyncio.Protocol):
    """One connection: sends a request, and the next when that is answered. ``done`` is set when there are no more.

    An answer other than 202 fails ``done`` with a RuntimeError, a lost connection with ConnectionError.
    """

    def __init__(self, requests: Iterator[bytes], latencies: list[float]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._latencies = latencies
        self._received = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return
        if not head.startswith(_ACCEPTED):
            self.done.set_exception(RuntimeError(f"answered {self._received[:500]!r}"))
            return
        self._latencies.append(time.monotonic() - self._sent_at)
        self._received = b""
        self.send()

    def send(self) -> None:
        """Send the next request, if there is one."""
        request = next(self._requests, None)
        if request is None:
            self.done.set_result(None)
            return
        self._sent_at = time.monotonic()
        self._transport.write(request)


def _length(head: bytes) -> int:
    found = _LENGTH.search(head)
    return int(found[1]) if found else 0


async def load(port: int, path: str, count: int, connections: int) -> None:
    """Send ``count`` events, one a request."""
    bodies = [event.encode() for event in first_events(count)]
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\ncontent-length: "
    requests = [b"%s%d\r\n\r\n%s" % (head.encode(), len(body), body) for body in bodies]
    latencies: list[float] = []
    left = iter(requests)
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Connection(left, latencies), "127.0.0.1", port) for _ in range(connections)
    ]
    say(ready=True)
    await told()
    began = time.monotonic()
    for _, connection in opened:
        connection.send()
    await asyncio.gather(*(connection.done for _, connection in opened))
    say(began=began, ended=time.monotonic(), answered=len(latencies), **Latencies.of(latencies)._asdict())
    await told()
    for transport, _ in opened:
        transport.close()


def main() -> None:
    """Play the part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    chosen = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(load(chosen.port, chosen.path, chosen.count, chosen.connections))


if __name__ == "__main__":
    main()
