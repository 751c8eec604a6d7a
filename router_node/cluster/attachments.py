"""Consumers connected to this node, taking deliveries from every node that owns partitions: the near end.

guests.py is the far end: what a node does for consumers that are connected elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any

from router_client.errors import EventRouterError
from router_client.spec import SubscriptionSpec
from router_node.cluster import frames
from router_node.cluster.credit import CreditPool, Grant
from router_node.cluster.peer_link import PeerLink
from router_node.contract import Consumer, Delivery, Settlement
from router_node.delivery.holder import Holder
from router_node.routing.registry import Registry

HELD_AT_MOST = 4  # times the subscription's max_in_flight; the oldest are forgotten, as their owners did long before


class ClusterAttachment:
    """One consumer's hold on a subscription, on all nodes at once; see Attachment."""

    def __init__(self, consumers: Attachments, number: int, spec: SubscriptionSpec, consumer: Consumer) -> None:
        self.name = spec.name
        self.number = number
        self.spec = spec
        self.pool = CreditPool(spec.max_in_flight, consumers.node_id)
        self.held: dict[str, str] = {}
        self._consumers = consumers
        self._consumer = consumer
        self.holder: Holder = consumers.registry.get(spec.name).attach(self, 0, f"{consumers.node_id} {number}")
        self.holder.on_starved = self._starved_here
        self.open = True

    # -- Consumer, towards this node's own dispatch

    def push(self, deliveries: list[Delivery]) -> None:
        """See Consumer: what this node itself delivers."""
        self._consumer.push(deliveries)
        self.apply(self.pool.used(self._consumers.node_id, len(deliveries)))

    def ended(self, error: EventRouterError) -> None:
        """See Consumer."""
        if self.open:
            self._close(requeue=True)
            self._consumer.ended(error)

    # -- Attachment, towards the edge

    def add_credit(self, more: int) -> None:
        """See Attachment."""
        self.apply(self.pool.add(more))

    def settle(self, settlement: Settlement) -> list[str]:
        """See Attachment. What another node delivered is settled there, without waiting for it."""
        if not self.held:
            return self.holder.settle(settlement)
        parts = by_owner(settlement, self._owner_of)
        unknown: list[str] = []
        for owner, part in parts.items():
            if owner == self._consumers.node_id:
                unknown += self.holder.settle(part)
            else:
                self._consumers.link.send(owner, settle_frame(self.number, part))
        for delivery_id in (*settlement.ack, *(each.delivery_id for each in (*settlement.nack, *settlement.reject))):
            self.held.pop(delivery_id, None)
        return unknown

    def detach(self, *, requeue: bool = True) -> None:
        """See Attachment."""
        if self.open:
            self._close(requeue=requeue)
            self.holder.detach(requeue=requeue)

    def _close(self, *, requeue: bool) -> None:
        self.open = False
        self._consumers.forget(self)
        for node in self._consumers.peers:
            self._consumers.link.send(node, frames.Detach(self.number, requeue))

    # -- from the other nodes

    def delivered(self, owner: str, deliveries: list[Delivery]) -> None:
        """Take what another node delivers."""
        self.apply(self.pool.used(owner, len(deliveries)))
        for delivery in deliveries:
            self.held[delivery.delivery_id] = owner
        while len(self.held) > HELD_AT_MOST * self.spec.max_in_flight:
            del self.held[next(iter(self.held))]
        self._consumer.push(deliveries)

    def apply(self, grants: Iterable[Grant]) -> None:
        """Tell nodes what they may deliver."""
        for node, credit in grants:
            if node != self._consumers.node_id:
                frame = frames.Credit(self.number, credit) if credit > 0 else frames.Recall(self.number, -credit)
                self._consumers.link.send(node, frame)
            elif credit > 0:
                self.holder.add_credit(credit)
            else:
                self.apply(self.pool.returned(node, self.holder.give_back(-credit)))

    def state(self, node: str) -> list[Any]:
        """Return what ``node`` needs to know of this consumer; see frames.State."""
        holding = [delivery_id for delivery_id, owner in self.held.items() if owner == node]
        return [self.number, self.name, self.pool.restore(node), self.ephemeral, holding]

    @property
    def ephemeral(self) -> dict[str, Any] | None:
        """The spec of an ephemeral subscription, which no other node knows otherwise."""
        return None if self.spec.durable else self.spec.to_object()

    def _owner_of(self, delivery_id: str) -> str:
        return self.held.get(delivery_id, self._consumers.node_id)

    def _starved_here(self, ready: int) -> None:
        self.apply(self.pool.starved(self._consumers.node_id, ready))


