"""A webhook: the consumer of a subscription that calls an endpoint for each delivery."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

import structlog

from router_client.errors import EventRouterError
from router_client.spec import SubscriptionSpec
from router_node.clock import Clock
from router_node.contract import Delivery, Nack, Remark, Settlement
from router_node.delivery.retry import backoff_s
from router_node.destinations.outlet import Hold, Outlet, Tally
from router_node.destinations.token_bucket import TokenBucket
from router_node.destinations.webhook_call import Answer, Caller, message_of

GONE = 410
RETRIED = frozenset({408, GONE, 425, 429})
SERVER_FAULTS = 500
UNSENDABLE = "unsendable"
"""A kind of answer: the event cannot be put into a message at all."""

FAILURES = ("timed_out", "refused", "unreachable", "broken")

log = structlog.get_logger(__name__)


class Counts(Tally):
    """What all webhooks of a node have done, for the metrics."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.failures = dict.fromkeys(FAILURES, 0)


class Webhook(Outlet):
    """Calls one endpoint from this node, as often and as much at a time as its part of the cluster's bounds allows.

    ``gone`` pauses the subscription when the endpoint says that it wants no more (410), if it can.
    """

    def __init__(
        self,
        spec: SubscriptionSpec,
        caller: Caller,
        clock: Clock,
        counts: Counts,
        share: Callable[[], int],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        gone: Callable[[SubscriptionSpec, str], Awaitable[bool]],
    ) -> None:
        super().__init__(spec, clock, counts, share, spawn)
        self._caller = caller
        self._counts = counts
        self._gone = gone
        self._sharers = 0
        self._bucket = TokenBucket(None, clock.monotonic())

    def change(self, spec: SubscriptionSpec) -> None:
        """See Outlet."""
        self._sharers = 0
        super().change(spec)

    def push(self, deliveries: list[Delivery]) -> None:
        """See Consumer."""
        self._bucket.take(len(deliveries))
        super().push(deliveries)

    def _divide(self, now: float) -> int:
        sharers = self._share()
        if sharers != self._sharers:
            self._sharers = sharers
            rate = self._spec.destination["rate"]
            self._bucket.change(None if rate is None else rate / sharers, now)
        return sharers

    def _may_begin(self, free: int, now: float) -> int:
        tokens = self._bucket.available(now)
        if free and not tokens:
            self._wake_at(self._bucket.next_at(now), now)
        return min(free, tokens)

    async def _carry(self, spec: SubscriptionSpec, hold: Hold | None, delivery: Delivery, *, probing: bool) -> None:
        answer = await self._call(spec, delivery)
        self._counts.calls += 1
        if hold is not None:
            await self._settle(spec, hold, delivery, answer, probing=probing)

    async def _call(self, spec: SubscriptionSpec, delivery: Delivery) -> Answer:
        destination = spec.destination
        try:
            headers, body = message_of(delivery.body, spec.name, destination, self._clock.log_us() / 1e6)
            return await self._caller.post(destination["url"], headers, body, destination["timeout_s"])
        except EventRouterError as error:
            return Answer(UNSENDABLE, error=f"the event cannot be sent as a CloudEvent: {error}")
        except Exception as error:  # what one delivery brings to light is not to end the node
            log.exception("a fault of the router in a webhook's call", subscription=spec.name)
            return Answer("broken", error=f"a fault of the router: {type(error).__name__}: {error}")

    async def _settle(
        self, spec: SubscriptionSpec, hold: Hold, delivery: Delivery, answer: Answer, *, probing: bool
    ) -> None:
        """Do what an answer means, for the delivery and for the endpoint's health."""
        remarks = {delivery.delivery_id: Remark(answer.status, answer.response)}
        if answer.kind == "2xx":
            self._counts.delivered += 1
            self._healthy(spec)
            hold.settle(Settlement(ack=[delivery.delivery_id], remarks=remarks))
            return
        error = answer.error or f"the endpoint answered {answer.status}"
        self._say(spec, answer.kind, error)
        gone = answer.status == GONE and await self._gone(spec, f"{place_of(spec)} answered 410 Gone")
        if not self._is_retried(spec, answer):
            self._counts.rejected += 1
            if answer.kind != UNSENDABLE:
                self._healthy(spec)
            hold.settle(Settlement(reject=[Nack(delivery.delivery_id, None, error)], remarks=remarks))
            return
        self._counts.failed += 1
        if not gone:
            self._unhealthy(spec, answer, error)
        if (gone and delivery.attempt >= spec.retry.max_attempts) or (probing and answer.reached_nobody):
            hold.undo(delivery.delivery_id)  # this says nothing of the event, and is not to be what it dies of
            return
        delay_s = max(backoff_s(spec.retry, delivery.attempt, self._clock.random), answer.retry_after_s)
        hold.settle(Settlement(nack=[Nack(delivery.delivery_id, delay_s, error)], remarks=remarks))

    def _is_retried(self, spec: SubscriptionSpec, answer: Answer) -> bool:
        status = answer.status
        if status is None:
            return answer.kind != UNSENDABLE
        return status >= SERVER_FAULTS or status in RETRIED or status in spec.destination["retry_on"]

    def _healthy(self, spec: SubscriptionSpec) -> None:
        if self._works_again():
            log.info("a webhook works again", subscription=spec.name, url=place_of(spec))

    def _unhealthy(self, spec: SubscriptionSpec, answer: Answer, error: str) -> None:
        if answer.kind in FAILURES:
            self._counts.failures[answer.kind] += 1
        if self._is_left_alone():
            now = self._clock.monotonic()
            log.warning(
                "a webhook keeps failing and is left alone for a while",
                subscription=spec.name,
                url=place_of(spec),
                pause_s=round((self._breaker.reopens_at() or now) - now, 1),
                error=error,
            )

    def _say(self, spec: SubscriptionSpec, kind: str, error: str) -> None:
        held_back = self._voice.may_say(kind, self._clock.monotonic())
        if held_back is not None:
            log.warning(
                "a webhook did not take an event",
                subscription=spec.name,
                url=place_of(spec),
                error=error,
                like_it_before=held_back,
            )


def place_of(spec: SubscriptionSpec) -> str:
    """Return a webhook's URL without its query, which may hold what is nobody's business."""
    return str(urlsplit(spec.destination["url"])._replace(query="").geturl())
