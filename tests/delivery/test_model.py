"""Random publishes, consumers, crashes and hand-overs against the real stages of a node, and a simple model of them.

What is promised: at least once, order, no starvation, bounded memory. In the suite the same few examples run every
time; ER_MODEL_EXAMPLES=5000 runs that many new ones, of ER_MODEL_STEPS (100) steps each.
"""

from __future__ import annotations

import os
from typing import Literal

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from router_client.spec import RetryPolicy, SubscriptionSpec
from router_node.delivery import window
from router_node.flow import deliver, settle
from tests.delivery.model_log import Call, Doorbell, Way
from tests.delivery.model_promises import Fate, Handed
from tests.delivery.model_site import Site, Taker

EXAMPLES = int(os.environ.get("ER_MODEL_EXAMPLES", "0"))
STEPS = int(os.environ.get("ER_MODEL_STEPS", "100"))

SETTINGS = settings(
    max_examples=EXAMPLES or 120,
    stateful_step_count=STEPS if EXAMPLES else 40,
    derandomize=not EXAMPLES,
    print_blob=True,
    report_multiple_bugs=False,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)

LONGEST_S = 4.0
ACK_TIMEOUT_S = 3.0
Ordering = Literal["key", "strict", "none"]
After = Literal["release", "halt"]

places = st.integers(0, 15)
keys = st.sampled_from("abc")
priorities = st.sampled_from([5, 5, 5, 9, 1])
credits_ = st.integers(1, 6)
delays = st.sampled_from([None, 0.0, 0.3, LONGEST_S])
verbs = st.tuples(st.sampled_from(["ack", "ack", "ack", "nack", "nack", "reject", "extend"]), delays)
mostly_not = st.sampled_from([False, False, True])
said = st.lists(verbs, min_size=1, max_size=8)
changes = st.sampled_from(["crash", "hand_over", "lapse", "usurp"])
lifetimes = st.sampled_from([None, None, None, None, 0.4, 3.0])
calls = st.sampled_from(["read", "settle", "step", "fetch"])
ways = st.sampled_from(["there", "back"])


def spec(
    name: str, ordering: Ordering, max_attempts: int, base_s: float, max_in_flight: int, after: After
) -> SubscriptionSpec:
    return SubscriptionSpec(
        name=name,
        topics=("a.>",),
        ordering=ordering,
        ack_timeout_s=ACK_TIMEOUT_S,
        retry=RetryPolicy(max_attempts=max_attempts, base_s=base_s, max_s=LONGEST_S, jitter=0),
        max_in_flight=max_in_flight,
        on_dead_letter=after,
    )


def specs(name: str) -> st.SearchStrategy[SubscriptionSpec]:
    orderings: list[Ordering] = ["key", "strict", "none"]
    after: list[After] = ["release", "release", "halt"]
    return st.builds(
        spec,
        st.just(name),
        st.sampled_from(orderings),
        max_attempts=st.integers(1, 4),
        base_s=st.sampled_from([0.0, 1.0]),
        max_in_flight=st.integers(1, 6),
        after=st.sampled_from(after),
    )


