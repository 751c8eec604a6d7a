"""What nodes say to one another, and how it is packed into one pub/sub message.

A packet is a line of JSON and, behind it, the bodies of the deliveries it carries, untouched. Its number counts the
packets from one node to another, so that the receiver notices when pub/sub has lost one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson


class Attach(NamedTuple):
    """A consumer there wants deliveries here. ``spec`` is an ephemeral subscription's; a durable one's is stored."""

    consumer: int
    subscription: str
    credit: int
    spec: dict[str, Any] | None


class Credit(NamedTuple):
    """The consumer takes ``more`` further deliveries from this node."""

    consumer: int
    more: int


class Recall(NamedTuple):
    """Give back up to ``less`` of the consumer's unused credit: another node has deliveries for it."""

    consumer: int
    less: int


class Settle(NamedTuple):
    """What the consumer says of its deliveries; nacks and rejects are [id, delay, error]."""

    consumer: int
    ack: list[str]
    nack: list[list[Any]]
    reject: list[list[Any]]
    extend: list[str]


class Detach(NamedTuple):
    """The consumer has gone; with ``requeue`` what it held is delivered to another at once."""

    consumer: int
    requeue: bool


class Deliver(NamedTuple):
    """Deliveries for a consumer there: (id, attempt, body)."""

    consumer: int
    subscription: str
    deliveries: list[tuple[str, int, bytes]]


class Starved(NamedTuple):
    """``ready`` events wait here for the consumer's credit."""

    consumer: int
    ready: int


class Returned(NamedTuple):
    """Credit given back, as recalled."""

    consumer: int
    credit: int


class Bounce(NamedTuple):
    """Deliveries that found no consumer: they were never delivered."""

    subscription: str
    deliveries: list[str]


class State(NamedTuple):
    """Everything a node needs to know of the consumers there, after something was lost: each is
    [consumer, subscription, credit, spec, ids of deliveries it holds]; ``heard`` is the last packet heard from there.
    """

    heard: int
    consumers: list[list[Any]]


class Lost(NamedTuple):
    """Packets of yours were lost: tell your state."""


class Ring(NamedTuple):
    """These streams, [partition, priority] each, have something to read."""

    sources: list[list[int]]


class Ask(NamedTuple):
    """A question to be answered by :class:`Answer` with the same ``ref``."""

    ref: int
    what: str
    body: Any


class Answer(NamedTuple):
    """The answer to an :class:`Ask`; ``fault`` says why there is none."""

    ref: int
    body: Any
    fault: str


Talk = Attach | Credit | Recall | Settle | Detach | Deliver | Starved | Returned | Bounce
Frame = Talk | State | Lost | Ring | Ask | Answer

_KINDS: dict[str, Any] = {
    kind.__name__.lower(): kind
    for kind in (
        Attach, Credit, Recall, Settle, Detach, Deliver, Starved, Returned, Bounce, State, Lost, Ring, Ask, Answer
    )
}  # fmt: skip


class Packet(NamedTuple):
    """Frames from one start (``incarnation``) of one node, in order; ``number`` counts from 1."""

    sender: str
    incarnation: str
    number: int
    frames: list[Frame]


def encode(packet: Packet) -> bytes:
    """Return the packet as one message."""
    listed: list[Any] = []
    bodies: list[bytes] = []
    for frame in packet.frames:
        kind = type(frame).__name__.lower()
        if isinstance(frame, Deliver):
            heads = [[each[0], each[1], len(each[2])] for each in frame.deliveries]
            listed.append([kind, frame.consumer, frame.subscription, heads])
            bodies.extend(d[2] for d in frame.deliveries)
        else:
            listed.append([kind, *frame])
    head = orjson.dumps([packet.sender, packet.incarnation, packet.number, listed])
    return b"\n".join((head, b"".join(bodies)))


def decode(message: bytes) -> Packet:
    """Read a message. Raises ValueError for what is not a packet."""
    head, _, bodies = message.partition(b"\n")
    try:
        sender, incarnation, number, listed = orjson.loads(head)
        frames: list[Frame] = []
        at = 0
        for kind, *values in listed:
            if kind == "deliver":
                deliveries, at = _cut(values[2], bodies, at)
                frames.append(Deliver(values[0], values[1], deliveries))
            else:
                frames.append(_KINDS[kind](*values))
        return Packet(str(sender), str(incarnation), int(number), frames)
    except (TypeError, KeyError, IndexError) as error:
        raise ValueError(f"not a packet: {error!r}") from error


def _cut(heads: Sequence[Any], bodies: bytes, at: int) -> tuple[list[tuple[str, int, bytes]], int]:
    deliveries = []
    for delivery_id, attempt, length in heads:
        deliveries.append((delivery_id, attempt, bodies[at : at + length]))
        at += length
    return deliveries, at
