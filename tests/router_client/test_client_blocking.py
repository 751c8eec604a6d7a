from __future__ import annotations

import threading

import pytest

from router_client import BlockingClient, ClosedError, InvalidInput, NotFound, PublishResult

pytestmark = pytest.mark.timeout(20)


def test_publish_consume_and_leave() -> None:
    before = threading.active_count()
    with BlockingClient("memory://") as client:
        with client.subscribe("orders.*", name="audit") as deliveries:
            assert client.publish("orders.created", {"amount": 120}, id="x", correlation_id="key").id == "x"
            outcomes = client.publish_many(
                [{"type": "orders.paid", "id": f"{n}", "correlation_id": "key"} for n in range(4)]
            )
            assert all(isinstance(outcome, PublishResult) for outcome in outcomes)
            seen = []
            for delivery in deliveries:
                seen.append((delivery.event.id, delivery.attempt))
                if delivery.event.id == "1" and delivery.attempt == 1:
                    delivery.nack("once more", delay_s=0)
                else:
                    delivery.ack()
                if delivery.event.id == "3":
                    break
        assert seen == [("x", 1), ("0", 1), ("1", 1), ("1", 2), ("2", 1), ("3", 1)]
    assert threading.active_count() == before


def test_every_ack_is_sent_before_the_subscription_is_left() -> None:
    with BlockingClient("memory://") as client:
        for n in range(3):
            with client.subscribe("a.*", name="s") as deliveries:
                client.publish("a.b", id=f"{n}")
                delivery = next(deliveries)
                assert delivery.event.id == f"{n}"
                delivery.ack()


def test_rejecting_and_extending() -> None:
    with BlockingClient("memory://") as client, client.open(client.subscription("s").topics("a.*")) as deliveries:
        client.publish("a.b", id="x")
        delivery = next(deliveries)
        delivery.extend()
        delivery.reject("hopeless")
        client.publish("a.b", id="y")
        assert next(deliveries).event.id == "y"


def test_a_loop_without_with_ends_with_the_client() -> None:
    client = BlockingClient("memory://")
    with client:
        deliveries = client.subscribe("a.*")
        client.publish("a.b", id="x")
        assert next(deliveries).event.id == "x"
    assert list(deliveries) == []
    deliveries.close()
    with pytest.raises(ClosedError):
        client.publish("a.b")


def test_another_thread_waiting_for_deliveries_ends_with_the_client() -> None:
    with BlockingClient("memory://") as client:
        deliveries = client.subscribe("a.*", name="s")
        waiting = threading.Thread(target=lambda: list(deliveries))
        waiting.start()
    waiting.join(5)
    assert not waiting.is_alive()


def test_errors_are_those_of_the_client() -> None:
    with BlockingClient("memory://") as client:
        with pytest.raises(InvalidInput):
            client.publish("a..b")
        with pytest.raises(InvalidInput):
            client.subscribe("a.*", name="s", where={"payload.x": {"$nonsense": 1}})
        with pytest.raises(NotFound):
            client.event("never published")


def test_a_client_that_cannot_connect_leaves_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(InvalidInput):
        BlockingClient("gopher://localhost").__enter__()
    assert threading.active_count() == before