class Attachments:
    """All consumers connected to this node."""

    def __init__(self, node_id: str, link: PeerLink, registry: Registry) -> None:
        self.node_id = node_id
        self.link = link
        self.registry = registry
        self.peers: frozenset[str] = frozenset()
        self._numbers = count(1)
        self._all: dict[int, ClusterAttachment] = {}
        self._epochs: dict[str, int] = {}
        self.stale = self.bounced = 0

    def __len__(self) -> int:
        return len(self._all)

    def attach(self, name: str, consumer: Consumer, credit: int) -> ClusterAttachment:
        """Attach a consumer to a subscription of the registry, on every node. Raises NotFound."""
        spec = self.registry.spec(name)
        attached = ClusterAttachment(self, next(self._numbers), spec, consumer)
        self._all[attached.number] = attached
        attached.pool.nodes([self.node_id, *self.peers])
        grants = {grant.node: grant.credit for grant in attached.pool.add(credit)}
        for node in self.peers:
            frame = frames.Attach(attached.number, name, grants.get(node, 0), attached.ephemeral)
            self.link.send(node, frame)
        attached.apply([Grant(node, more) for node, more in grants.items() if node == self.node_id])
        return attached

    def forget(self, attached: ClusterAttachment) -> None:
        """A consumer has gone."""
        self._all.pop(attached.number, None)

    def met(self, members: Iterable[str]) -> None:
        """Learn which nodes there are; new ones are told of every consumer here."""
        peers = frozenset(members) - {self.node_id}
        if peers == self.peers:
            return
        joined, gone = peers - self.peers, self.peers - peers
        self.peers = peers
        for attached in list(self._all.values()):
            grants = attached.pool.nodes([self.node_id, *peers])
            attached.apply(grant for grant in grants if grant.node not in joined)
            for delivery_id in [d for d, owner in attached.held.items() if owner in gone]:
                del attached.held[delivery_id]
        for node in joined:
            self.tell(node)
            self.link.send(node, frames.Lost())

    def restarted(self, node: str) -> None:
        """A node has begun anew under its old name: what it was granted and what it delivered is void."""
        if node in self.peers:
            others = self.peers - {node}
            self.met([self.node_id, *others])
            self.met([self.node_id, node, *others])

    def tell(self, node: str) -> None:
        """Tell a node everything it needs to know of the consumers here."""
        consumers = [attached.state(node) for attached in self._all.values()]
        self.link.send(node, frames.State(self.link.heard(node), consumers))

    def delivered(self, sender: str, frame: frames.Deliver) -> None:
        """Take deliveries from the owner of their partitions, unless it has been replaced meanwhile."""
        attached = self._all.get(frame.consumer)
        fresh = [Delivery(*each) for each in frame.deliveries if self._is_current(each[0])]
        self.stale += len(frame.deliveries) - len(fresh)
        if not fresh:
            return
        if attached is None or not attached.open:
            self.bounced += len(fresh)
            self.link.send(sender, frames.Bounce(frame.subscription, [delivery.delivery_id for delivery in fresh]))
        else:
            attached.delivered(sender, fresh)

    def starved(self, sender: str, frame: frames.Starved) -> None:
        """A node has more for a consumer than it may deliver."""
        if (attached := self._all.get(frame.consumer)) is not None:
            attached.apply(attached.pool.starved(sender, frame.ready))

    def returned(self, sender: str, frame: frames.Returned) -> None:
        """A node gives back credit."""
        if (attached := self._all.get(frame.consumer)) is not None:
            attached.apply(attached.pool.returned(sender, frame.credit))

    def _is_current(self, delivery_id: str) -> bool:
        epoch_text, partition, _ = delivery_id.split(".", 2)
        epoch = int(epoch_text)
        if epoch < self._epochs.get(partition, 0):
            return False
        self._epochs[partition] = epoch
        return True


def settle_frame(consumer: int, part: Settlement) -> frames.Settle:
    """Return a settlement as a frame."""
    return frames.Settle(
        consumer, list(part.ack), [list(n) for n in part.nack], [list(r) for r in part.reject], list(part.extend)
    )


def by_owner(settlement: Settlement, owner_of: Callable[[str], str]) -> dict[str, Settlement]:
    """Split a settlement by the node that has to hear of it."""
    ack: dict[str, list[str]] = defaultdict(list)
    nack, reject = defaultdict(list), defaultdict(list)
    extend: dict[str, list[str]] = defaultdict(list)
    for delivery_id in settlement.ack:
        ack[owner_of(delivery_id)].append(delivery_id)
    for each in settlement.nack:
        nack[owner_of(each.delivery_id)].append(each)
    for each in settlement.reject:
        reject[owner_of(each.delivery_id)].append(each)
    for delivery_id in settlement.extend:
        extend[owner_of(delivery_id)].append(delivery_id)
    owners: Sequence[str] = list(dict.fromkeys((*ack, *nack, *reject, *extend)))
    return {o: Settlement(ack[o], nack[o], reject[o], extend[o]) for o in owners}
