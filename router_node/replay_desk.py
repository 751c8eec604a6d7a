"""What operators ask of replays; see contract.ReplayDesk."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from router_client.errors import Conflict, InvalidInput, NotFound, Unavailable
from router_client.event import parse_time
from router_client.json_input import only
from router_client.topics import check_pattern
from router_node.replaying import RUNNING_AT_MOST, Replaying
from router_node.routing.registry import Registry
from router_node.security.gate import OPEN, Access
from router_node.security.permission import may_consume, may_replay, refusal, unknown_subscription
from router_node.storing import Storing
from stores.errors import StoreError
from stores.moments import micros
from stores.ports import Replay, Replays
from stores.replays import ReplayState

DEFAULT_RATE, MAX_RATE = 500.0, 10_000.0
MAX_TEXT = 4096
MEMBERS = ("subscription", "type", "correlation_id", "source", "from", "to", "payload", "rate")

T = TypeVar("T")


class ReplayDesk:
    """Replays of the cluster; any node answers. ``now_us`` is the log's clock; ``stir`` tells the other nodes that a
    replay was begun or ended.
    """

    def __init__(
        self,
        replays: Replays,
        registry: Registry,
        storing: Storing,
        replaying: Replaying,
        now_us: Callable[[], Awaitable[int]],
        stir: Callable[[], None],
    ) -> None:
        self._replays = replays
        self._registry = registry
        self._storing = storing
        self._replaying = replaying
        self._now_us = now_us
        self._tell_others = stir

    async def start(self, body: object, *, access: Access = OPEN) -> dict[str, Any]:
        """See contract.ReplayDesk."""
        subscription, query, rate = _checked(body)
        topics = self._registry.spec(subscription).topics
        if not may_consume(access, topics):
            raise unknown_subscription(subscription)
        if not may_replay(access, topics, query.get("type")):
            raise refusal(access, f"read stored events of {query.get('type') or ', '.join(topics)}", "type")
        return await self.begin(subscription, query, rate, await self._now_us())

    async def begin(self, subscription: str, query: dict[str, Any], rate: float, now_us: int) -> dict[str, Any]:
        """Start a replay of what was accepted before ``now_us``, or before its ``to`` when that is earlier.

        Raises NotStored, NotFound, Conflict and Unavailable.
        """
        self._storing.check()
        # What is replayed counts as accepted when the replay began: no earlier seek passes over it.
        began_us = max(now_us, self._registry.spec(subscription).skip_before_us)
        to_us = min(micros(parse_time(query["to"], "to")), now_us) if "to" in query else now_us
        if len(await self._stored(self._replays.running())) >= RUNNING_AT_MOST:
            raise Conflict(f"{RUNNING_AT_MOST} replays run already; wait for one, or cancel it")
        replay = Replay(
            id=secrets.token_hex(8),
            subscription=subscription,
            query={**query, "to": moment_text(to_us)},
            rate=rate,
            created_at_us=began_us,
            updated_at_us=began_us,
        )
        await self._stored(self._replays.add(replay))
        self._stir()
        return replay_object(replay)

    async def end_of(self, subscription: str, state: ReplayState, why: str, *, but: str = "") -> None:
        """End what runs for a subscription, but for the replay of that id. Raises Unavailable."""
        now_us = await self._now_us()
        for each in await self._stored(self._replays.running()):
            if each.subscription == subscription and each.id != but:
                ended = replace(each, state=state, error=why, updated_at_us=now_us)
                await self._stored(self._replays.change(ended))
        self._stir()

    async def list(self, limit: int, cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
        """See contract.ReplayDesk."""
        page = await self._stored(self._replays.page(limit, cursor))
        return [replay_object(each) for each in page.replays], page.next

    async def one(self, replay_id: str) -> dict[str, Any]:
        """See contract.ReplayDesk."""
        return replay_object(await self._get(replay_id))

    async def cancel(self, replay_id: str) -> dict[str, Any]:
        """See contract.ReplayDesk."""
        found = await self._get(replay_id)
        cancelled = replace(found, state="cancelled", updated_at_us=await self._now_us())
        if not await self._stored(self._replays.change(cancelled)):
            raise Conflict(f"replay {replay_id} is {(await self._get(replay_id)).state} already", field="id")
        self._stir()
        return replay_object(cancelled)

    def _stir(self) -> None:
        self._replaying.stir()
        self._tell_others()

    async def _get(self, replay_id: str) -> Replay:
        found = await self._stored(self._replays.get(replay_id))
        if found is None:
            raise NotFound(f"no replay {replay_id}", field="id")
        return found

    async def _stored(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except StoreError as error:
            raise Unavailable(f"the store cannot answer: {error}") from error


def replay_object(replay: Replay) -> dict[str, Any]:
    """Return a replay as the JSON object of the API."""
    return {
        "id": replay.id,
        "subscription": replay.subscription,
        "query": dict(replay.query),
        "rate": replay.rate,
        "state": replay.state,
        "delivered": replay.delivered,
        "skipped": replay.skipped,
        "error": replay.error,
        "created_at": moment_text(replay.created_at_us),
        "updated_at": moment_text(replay.updated_at_us),
    }


def _checked(body: object) -> tuple[str, dict[str, Any], float]:
    given = {name: value for name, value in only(body, *MEMBERS).items() if value is not None}
    if not isinstance(given.get("subscription"), str):
        raise InvalidInput("is required: the subscription that gets the events", field="subscription")
    query: dict[str, Any] = {}
    if "type" in given:
        query["type"] = check_pattern(given["type"], "type")
    for name in ("correlation_id", "source"):
        if name in given:
            if not isinstance(given[name], str) or not 0 < len(given[name]) <= MAX_TEXT:
                raise InvalidInput(f"text of 1 to {MAX_TEXT} characters", field=name)
            query[name] = given[name]
    times = {name: parse_time(given[name], name) for name in ("from", "to") if name in given}
    if "from" in times and "to" in times and times["from"] >= times["to"]:
        raise InvalidInput("must be after from", field="to")
    query |= {name: time.isoformat() for name, time in times.items()}
    if "payload" in given:
        if not isinstance(given["payload"], dict):
            raise InvalidInput("must be a JSON object", field="payload")
        query["payload"] = given["payload"]
    return given["subscription"], query, _rate(given.get("rate", DEFAULT_RATE))


def _rate(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.1 <= value <= MAX_RATE:
        raise InvalidInput(f"a number from 0.1 to {MAX_RATE:g}, in events a second", field="rate")
    return float(value)


def moment_text(time_us: int) -> str:
    """Return microseconds since 1970 as RFC 3339 text in UTC, exactly."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
