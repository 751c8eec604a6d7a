"""A Kafka destination: the consumer of a subscription that sends each delivery to a topic."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping

import structlog

from router_client.errors import EventRouterError, InvalidInput, TooLarge
from router_client.kafka.records import Outgoing, write_event
from router_client.spec import SubscriptionSpec
from router_node.clock import Clock
from router_node.contract import Delivery, Nack, Remark, Settlement
from router_node.delivery.retry import backoff_s
from router_node.destinations.breaker import Breaker, State
from router_node.destinations.voice import Voice
from router_node.destinations.webhook import Hold
from router_node.kafka.producers import Placed

Send = Callable[[Mapping[str, object], Outgoing, float], Awaitable[Placed]]

log = structlog.get_logger(__name__)


class KafkaCounts:
    """What all Kafka destinations of a node have done, for the metrics."""

    def __init__(self) -> None:
        self.delivered = self.failed = self.rejected = self.in_flight = self.open_breakers = 0


class KafkaTopic:
    """Sends to one topic; its credit is what may be under way now.

    A delivery is acknowledged when all replicas in sync have its record. What another attempt may mend is tried again
    by the subscription's policy; while nothing gets through the topic is left alone, and deliveries wait without using
    up attempts. ``share`` tells among how many nodes ``concurrency`` is divided, ``spawn`` runs a send.
    """

    def __init__(
        self,
        spec: SubscriptionSpec,
        send: Send,
        clock: Clock,
        counts: KafkaCounts,
        share: Callable[[], int],
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        self._spec = spec
        self._send = send
        self._clock = clock
        self._counts = counts
        self._share = share
        self._spawn = spawn
        self._breaker = Breaker()
        self._voice = Voice()
        self._in_flight = 0
        self._waking: asyncio.TimerHandle | None = None
        self._hold: Hold | None = None

    def begin(self, hold: Hold) -> None:
        """Begin to take deliveries."""
        self._hold = hold
        self.refresh()

    def change(self, spec: SubscriptionSpec) -> None:
        """Take on another spec of the same destination's kind; a topic that was mended is tried at once."""
        if (spec.destination, spec.paused) != (self._spec.destination, self._spec.paused):
            self._close_breaker()
        self._spec = spec
        self.refresh()

    def push(self, deliveries: list[Delivery]) -> None:
        """See Consumer."""
        self._in_flight += len(deliveries)
        self._counts.in_flight += len(deliveries)
        for delivery in deliveries:
            self._spawn(self._deliver(delivery))

    def ended(self, error: EventRouterError) -> None:
        """See Consumer."""
        self.stop()

    def stop(self) -> None:
        """Begin no more; what is under way is still settled."""
        hold, self._hold = self._hold, None
        if self._waking is not None:
            self._waking.cancel()
        self._close_breaker()
        if hold is not None:
            hold.set_credit(0)
            hold.detach(requeue=False)

    def refresh(self) -> None:
        """Allow what may begin now, and look again when the breaker lets one through."""
        if self._hold is None:
            return
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None
        now = self._clock.monotonic()
        state = self._breaker.state(now)
        if state is State.OPEN:
            self._hold.set_credit(0)
            delay_s = max((self._breaker.reopens_at() or now) - now, 0.001)
            self._waking = asyncio.get_running_loop().call_later(delay_s, self.refresh)
            return
        most = 1 if state is State.HALF_OPEN else -(-int(self._spec.destination["concurrency"]) // self._share())
        self._hold.set_credit(max(0, most - self._in_flight))

    async def _deliver(self, delivery: Delivery) -> None:
        spec, hold = self._spec, self._hold
        probing = self._breaker.state(self._clock.monotonic()) is State.HALF_OPEN
        try:
            outcome = await self._attempt(spec, delivery)
            if hold is not None:
                self._settle(spec, hold, delivery, outcome, probing=probing)
        finally:
            self._in_flight -= 1
            self._counts.in_flight -= 1
            self.refresh()

    async def _attempt(self, spec: SubscriptionSpec, delivery: Delivery) -> Placed | EventRouterError:
        destination = spec.destination
        content = "event" if destination["format"] == "event" else destination["mode"]
        try:
            record = write_event(delivery.body, content, destination["key"])
        except InvalidInput as error:
            return InvalidInput(f"the event cannot be sent as a CloudEvent: {error}")
        try:
            return await self._send(destination, record, destination["timeout_s"])
        except TooLarge as error:
            return error
        except EventRouterError as error:
            return _Failed(str(error))
        except Exception as error:  # what one delivery brings to light is not to end the node
            log.exception("a fault of the router in sending to Kafka", subscription=spec.name)
            return _Failed(f"a fault of the router: {type(error).__name__}: {error}")

    def _settle(
        self,
        spec: SubscriptionSpec,
        hold: Hold,
        delivery: Delivery,
        outcome: Placed | EventRouterError,
        *,
        probing: bool,
    ) -> None:
        if isinstance(outcome, Placed):
            self._counts.delivered += 1
            self._healthy(spec)
            remark = Remark(response=f"{outcome.topic}, partition {outcome.partition}, offset {outcome.offset}")
            hold.settle(Settlement(ack=[delivery.delivery_id], remarks={delivery.delivery_id: remark}))
            return
        error = str(outcome)
        self._say(spec, error)
        if not isinstance(outcome, _Failed):
            self._counts.rejected += 1
            self._healthy(spec)
            hold.settle(Settlement(reject=[Nack(delivery.delivery_id, None, error)]))
            return
        self._counts.failed += 1
        self._unhealthy(spec, error)
        if probing:
            hold.undo(delivery.delivery_id)  # this says nothing of the event, and is not to be what it dies of
            return
        delay_s = backoff_s(spec.retry, delivery.attempt, self._clock.random)
        hold.settle(Settlement(nack=[Nack(delivery.delivery_id, delay_s, error)]))

    def _close_breaker(self) -> None:
        if self._breaker.reopens_at() is not None:
            self._counts.open_breakers -= 1
        self._breaker = Breaker()

    def _healthy(self, spec: SubscriptionSpec) -> None:
        if self._breaker.succeeded():
            self._counts.open_breakers -= 1
            log.info("a Kafka topic takes events again", subscription=spec.name, topic=spec.destination["topic"])

    def _unhealthy(self, spec: SubscriptionSpec, error: str) -> None:
        before = self._breaker.reopens_at()
        if self._breaker.failed(self._clock.monotonic()):
            self._counts.open_breakers += before is None
            log.warning(
                "a Kafka topic takes no events and is left alone for a while",
                subscription=spec.name,
                topic=spec.destination["topic"],
                error=error,
            )

    def _say(self, spec: SubscriptionSpec, error: str) -> None:
        held_back = self._voice.may_say("failed", self._clock.monotonic())
        if held_back is not None:
            log.warning(
                "a Kafka topic did not take an event",
                subscription=spec.name,
                topic=spec.destination["topic"],
                error=error,
                like_it_before=held_back,
            )


class _Failed(EventRouterError):
    """An attempt that another may mend."""
