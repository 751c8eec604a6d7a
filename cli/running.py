"""A node and the signals that stop it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

from cli.exits import ExitCode
from cli.failures import Failure
from partitioning.errors import RedisUnavailable
from partitioning.membership import NameTaken
from router_client.errors import Unavailable
from router_node.cluster.agreement import Disagreement
from router_node.config import Settings
from router_node.node import run
from stores.errors import StoreError


async def run_until_signalled(
    settings: Settings, announce: Callable[[str], None], asked: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Run a node until SIGTERM or SIGINT; ``announce`` is told its address once it serves.

    The first signal lets a serving node drain, and ends one that is still starting. A second one ends it at once.
    ``asked``, if given, is called too: its return stops the node as a first signal does, and does not count as one.

    Raises Failure after a second signal, when Redis or the database cannot be used, when another node has this one's
    name, or when others store and this one does not; else what the node raises, in ExceptionGroups.
    """
    try:
        await _run(settings, announce, asked)
    except* NameTaken as group:
        raise Failure(str(_first(group)), "stop the other node, or start this one with another ER_NODE_ID") from group
    except* Disagreement as group:
        raise Failure(
            str(_first(group)),
            "start this node with the same ER_PERSIST; to change it, stop all nodes, then start them with the new one",
        ) from group
    except* (RedisUnavailable, StoreError, Unavailable) as group:
        error = _first(group)
        raise Failure(
            f"{type(error).__name__}: {error}",
            "run `event-router doctor`; it looks at Redis and PostgreSQL and says what to do",
            ExitCode.UNREACHABLE,
        ) from error


async def _run(
    settings: Settings, announce: Callable[[str], None], asked: Callable[[], Awaitable[None]] | None
) -> None:
    stop = asyncio.Event()
    serving = asyncio.Event()
    once, forced = asyncio.Event(), asyncio.Event()

    def ready(address: str) -> None:
        serving.set()
        announce(address)

    async with asyncio.TaskGroup() as tasks:
        node = tasks.create_task(run(settings, stop, ready), name="node")

        def ask() -> None:
            stop.set()
            if not serving.is_set():
                node.cancel()

        def signalled() -> None:
            if once.is_set():
                forced.set()
                node.cancel()
            once.set()
            ask()

        async def ask_when_asked(asked: Callable[[], Awaitable[None]]) -> None:
            await asked()
            ask()

        if asked is not None:
            asking = tasks.create_task(ask_when_asked(asked), name="asked to stop")
            node.add_done_callback(lambda _: asking.cancel())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, signalled)
    if forced.is_set():
        raise Failure("ended at the second signal, before all was drained", code=ExitCode.INTERRUPTED)


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
