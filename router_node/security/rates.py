"""How much each principal may ask for a second, over the whole cluster.

A node takes tokens off the cluster's bucket for a twentieth of a second ahead, so that few events cost a call. An
allowance may be overdrawn by one batch, which is then worked off: a batch needs no more than one token to begin.
While the cluster's buckets cannot be asked, each node keeps one of its own, filled at its share of the rate.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Protocol

import structlog

from partitioning.errors import RedisUnavailable
from router_client.errors import RateLimited, Unauthenticated
from router_node.destinations.token_bucket import TokenBucket
from router_node.security.gate import Access
from router_node.security.permit import Permit, permit_of

AHEAD_S = 0.05
"""For how long a node takes tokens ahead."""
KEPT_S = 1.0
"""How long tokens that nobody used are kept."""
PAUSE_S = 0.02
"""How long a bucket that had too little is not asked again."""
ANSWER_S = 0.25
ALONE_S = 1.0
"""How long a node goes by its own buckets after the cluster's did not answer."""
MAX_ALLOWANCES = 20_000

PUBLISH, REQUEST = "publish", "request"

log = structlog.get_logger(__name__)


class Tokens(Protocol):
    """The buckets of the cluster."""

    async def take(self, action: str, principal: str, rate: float, wanted: int) -> int:
        """Take up to ``wanted`` tokens of a bucket that fills up at ``rate`` a second; returns how many there were.

        Raises RedisUnavailable.
        """
        ...


class _Allowance:
    """Tokens in hand of one principal for one action; below zero what was overdrawn."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self.left = 0
        self.taken_at = now
        self.ask_at = now
        self.own = TokenBucket(rate, now)
        self.asking = asyncio.Lock()

    def ready(self, now: float) -> bool:
        if self.left > 0 and now - self.taken_at > KEPT_S:
            self.left = 0
        return self.left > 0 or now < self.ask_at

    def wanted(self) -> int:
        return max(1, round(self.rate * AHEAD_S)) - self.left

    def add(self, tokens: int, wanted: int, now: float) -> None:
        self.left += tokens
        self.taken_at = now
        self.ask_at = now if tokens >= wanted else now + PAUSE_S

    def wait_s(self, now: float) -> float:
        return max((1 - self.left) / self.rate, self.ask_at - now)


class Rates:
    """Holds every principal to its rates. ``shared`` are the cluster's buckets (None: this node is alone), ``nodes``
    tells how many nodes there are.
    """

    def __init__(
        self,
        shared: Tokens | None = None,
        nodes: Callable[[], int] = lambda: 1,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared = shared
        self._nodes = nodes
        self._now = now
        self._allowances: OrderedDict[tuple[str, str], _Allowance] = OrderedDict()
        self._alone_until = 0.0
        self.refused: Counter[str] = Counter()
        self.asked = 0
        self.unanswered = 0

    def __len__(self) -> int:
        return len(self._allowances)

    async def request(self, access: Access) -> None:
        """Take one request off its principal's rate. Raises RateLimited."""
        rate = access.limits.requests_per_s
        if rate is not None:
            await self._refill(access, REQUEST, rate)
            self._take(access, REQUEST, rate, 1)

    async def permit(self, access: Access, events: int) -> Permit | None:
        """Take the events of a publish off its principal's rate; returns what else they must keep to.

        Raises RateLimited, and Unauthenticated once the credential is over.
        """
        await self.refill(access)
        return self.permit_now(access, events)

    def permit_now(self, access: Access, events: int) -> Permit | None:
        """As :meth:`permit`, when it is :meth:`ready`."""
        permit = permit_of(access)
        if permit is not None and events:
            rate = access.limits.publish_per_s
            if rate is not None:
                self._take(access, PUBLISH, rate, events)
        return permit

    def ready(self, access: Access) -> bool:
        """Tell whether it is known, without asking the cluster, that something may be published now, or may not."""
        rate = _publish_rate(access)
        return rate is None or self._allowance(access, PUBLISH, rate).ready(self._now())

    async def refill(self, access: Access) -> None:
        """Return when it is :meth:`ready`."""
        rate = _publish_rate(access)
        if rate is not None:
            await self._refill(access, PUBLISH, rate)

    def _take(self, access: Access, action: str, rate: float, count: int) -> None:
        allowance, now = self._allowance(access, action, rate), self._now()
        if allowance.left <= 0:
            self.refused[action] += 1
            raise RateLimited(
                f"{access.principal.name} has had its {rate:g} {_COUNTED[action]} a second",
                retry_after_s=round(allowance.wait_s(now), 3),
            )
        allowance.left -= count

    async def _refill(self, access: Access, action: str, rate: float) -> None:
        allowance = self._allowance(access, action, rate)
        if allowance.ready(self._now()):
            return
        async with allowance.asking:
            if not allowance.ready(self._now()):
                wanted = allowance.wanted()
                tokens = await self._tokens(access.principal.name, action, allowance, wanted)
                allowance.add(tokens, wanted, self._now())

    async def _tokens(self, principal: str, action: str, allowance: _Allowance, wanted: int) -> int:
        now = self._now()
        if self._shared is None:
            return _own(allowance, allowance.rate, wanted, now)
        if now >= self._alone_until:
            self.asked += 1
            try:
                async with asyncio.timeout(ANSWER_S):
                    return await self._shared.take(action, principal, allowance.rate, wanted)
            except (RedisUnavailable, TimeoutError) as error:
                self.unanswered += 1
                now = self._now()
                if now >= self._alone_until:
                    log.warning("rates are kept by this node alone for now", error=str(error) or "time-out")
                self._alone_until = now + ALONE_S
        return _own(allowance, allowance.rate / max(1, self._nodes()), wanted, now)

    def _allowance(self, access: Access, action: str, rate: float) -> _Allowance:
        key = (action, access.principal.name)
        allowance = self._allowances.get(key)
        if allowance is None:
            allowance = self._allowances[key] = _Allowance(rate, self._now())
            if len(self._allowances) > MAX_ALLOWANCES:
                self._allowances.popitem(last=False)
        else:
            self._allowances.move_to_end(key)
            allowance.rate = rate
        return allowance


def _publish_rate(access: Access) -> float | None:
    try:
        return access.limits.publish_per_s
    except Unauthenticated:
        return None  # which it is told when it publishes


_COUNTED = {PUBLISH: "events", REQUEST: "requests"}


def _own(allowance: _Allowance, rate: float, wanted: int, now: float) -> int:
    allowance.own.change(rate, now)
    tokens = min(wanted, allowance.own.available(now))
    allowance.own.take(tokens)
    return tokens
