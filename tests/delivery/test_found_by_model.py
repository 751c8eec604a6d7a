"""What the model has found, as small as it gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router_client.spec import RetryPolicy, SubscriptionSpec
from tests.delivery.model_site import Site

SPEC = SubscriptionSpec(name="one", topics=("a.>",))


@pytest.mark.usefixtures("small_bounds")
def test_a_spill_whose_answer_was_lost_leaves_nothing_behind_in_the_queue() -> None:
    with Site([SPEC]) as site:
        site.attach("one", 10, eager=False)
        site.publish([("a", 5)])
        site.lose_answer("step")
        site.advance(3)
        assert len(site.log.left()) == 2, "it was written again"
        site.take_all()
        site.take_all()
        site.advance(3)

        assert site.log.left() == []
        assert site.dispatch("one").window.lanes() == []
        assert site.promises["one"].deliveries == 2, "what is written twice is delivered twice"


def test_an_event_between_a_flood_of_higher_and_one_of_lower_ones_is_delivered() -> None:
    with Site([replace(SPEC, max_in_flight=1)]) as site:
        promises = site.promises["one"]
        site.attach("one", 1, eager=False)
        site.publish([(f"before-{n}", priority) for n in range(10) for priority in (9, 0)])
        site.publish([("waiting", 5)])
        waiting = list(promises.by_id.values())[-1]
        for n in range(200):
            site.publish([(f"high-{n}", 9), (f"low-{n}", 0)])
            site.take_all()
            if waiting.acked:
                break

    assert waiting.acked, f"it waits after {promises.deliveries} deliveries"
    assert promises.broken == []


@pytest.mark.usefixtures("small_bounds")
def test_what_waited_in_a_partition_that_was_lost_does_not_count_against_what_may_wait() -> None:
    with Site([replace(SPEC, retry=RetryPolicy(base_s=100, jitter=0))]) as site:
        taker = site.attach("one", 10, eager=False)
        for _ in range(5):
            site.publish([("a", 5), ("b", 5), ("c", 5)])
            for handed in site.promises["one"].open():
                site.say(taker, "nack", handed.delivery_id)
            site.lapse()
            site.advance(0.1)
        site.publish([("d", 5)])
        site.advance(0.1)

        assert [handed.fate.stream for handed in site.promises["one"].open()] == [("d", 5)]
        assert site.promises["one"].broken == []


@pytest.mark.usefixtures("small_bounds")
def test_what_was_written_twice_is_found_though_more_was_spilled_meanwhile() -> None:
    with Site([replace(SPEC, retry=RetryPolicy(max_attempts=1), max_in_flight=1, ack_timeout_s=3)]) as site:
        site.attach("one", 3, eager=False)
        site.log.doorbell = "is lost"
        for priority in (5, 5, 9):
            site.publish([("a", priority)] * 4)
        site.crash()
        site.advance(1.6)
        site.lose_answer("step")
        site.advance(0.5)
        taker = site.attach("one", 1, eager=False)
        site.publish([("a", 1)] * 4)
        site.detach(taker, requeue=False)
        site.advance(0.1)
        site.publish([("a", 9)] * 9)
        site.advance(0.1)
        site.attach("one", 100, eager=True)
        site.advance(20)

        assert site.promises["one"].unsettled() == []
        assert site.log.left() == []
