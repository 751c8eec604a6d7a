"""Subscriptions fall asleep and wake among the real stages of a node."""

from __future__ import annotations

import pytest

from router_client.spec import SubscriptionSpec
from router_node.flow.deliver import REST_AFTER_S
from router_node.pipeline import COUNTED
from tests.delivery.model_site import Site, Taker

SPEC = SubscriptionSpec(name="one", topics=("a.>",))
LONG_S = REST_AFTER_S + 1


def come_and_go(site: Site, keys: str) -> Taker:
    """Have a consumer attach, take everything that is published meanwhile, and leave."""
    taker = site.attach("one", 10, eager=True)
    site.publish([(key, 5) for key in keys])
    site.advance(0.1)
    site.detach(taker, requeue=True)
    return taker


def counts(site: Site) -> dict[str, int]:
    """Return the node's totals, as its metrics have them."""
    pipeline = site.node.pipeline
    return {each: pipeline.ended_totals[each] + sum(getattr(d, each) for d in pipeline.registry) for each in COUNTED}


def test_nothing_of_what_was_counted_is_forgotten() -> None:
    with Site([SPEC]) as site:
        for _ in range(3):
            come_and_go(site, "abc")
            before = counts(site)
            site.advance(LONG_S)
            assert site.dispatches() == []
            assert counts(site) == before

        assert before == {**dict.fromkeys(COUNTED, 0), "delivered": 9, "acked": 9}


def test_a_delivery_id_is_not_used_again_after_sleeping() -> None:
    with Site([SPEC]) as site:
        first = come_and_go(site, "abc")
        site.advance(LONG_S)
        again = come_and_go(site, "abc")

    assert len({*first.got, *again.got}) == 6, "a late settlement would settle another event"


def test_what_is_published_while_it_sleeps_waits_for_the_next_consumer() -> None:
    with Site([SPEC]) as site:
        come_and_go(site, "a")
        site.advance(LONG_S)
        site.publish([("a", 5), ("b", 5)])
        assert site.dispatch("one").window.held == 0, "there has been nobody to take it: it spills at once"
        site.advance(10 * LONG_S)
        assert len(site.dispatches()) == 1, "its queue is its own to read"

        site.attach("one", 10, eager=True)
        site.advance(1)
        assert site.promises["one"].deliveries == 3
        assert site.promises["one"].unsettled() == []


@pytest.mark.usefixtures("small_bounds")
@pytest.mark.parametrize("change", ["hand_over", "crash", "lapse"])
def test_what_was_spilled_before_it_slept_is_not_taken_from_its_stream_again(change: str) -> None:
    with Site([SPEC]) as site:
        site.advance(3)
        site.node.log.hold("settle", "there")  # so all entries stay in their streams
        site.publish([("a", 5), ("b", 5)])
        come_and_go(site, "")
        assert site.promises["one"].unsettled() == []
        site.advance(2)
        assert site.dispatches() == []

        getattr(site, change)()
        site.advance(2)
        come_and_go(site, "ab")

        assert site.promises["one"].deliveries == 4
        assert site.promises["one"].broken == []
