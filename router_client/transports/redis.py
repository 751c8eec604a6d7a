"""The Redis transport: publishes are appended to the log without a node in between, subscriptions go to a node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from msgspec import Raw

from partitioning.errors import RedisUnavailable
from partitioning.keys import Keys
from partitioning.membership import HEARTBEAT
from partitioning.redis_connect import connect
from router_client.appending.group_commit import Appended, Appender
from router_client.appending.intake import Accepted
from router_client.appending.redis_append import APPEND
from router_client.errors import ClosedError, ConnectionLost, EventRouterError, InvalidInput, Unavailable
from router_client.kept_form import kept_form
from router_client.options import ClientOptions
from router_client.spec import SubscriptionSpec
from router_client.transports.admission import Admission
from router_client.transports.direct_log import DirectLog
from router_client.transports.live_nodes import LiveNodes
from router_client.transports.port import Channel, Inbox, Outcome, PublishResult, Records
from router_client.transports.websocket import WebSocketTransport

PIPELINED = 32
NODES_TRIED = 3

_log = logging.getLogger(__name__)


class RedisTransport:
    """See Transport.

    The URL is one of a node's ER_REDIS_URL, with ``?cluster=`` for its ER_CLUSTER. Publishes of one moment are one
    write, as in a node. The first subscription, or question about what is stored, connects to a node that lives, at the
    address it tells; when that is lost, to another. Anyone who can use this can do all that Redis allows.
    """

    ordered_batches = PIPELINED

    def __init__(self, url: str, options: ClientOptions) -> None:
        address, cluster = _parted(url)
        try:
            self._commands = connect(address, [APPEND, HEARTBEAT], timeout_s=options.request_timeout_s)
        except ValueError as error:
            raise InvalidInput(str(error), field="url") from error
        self._options = options
        self._admission = Admission(options)
        self._log = DirectLog(self._commands, Keys(cluster), options, self._admission)
        self._appenders = {
            "accepted": Appender(self._log.append, self._log.relocate),
            "replicated": Appender(self._log.append_replicated, self._log.relocate),
        }
        self._nodes = LiveNodes(cluster, self._log.members)
        self._router: WebSocketTransport | None = None
        self._opening = asyncio.Lock()
        self._in_turn = asyncio.Lock()
        self._answers: set[asyncio.Future[list[Outcome]]] = set()
        self._owner: asyncio.Task[None] | None = None
        self._over: EventRouterError | None = None
        self.records: Records = _NodesRecords(self._through_a_node)

    async def start(self) -> None:
        """See Transport. Raises NotFound when the cluster has no data on this Redis."""
        try:
            async with asyncio.timeout(self._options.connect_timeout_s):
                await self._log.open()
        except (RedisUnavailable, TimeoutError) as error:
            await self._commands.close()
            raise ConnectionLost(f"Redis cannot be reached: {error or 'no answer in time'}") from error
        except BaseException:
            await self._commands.close()
            raise
        self._owner = asyncio.create_task(self._own(), name="appending to Redis")

    async def close(self) -> None:
        """See Transport."""
        owner, self._owner = self._owner, None
        self._over = self._over or ClosedError("the client is closed")
        if owner is None:
            return
        try:
            if not await self._admission.ended(self._options.close_timeout_s):
                _log.warning("closed with publishes unanswered")
            if self._router is not None:
                await self._router.close()
        finally:
            owner.cancel()
            await asyncio.wait([owner])
            await self._commands.close()

    async def publish(self, bodies: Sequence[bytes], ack: str) -> list[Outcome]:
        """See Transport. ``stored`` is refused: when an event is stored is known to nodes only."""
        if self._over is not None:
            raise self._over
        appender = self._appenders.get(ack)
        if appender is None:
            raise InvalidInput(_refusal(ack), field="ack")
        async with self._admission.publish():
            answer: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
            async with self._in_turn:
                await self._log.connected()
                self._hand_in(appender, bodies, answer)
            self._answers.add(answer)
            try:
                return await answer
            finally:
                self._answers.discard(answer)

    async def subscribe(self, spec: SubscriptionSpec, inbox: Inbox, credit: int) -> Channel:
        """See Transport. Raises ConnectionLost when no node can be reached."""
        return await (await self._through_a_node()).subscribe(spec, inbox, credit)

    def _hand_in(self, appender: Appender, bodies: Sequence[bytes], answer: asyncio.Future[list[Outcome]]) -> None:
        accepted = [self._log.read(kept_form(body) or Raw(body)) for body in bodies]

        def done(appended: Appended | EventRouterError) -> None:
            if answer.done():
                return  # whoever asked was cancelled
            if isinstance(appended, EventRouterError):
                answer.set_exception(appended)
            else:
                answer.set_result(_outcomes(accepted, appended))

        records = [each[1] for each in accepted if isinstance(each, tuple)]
        if records:
            appender.hand_in(records, done)
        else:
            done([])

    async def _own(self) -> None:
        error: EventRouterError = ClosedError("the client is closed")
        try:
            async with asyncio.TaskGroup() as tasks:
                for appender in self._appenders.values():
                    tasks.create_task(appender.run(), name="group commit")
                tasks.create_task(self._log.run(), name="connection to Redis")
        except* EventRouterError as group:
            error = next(each for each in group.exceptions if isinstance(each, EventRouterError))
            _log.error("gave up on Redis: %s", error.detail)
        except* Exception:  # noqa: BLE001 - a fault of ours: whoever waits must hear of it all the same
            error = Unavailable("the client failed; its log says why")
            _log.exception("appending to Redis failed")
        finally:
            self._over = self._over or error
            self._log.end(self._over)
            for answer in self._answers:
                if not answer.done():
                    answer.set_exception(self._over)

    async def _through_a_node(self) -> WebSocketTransport:
        if self._over is not None:
            raise self._over
        async with self._opening:
            if self._router is None:
                router = WebSocketTransport("", self._options, self._nodes.another)
                await _started(router)
                self._router = router
            return self._router


class _NodesRecords:
    """See Records; asked of the node the client is connected to."""

    def __init__(self, node: Callable[[], Awaitable[WebSocketTransport]]) -> None:
        self._node = node

    async def event(self, event_id: str) -> dict[str, Any]:
        """See Records."""
        return await (await self._node()).records.event(event_id)

    async def events(self, query: Mapping[str, str]) -> dict[str, Any]:
        """See Records."""
        return await (await self._node()).records.events(query)

    async def dead_letters(self, query: Mapping[str, str]) -> dict[str, Any]:
        """See Records."""
        return await (await self._node()).records.dead_letters(query)

    async def replay_dead_letters(self, letter_ids: Sequence[str]) -> int:
        """See Records."""
        return await (await self._node()).records.replay_dead_letters(letter_ids)


async def _started(router: WebSocketTransport) -> None:
    """Connect to a node. One that has just died may still be named, so several are tried."""
    for left in range(NODES_TRIED - 1, -1, -1):
        try:
            await router.start()
        except ConnectionLost:
            if not left:
                raise
        else:
            return


def _outcomes(accepted: Sequence[Accepted], appended: Appended) -> list[Outcome]:
    following = iter(appended)
    outcomes: list[Outcome] = []
    for each in accepted:
        if isinstance(each, EventRouterError):
            outcomes.append(each)
            continue
        record, answer = next(following)
        outcomes.append(PublishResult(each[0], record.partition, answer) if isinstance(answer, bool) else answer)
    return outcomes


def _refusal(ack: str) -> str:
    if ack == "stored":
        return "redis:// offers accepted and replicated; what must be stored is published over ws:// or http://"
    return "one of accepted, replicated"


def _parted(url: str) -> tuple[str, str]:
    """Part the name of the cluster from the URL of Redis."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    named = [value for name, value in query if name == "cluster"]
    if len(named) > 1 or named == [""]:
        raise InvalidInput("names one cluster: ?cluster=default", field="url")
    rest = urlencode([(name, value) for name, value in query if name != "cluster"])
    return urlunsplit(parts._replace(query=rest)), named[0] if named else "default"
