"""Settlements as they come from clients, in the form the engine takes."""

from __future__ import annotations

from collections.abc import Container

from router_client import wire
from router_node.contract import Nack, Settlement


class _Parts:
    """The lists of one Settlement, while they are being filled."""

    __slots__ = ("ack", "extend", "nack", "reject")

    def __init__(self) -> None:
        self.ack: list[str] = []
        self.nack: list[Nack] = []
        self.reject: list[Nack] = []
        self.extend: list[str] = []


def settlement(said: wire.Settle) -> Settlement:
    """Return what was said on the wire as the engine takes it."""
    return Settlement(said.ack, [Nack(*n) for n in said.nack], [Nack(*r) for r in said.reject], said.extend)


def by_subscription(said: wire.Settle, keys: Container[str]) -> tuple[dict[str, Settlement], list[str]]:
    """Sort ids of the form ``<key>.<id>`` by their key, keeping the order; returns the ids whose key is not known, too.

    One settlement for each subscription comes of a frame, however many deliveries it names.
    """
    parts: dict[str, _Parts] = {}
    unknown: list[str] = []

    def place(delivery_id: str) -> tuple[_Parts, str]:
        key, _, own_id = delivery_id.partition(".")
        part = parts.get(key)
        if part is None:
            part = _Parts()
            if key in keys:
                parts[key] = part
            else:
                unknown.append(delivery_id)
        return part, own_id

    for delivery_id in said.ack:
        part, own_id = place(delivery_id)
        part.ack.append(own_id)
    for failure in said.nack:
        part, own_id = place(failure.delivery_id)
        part.nack.append(Nack(own_id, failure.delay_s, failure.error))
    for failure in said.reject:
        part, own_id = place(failure.delivery_id)
        part.reject.append(Nack(own_id, None, failure.error))
    for delivery_id in said.extend:
        part, own_id = place(delivery_id)
        part.extend.append(own_id)
    return {key: Settlement(p.ack, p.nack, p.reject, p.extend) for key, p in parts.items()}, unknown
