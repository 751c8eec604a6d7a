"""A Kafka destination: the consumer of a subscription that sends each delivery to a topic."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import structlog

from router_client.errors import EventRouterError, InvalidInput, TooLarge
from router_client.kafka.records import Outgoing, write_event
from router_client.spec import SubscriptionSpec
from router_node.clock import Clock
from router_node.contract import Delivery, Nack, Remark, Settlement
from router_node.delivery.retry import backoff_s
from router_node.destinations.outlet import Hold, Outlet, Tally
from router_node.kafka.producers import Placed

Send = Callable[[Mapping[str, object], Outgoing, float], Awaitable[Placed]]

log = structlog.get_logger(__name__)


class KafkaTopic(Outlet):
    """Sends to one topic.

    A delivery is acknowledged when all replicas in sync have its record. What another attempt may mend is tried again
    by the subscription's policy.
    """

    def __init__(
        self,
        spec: SubscriptionSpec,
        send: Send,
        clock: Clock,
        counts: Tally,
        share: Callable[[], int],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        super().__init__(spec, clock, counts, share, spawn)
        self._send = send

    async def _carry(self, spec: SubscriptionSpec, hold: Hold | None, delivery: Delivery, *, probing: bool) -> None:
        outcome = await self._attempt(spec, delivery)
        if hold is not None:
            self._settle(spec, hold, delivery, outcome, probing=probing)

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
            self._tally.delivered += 1
            self._healthy(spec)
            remark = Remark(response=f"{outcome.topic}, partition {outcome.partition}, offset {outcome.offset}")
            hold.settle(Settlement(ack=[delivery.delivery_id], remarks={delivery.delivery_id: remark}))
            return
        error = str(outcome)
        self._say(spec, error)
        if not isinstance(outcome, _Failed):
            self._tally.rejected += 1
            self._healthy(spec)
            hold.settle(Settlement(reject=[Nack(delivery.delivery_id, None, error)]))
            return
        self._tally.failed += 1
        self._unhealthy(spec, error)
        if probing:
            hold.undo(delivery.delivery_id)  # this says nothing of the event, and is not to be what it dies of
            return
        delay_s = backoff_s(spec.retry, delivery.attempt, self._clock.random)
        hold.settle(Settlement(nack=[Nack(delivery.delivery_id, delay_s, error)]))

    def _healthy(self, spec: SubscriptionSpec) -> None:
        if self._works_again():
            log.info("a Kafka topic takes events again", subscription=spec.name, topic=spec.destination["topic"])

    def _unhealthy(self, spec: SubscriptionSpec, error: str) -> None:
        if self._is_left_alone():
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
