"""What a delivered event is remembered by."""

from __future__ import annotations

from router_client.recent import delivered_id


def test_a_replay_is_another_delivery_of_the_same_event() -> None:
    event = {"id": "e1", "metadata": {}}
    again = {"id": "e1", "metadata": {"replayed": "r1"}}
    assert delivered_id(event) == "e1"
    assert delivered_id(again) != delivered_id(event)
    assert delivered_id({**again, "metadata": {"replayed": "r2"}}) != delivered_id(again)
    assert delivered_id({"id": "e1"}) == "e1"
