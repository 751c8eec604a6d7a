"""Names are looked up apart from everything else."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from router_node.destinations.names import LOOKUPS_AT_ONCE, SystemNames


async def test_this_machine_has_a_name() -> None:
    names = SystemNames()
    found = await names.resolve("localhost", 443, socket.AF_UNSPEC)
    await names.close()
    assert {each["host"] for each in found} <= {"127.0.0.1", "::1"}
    assert {(each["hostname"], each["port"]) for each in found} == {("localhost", 443)}


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example"])
async def test_what_is_no_name_has_no_addresses(host: str) -> None:
    names = SystemNames()
    with pytest.raises(OSError, match="no host name"):
        await names.resolve(host, 443)
    await names.close()


async def test_a_name_server_that_hangs_keeps_nothing_else_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, asked = threading.Event(), threading.Semaphore(0)

    def hang(*_: Any, **__: Any) -> list[Any]:
        asked.release()
        answer.wait(10)
        return []

    names = SystemNames()
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    waiting = [asyncio.create_task(names.resolve(f"{n}.example", 443)) for n in range(50)]
    async with asyncio.timeout(5):
        for _ in range(LOOKUPS_AT_ONCE):
            await asyncio.to_thread(asked.acquire)
        assert await asyncio.to_thread(lambda: "other work") == "other work"
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    await names.close()
    answer.set()