class LaneModel(RuleBasedStateMachine):
    """One node after another with one or two subscriptions; what must hold is checked after every step."""

    site: Site
    _sound = False

    @initialize(one=specs("one"), two=st.none() | specs("two"))
    def begin(self, one: SubscriptionSpec, two: SubscriptionSpec | None) -> None:
        self.site = Site([one] if two is None else [one, two])
        for name in self.site.promises:
            self.site.attach(name, 3, eager=False)

    @rule(doorbell=st.sampled_from(["rings", "brings", "brings", "is lost"]))
    def change_doorbell(self, doorbell: Doorbell) -> None:
        self.site.log.doorbell = doorbell

    # -- publishers and consumers

    @rule(events=st.lists(st.tuples(keys, priorities), min_size=1, max_size=6), expires_s=lifetimes)
    def publish(self, events: list[tuple[str, int]], expires_s: float | None) -> None:
        self.site.publish(events, expires_s)

    @rule(key=keys, priority=priorities, many=st.integers(4, 20))
    def publish_a_burst(self, key: str, priority: int, many: int) -> None:
        self.site.publish([(key, priority)] * many)

    @precondition(lambda self: len(self.site.takers) < 4)
    @rule(place=places, credit=credits_, eager=mostly_not)
    def attach(self, place: int, credit: int, eager: bool) -> None:
        names = sorted(self.site.promises)
        self.site.attach(names[place % len(names)], credit, eager=eager)

    @precondition(lambda self: self.site.takers)
    @rule(place=places, requeue=st.booleans())
    def detach(self, place: int, requeue: bool) -> None:
        self.site.detach(self._taker(place), requeue=requeue)

    @precondition(lambda self: self.site.takers)
    @rule(place=places, more=st.integers(1, 5))
    def give_credit(self, place: int, more: int) -> None:
        self.site.give_credit(self._taker(place), more)

    @precondition(lambda self: self._open())
    @rule(place=places, verbs=said)
    def settle(self, place: int, verbs: list[tuple[str, float | None]]) -> None:
        self._say(place, verbs)

    @precondition(lambda self: self._open())
    @rule(place=places, delay=delays)
    def nack(self, place: int, delay: float | None) -> None:
        one = self._open()[place % len(self._open())]
        self.site.say(one.taker, "nack", one.delivery_id, delay)

    @precondition(lambda self: any(taker.got for taker in self.site.takers))
    @rule(place=places, other=places, verb=st.sampled_from(["ack", "nack", "reject", "extend"]))
    def settle_what_may_not_be_there(self, place: int, other: int, verb: str) -> None:
        got = [delivery_id for taker in self.site.takers for delivery_id in taker.got[-4:]]
        self.site.say(self._taker(other), verb, got[place % len(got)])

    @precondition(lambda self: self._open())
    @rule(place=places)
    def settle_for_another(self, place: int) -> None:
        one = self._open()[place % len(self._open())]
        self.site.settle_for_anyone(one.taker.name, "ack", one.delivery_id)

    @precondition(lambda self: self._open())
    @rule()
    def take_all(self) -> None:
        self.site.take_all()

    @rule(back=st.booleans())
    def fall_asleep(self, back: bool) -> None:
        """Nothing happens for a while; consumers come back, or not."""
        before = [(taker.name, taker.credit, taker.eager) for taker in self.site.takers]
        self.site.fall_asleep()
        if back:
            for name, credit, eager in before:
                self.site.attach(name, credit, eager=eager)

    @rule(place=places, paused=mostly_not)
    def pause(self, place: int, paused: bool) -> None:
        names = sorted(self.site.promises)
        self.site.pause(names[place % len(names)], paused=paused)

    @precondition(lambda self: self._halted() and self.site.all_written)
    @rule(place=places, replay=st.booleans())
    def decide(self, place: int, replay: bool) -> None:
        name, fate = self._halted()[place % len(self._halted())]
        self.site.decide(name, fate, replay=replay)

    # -- time, the log and owners

    @rule(seconds=st.sampled_from([0.1, 0.3, 0.5, 1.1]))
    def advance(self, seconds: float) -> None:
        self.site.advance(seconds)

    @rule(seconds=st.sampled_from([0.0, 0.3, 2.3]))
    def let_through_and_advance(self, seconds: float) -> None:
        self.let_through(False)
        self.site.advance(seconds)

    @rule(seconds=st.sampled_from([2.3, 3.1, 4.1]))
    def advance_far(self, seconds: float) -> None:
        self.site.advance(seconds)

    @rule(call=calls, way=ways)
    def hold(self, call: Call, way: Way) -> None:
        self.site.node.log.hold(call, way)

    @rule(call=calls)
    def lose_an_answer(self, call: Call) -> None:
        self.site.lose_answer(call)

    @rule(full=mostly_not)
    def let_through(self, full: bool) -> None:
        self.site.log.full = full
        self.site.node.log.let_through()
        self.site.turn()

    @rule(what=changes, back=st.sampled_from([True, True, False]))
    def change_owner(self, what: str, back: bool) -> None:
        """Another node, or the same, takes over; consumers come back to it, or not."""
        before = [(taker.name, taker.credit, taker.eager) for taker in self.site.takers]
        getattr(self.site, what)()
        if back and not self.site.takers:
            for name, credit, eager in before:
                self.site.attach(name, credit, eager=eager)

    @rule(call=calls, way=ways, seconds=st.sampled_from([0.0, 0.3, 2.3]), verbs=said, what=changes, full=mostly_not)
    def change_owner_under_way(
        self, call: Call, way: Way, seconds: float, verbs: list[tuple[str, float | None]], what: str, full: bool
    ) -> None:
        """The same with calls of one kind on their way to the log, or back, or refused on their way."""
        self.site.node.log.hold(call, way)
        self.site.log.full = full
        self._say(0, verbs)
        self.site.advance(seconds)
        self.change_owner(what, True)
        self.let_through(False)

    # -- what must hold

    @invariant()
    def what_must_hold(self) -> None:
        self._sound = False
        self._promises_are_kept()
        self._nothing_is_lost()
        self._memory_is_bounded()
        self._sound = True

    def teardown(self) -> None:
        if hasattr(self, "site"):
            try:
                if self._sound:  # else what it says would hide what was found
                    self._drain()
            finally:
                self.site.close()

    def _promises_are_kept(self) -> None:
        assert not self.site.loop.unhandled
        assert not self.site.node.running.done(), self.site.node.running
        for promises in self.site.promises.values():
            assert not promises.broken

    def _nothing_is_lost(self) -> None:
        for name, promises in self.site.promises.items():
            missing = promises.missing(self.site.log.recoverable(name))
            assert not missing, f"{name}: a new owner would not find {missing}"

    def _memory_is_bounded(self) -> None:
        outstanding = [entry.outstanding for entry in self.site.node.log.entries]
        assert min(outstanding, default=0) >= 0, outstanding
        for dispatch in self.site.dispatches():
            lanes = list(dispatch.window._lanes.values())
            held = sum(len(each.items) for each in lanes)
            assert dispatch.window.held == held
            assert dispatch.window.held_bytes == sum(len(item.body) for each in lanes for item in each.items)
            assert held <= window.MEMORY_EVENTS + len(lanes) * (window.LANE_EVENTS // 16 + settle.FETCH_EVENTS)
            assert len(dispatch.in_flight) <= dispatch.spec.max_in_flight
            assert len(dispatch._waiting) <= deliver.WAITING_AT_MOST + dispatch.spec.max_in_flight

    # -- the inside

    def _taker(self, place: int) -> Taker:
        return self.site.takers[place % len(self.site.takers)]

    def _say(self, place: int, verbs: list[tuple[str, float | None]]) -> None:
        """Settle what is in flight, one after another, each as its verb says, and ask for as many."""
        for verb, delay in verbs:
            if handed := self._open():
                one = handed[place % len(handed)]
                self.site.say(one.taker, verb, one.delivery_id, delay)
                if verb != "extend":
                    self.site.give_credit(one.taker, 1)

    def _halted(self) -> list[tuple[str, Fate]]:
        return [(name, fate) for name, promises in self.site.promises.items() for fate in promises.halted()]

    def _open(self) -> list[Handed]:
        return [h for promises in self.site.promises.values() for h in promises.open() if h.taker in self.site.takers]

    def _drain(self) -> None:
        """With consumers that acknowledge everything, everything ends, in bounded time."""
        site = self.site
        site.node.log.let_through()
        site.node.log.hear_again()
        site.log.full = False
        for taker in list(site.takers):
            site.detach(taker, requeue=True)
        for name in site.promises:
            site.pause(name, paused=False)
            site.attach(name, 100, eager=True)
        limit = site.clock.monotonic() + 2 * (LONGEST_S + ACK_TIMEOUT_S) + 10
        while site.clock.monotonic() < limit and (self._unsettled() or site.log.left()):
            site.advance(0.5)
            for name, fate in self._halted():
                site.decide(name, fate, replay=True)
        self._promises_are_kept()
        assert not self._unsettled(), "neither acknowledged nor dead-lettered although somebody takes everything"
        assert not site.log.left()
        site.advance(window.SPILL_AFTER_S + 1)
        for dispatch in site.dispatches():
            assert not dispatch.window.lanes()
            assert (dispatch.window.held, dispatch.window.backlog, len(dispatch.in_flight)) == (0, 0, 0)
        assert site.node.pipeline.settler.unsettled_events == 0
        site.fall_asleep()
        assert not site.dispatches(), "nothing is left of them, and they do not sleep"

    def _unsettled(self) -> list[str]:
        return [fate.event_id for promises in self.site.promises.values() for fate in promises.unsettled()]


@pytest.mark.usefixtures("small_bounds")
def test_what_a_subscriber_may_rely_on() -> None:
    run_state_machine_as_test(LaneModel, settings=SETTINGS)
