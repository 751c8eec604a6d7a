"""A consumer's credit among nodes: never more deliveries than credit, and none of it idle while a node has events."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from router_node.cluster.credit import CreditPool, Grant


class Owner:
    """A node that delivers as long as it has events and credit, and talks to the pool in order."""

    def __init__(self, name: str, events: int) -> None:
        self.name = name
        self.events = events
        self.credit = 0
        self.asked = False
        self.inbox: deque[int] = deque()
        self.outbox: deque[tuple[str, int]] = deque()

    def pump(self) -> None:
        count = min(self.events, self.credit)
        if count:
            self.events -= count
            self.credit -= count
            self.outbox.append(("deliver", count))
        if self.events and not self.credit and not self.asked:
            self.asked = True
            self.outbox.append(("starved", self.events))

    def hear(self) -> None:
        credit = self.inbox.popleft()
        if credit > 0:
            self.credit += credit
            self.asked = False
        else:
            back = min(-credit, self.credit)
            self.credit -= back
            self.outbox.append(("returned", back))


@given(
    events=st.lists(st.integers(0, 30), min_size=1, max_size=5),
    credit=st.integers(1, 12),
    order=st.randoms(use_true_random=False),
    at_once=st.integers(1, 12),
    home=st.sampled_from(["", "n0"]),
)
def test_everything_is_delivered_with_never_more_held_than_the_credit(
    events: list[int], credit: int, order: object, at_once: int, home: str
) -> None:
    owners = {f"n{i}": Owner(f"n{i}", count) for i, count in enumerate(events)}
    pool = CreditPool(100, home)
    held = delivered = 0

    def tell(grants: list[Grant]) -> None:
        for node, more in grants:
            owners[node].inbox.append(more)

    tell(pool.nodes(owners))
    tell(pool.add(credit))
    for owner in owners.values():
        owner.pump()
    while delivered < sum(events):
        ready = [o for o in owners.values() if o.inbox] + [o for o in owners.values() if o.outbox]
        if not ready:
            assert held == min(credit, sum(events) - delivered + held), f"credit lies idle: {held} held of {credit}"
        if not ready or held >= at_once:
            tell(pool.add(held))
            held = 0
            continue
        owner = order.choice(ready)  # type: ignore[attr-defined]
        if owner.inbox and (not owner.outbox or order.random() < 0.5):  # type: ignore[attr-defined]
            for _ in range(order.randint(1, len(owner.inbox))):  # type: ignore[attr-defined]
                owner.hear()
            owner.pump()
            continue
        what, count = owner.outbox.popleft()
        if what == "deliver":
            tell(pool.used(owner.name, count))
            held += count
            delivered += count
            assert held <= credit
        else:
            tell(pool.starved(owner.name, count) if what == "starved" else pool.returned(owner.name, count))


def test_what_a_node_had_that_is_gone_goes_to_the_others() -> None:
    pool = CreditPool(100)
    pool.nodes(["a", "b", "c"])
    pool.add(9)

    grants = pool.nodes(["a"])

    assert grants == [Grant("a", 6)]
    assert pool.total == 9


def test_credit_is_capped() -> None:
    pool = CreditPool(10)
    pool.nodes(["a"])

    assert pool.add(1_000_000) == [Grant("a", 10)]
    assert pool.add(1) == []


def test_half_goes_to_all_and_the_rest_to_the_consumer_s_own_node() -> None:
    pool = CreditPool(100, "b")
    pool.nodes(["a", "b", "c"])

    assert sorted(pool.add(100)) == [Grant("a", 16), Grant("b", 68), Grant("c", 16)]
