"""What the model has found, as small as it gets."""

from __future__ import annotations

import pytest

from router_client.spec import SubscriptionSpec
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
