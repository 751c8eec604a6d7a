"""Consumers connected to other nodes, as the owner of partitions serves them: the far end of attachments.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import structlog

from router_client.errors import EventRouterError
from router_node.cluster import frames
from router_node.cluster.peer_link import PeerLink
from router_node.cluster.scopes import read_scoped
from router_node.contract import Delivery, Nack, Settlement
from router_node.delivery.holder import Holder
from router_node.flow.deliver import Dispatch
from router_node.routing.registry import Registry

SENT_AT_MOST = 2  # times max_in_flight, before what was settled long ago is forgotten

log = structlog.get_logger(__name__)


class Guest:
    """One consumer on another node; see Consumer."""

    def __init__(self, link: PeerLink, peer: str, number: int, dispatch: Dispatch, credit: int) -> None:
        self._link = link
        self.peer = peer
        self.number = number
        self.dispatch = dispatch
        self.sent: dict[str, int] = {}
        self.holder: Holder = dispatch.attach(self, 0, f"{peer} {number}")
        self.holder.near = False
        self.holder.on_starved = self._starved
        self.holder.add_credit(credit)

    def push(self, deliveries: list[Delivery]) -> None:
        """See Consumer."""
        number = self._link.next_number(self.peer)
        for delivery in deliveries:
            self.sent[delivery.delivery_id] = number
        if len(self.sent) > SENT_AT_MOST * self.dispatch.max_in_flight:
            self.sent = {d: n for d, n in self.sent.items() if d in self.dispatch.in_flight}
        parts = [(each.delivery_id, each.attempt, each.body) for each in deliveries]
        self._link.send(self.peer, frames.Deliver(self.number, self.dispatch.spec.name, parts))

    def ended(self, error: EventRouterError) -> None:
        """See Consumer: the consumer's own node learns of it in the same way as this one."""

    def agree(self, heard: int, credit: int, holding: list[str]) -> None:
        """Bring what is known here in line with what the consumer's node says, as of packet ``heard`` from here."""
        here = {d: n for d, n in self.sent.items() if self.dispatch.in_flight.held(d, self.holder)}
        later = {d for d, n in here.items() if n > heard}
        self.sent = here
        lost = here.keys() - later - set(holding)
        self.holder.set_credit(max(0, credit - len(later)))
        if lost:
            log.info("deliveries were lost on the way; delivering again", peer=self.peer, deliveries=len(lost))
            self.dispatch.undo(lost)

    def _starved(self, ready: int) -> None:
        self._link.send(self.peer, frames.Starved(self.number, ready))


class Guests:
    """All consumers on other nodes that this node may deliver to."""

    def __init__(self, link: PeerLink, registry: Registry) -> None:
        self._link = link
        self._registry = registry
        self._by_peer: dict[str, dict[int, Guest]] = defaultdict(dict)
        self._puzzling: set[str] = set()

    def __len__(self) -> int:
        return sum(map(len, self._by_peer.values()))

    def heard(self, peer: str, frame: frames.Frame) -> None:
        """Do what a peer says of its consumers."""
        match frame:
            case frames.Attach():
                self._attach(peer, frame.consumer, frame.subscription, frame.credit, frame.spec)
            case frames.Credit():
                self._with(peer, frame.consumer, lambda guest: guest.holder.add_credit(frame.more))
            case frames.Recall():
                self._with(peer, frame.consumer, lambda guest: self._give_back(guest, frame.less))
            case frames.Settle():
                self._settle(peer, frame)
            case frames.Detach():
                guest = self._by_peer[peer].pop(frame.consumer, None)
                if guest is not None:
                    guest.holder.detach(requeue=frame.requeue)
            case frames.Bounce():
                if (dispatch := self._registry.if_awake(frame.subscription)) is not None:
                    dispatch.undo(frame.deliveries)
            case frames.State():
                self._agree(peer, frame)

    def gone(self, peer: str) -> None:
        """A peer is no member any more, or another start of it is: what its consumers held is delivered to others."""
        for guest in self._by_peer.pop(peer, {}).values():
            guest.holder.detach(requeue=True)

    def subscriptions_changed(self) -> None:
        """Ask for the consumers of subscriptions that were not known here when they came."""
        puzzling, self._puzzling = self._puzzling, set()
        for peer in puzzling:
            self._link.send(peer, frames.Lost())

    def _attach(self, peer: str, number: int, name: str, credit: int, spec: dict[str, Any] | None) -> None:
        if number in self._by_peer[peer]:
            self._by_peer[peer].pop(number).holder.detach(requeue=True)
        if spec is not None and name not in self._registry:
            self._registry.put(read_scoped(name, spec))
        if name in self._registry:
            self._by_peer[peer][number] = Guest(self._link, peer, number, self._registry.get(name), credit)
        else:
            self._puzzling.add(peer)

    def _agree(self, peer: str, state: frames.State) -> None:
        told = {entry[0] for entry in state.consumers}
        for number in self._by_peer[peer].keys() - told:
            self._by_peer[peer].pop(number).holder.detach(requeue=True)
        for number, name, credit, spec, holding in state.consumers:
            guest = self._by_peer[peer].get(number)
            if guest is None:
                self._attach(peer, number, name, credit, spec)
            else:
                guest.agree(state.heard, credit, holding)

    def _settle(self, peer: str, frame: frames.Settle) -> None:
        guest = self._by_peer[peer].get(frame.consumer)
        if guest is not None:
            guest.holder.settle(settlement_of(frame))
            for delivery_id in frame.ack:
                guest.sent.pop(delivery_id, None)

    def _give_back(self, guest: Guest, less: int) -> None:
        self._link.send(guest.peer, frames.Returned(guest.number, guest.holder.give_back(less)))

    def _with(self, peer: str, number: int, act: Callable[[Guest], None]) -> None:
        guest = self._by_peer[peer].get(number)
        if guest is not None:
            act(guest)


def settlement_of(frame: frames.Settle) -> Settlement:
    """Return the settlement in a frame."""
    return Settlement(frame.ack, [Nack(*n) for n in frame.nack], [Nack(*r) for r in frame.reject], frame.extend)
