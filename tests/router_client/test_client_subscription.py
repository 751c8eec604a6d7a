from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest

from router_client import ClientOptions, ClosedError, Deliveries, EventRouterClient, InvalidInput, SubscriptionBuilder
from router_client.spec import RetryPolicy, SubscriptionSpec
from router_client.subscription import Consumption


def never(_: SubscriptionSpec, __: Consumption) -> AbstractAsyncContextManager[Deliveries]:
    raise AssertionError("not opened in these tests")


START = SubscriptionBuilder("late", never)


def test_every_step_says_its_part_of_the_subscription() -> None:
    builder = (
        START.topics("flights.departed.>", "flights.arrived.>")
        .topics("orders.*")
        .where({"payload.dep_delay": {"$gt": 60}})
        .ordering("none")
        .retry(max_attempts=3, base_s=0.5)
        .ack_timeout(5)
        .max_in_flight(500)
    )
    assert builder.spec() == SubscriptionSpec(
        name="late",
        topics=("flights.departed.>", "flights.arrived.>", "orders.*"),
        filter={"payload.dep_delay": {"$gt": 60}},
        ordering="none",
        retry=RetryPolicy(max_attempts=3, base_s=0.5),
        ack_timeout_s=5,
        max_in_flight=500,
    )


def test_an_ephemeral_one_says_its_buffer() -> None:
    spec = START.topics("a.*").ephemeral(buffer=5, overflow="block").spec()
    assert (spec.durable, spec.buffer, spec.overflow) == (False, 5, "block")


def test_steps_leave_the_builder_they_started_from_as_it_was() -> None:
    base = START.topics("a.*")
    base.topics("b.*").where({"source": "eu"}).credit(7)
    assert base.spec() == SubscriptionSpec(name="late", topics=("a.*",))
    assert base.consumption.credit == 100


def test_how_the_client_consumes_is_no_part_of_the_subscription() -> None:
    builder = START.topics("a.*").credit(7).remember(0)
    assert builder.spec() == START.topics("a.*").spec()
    assert (builder.consumption.credit, builder.consumption.remember) == (7, 0)


@pytest.mark.parametrize(
    ("builder", "field"),
    [
        (START, "topics"),
        (START.topics("a.>.b"), "topics[0]"),
        (START.topics("a").ack_timeout(0), "ack_timeout_s"),
        (START.topics("a").retry(max_attempts=0), "retry.max_attempts"),
        (START.topics("a").retry(speed=1), "retry.speed"),
        (SubscriptionBuilder("not a name", never).topics("a"), "name"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_opened(builder: SubscriptionBuilder, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        builder.open()
    assert caught.value.field == field


def test_credit_begins_at_one() -> None:
    with pytest.raises(InvalidInput):
        START.credit(0)


@pytest.mark.parametrize(
    "wrong",
    [{"publish_timeout_s": 0}, {"retry_overloaded_s": -1}, {"while_disconnected": "cry"}, {"publish_buffer": 0}],
)
def test_options_that_cannot_work_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as caught:
        ClientOptions(**wrong)  # type: ignore[arg-type]
    assert caught.value.field == next(iter(wrong))


@pytest.mark.parametrize("url", ["localhost:8080", "gopher://localhost", ""])
async def test_a_url_without_a_transport_names_those_there_are(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"memory, redis, .*, ws, wss"):
        await EventRouterClient(url).__aenter__()


async def test_a_client_that_is_not_open_says_so() -> None:
    client = EventRouterClient("memory://")
    with pytest.raises(ClosedError):
        await client.publish("a.b")
    with pytest.raises(ClosedError):
        await client.subscribe("a.*").__aenter__()
