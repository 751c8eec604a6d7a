"""Bytes that are made up, below HTTP and below WebSocket frames: broken heads, half requests, what is no protocol.

Whatever comes, nothing fails in the node, nothing is left of it, what is answered is HTTP, and the node serves on.
``ER_FRAME_EXAMPLES`` says how many, as for test_frames_made_up.py.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from router_node.edges.conduct import TOLD
from router_node.node import embedded
from tests.edges.served import Served, served
from tests.support.signals import wait_for

EXAMPLES = int(os.environ.get("ER_FRAME_EXAMPLES", "60"))
pytestmark = pytest.mark.timeout(120 + EXAMPLES)

BODY = b'{"type":"a"}'
HEADS = [
    b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /v1/events?limit=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n" + BODY,
    b"POST /v1/events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nc\r\n" + BODY + b"\r\n0\r\n\r\n",
    b"PUT /v1/subscriptions/s HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 15\r\n\r\n",
    b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET http://x/healthz HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]
UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
FRAME = b"\x81\x8f\0\0\0\0" + b'{"op":"ping"}  '


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """Right bytes of which some are others, are missing, or come twice."""
    data = bytearray(draw(st.sampled_from([*HEADS, UPGRADE, UPGRADE + FRAME, HEADS[0] * 3, HEADS[2] + HEADS[0]])))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        data[start : start + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(data)


PIECES = st.lists(st.one_of(spoiled(), st.binary(max_size=200), st.just(UPGRADE), st.just(FRAME)), max_size=5)


@settings(max_examples=EXAMPLES, derandomize=EXAMPLES <= 60, deadline=None, suppress_health_check=list(HealthCheck))
@given(pieces=PIECES, abrupt=st.booleans())
def test_whatever_is_sent_the_node_goes_on(pieces: list[bytes], abrupt: bool) -> None:
    asyncio.run(_sent(pieces, abrupt))


async def _sent(pieces: list[bytes], abrupt: bool) -> None:
    logging.getLogger("uvicorn.error").handlers = [kept := _Kept()]
    async with embedded() as running, served(running.engine, running.management, body_timeout_s=1) as node:
        tasks = len(asyncio.all_tasks())
        with capture_logs() as logs:
            reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
            with suppress(OSError):  # the node has closed it already
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if not abrupt:
                    writer.write_eof()
                    await _answered(reader)
            writer.transport.abort()
            await wait_for(lambda: _nothing_left(node, tasks), 10, "nothing is left of it")
        assert [each for each in logs if each["log_level"] in ("error", "critical")] == []
        assert {each["event"] for each in logs if each["log_level"] == "warning"} <= set(TOLD.values())
        assert [each.getMessage() for each in kept.records] == []
        reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


async def _answered(reader: asyncio.StreamReader) -> None:
    answer = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            while part := await reader.read(65_536):
                answer += part
    assert answer == b"" or answer.startswith(b"HTTP/1.1 "), answer


def _nothing_left(node: Served, tasks: int) -> bool:
    return len(node.app.connections) == 0 and len(asyncio.all_tasks()) <= tasks
