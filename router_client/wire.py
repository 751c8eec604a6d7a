"""The frames of the WebSocket protocol at ``/v1/ws``, version 1: each a JSON object in one text message.

The client's frames are built by :func:`hello` to :func:`ping` and read by :func:`read_frame`; the node's are built by
:func:`welcome` to :func:`pong` and read by ``orjson.loads``, as the client trusts its node. A ``ref`` is the client's
own mark on a frame; the answer carries it. docs/websocket.md describes the conversation.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from router_client.errors import EventRouterError, InvalidInput
from router_client.json_input import loads
from router_client.kept_form import publish_frame
from router_client.spec import MAX_IN_FLIGHT, SubscriptionSpec

VERSION = 1
MAX_REF = 2**53
MAX_REF_CHARS = 64
MAX_DELAY_S = 86_400.0
MAX_CREDIT = MAX_IN_FLIGHT

Ref = int | str


class Hello(NamedTuple):
    """The first frame of a connection."""

    version: int
    token: str | None


class Publish(NamedTuple):
    """Event objects to publish, ``Kept`` ones, or ``msgspec.Raw`` of such that are not decoded yet.

    They are checked one by one later, so that one bad event harms no other.
    """

    ref: Ref | None
    ack: str
    events: list[object]


class Subscribe(NamedTuple):
    """Open a subscription and take up to ``credit`` deliveries."""

    ref: Ref | None
    spec: SubscriptionSpec
    credit: int


class Unsubscribe(NamedTuple):
    """Stop taking deliveries; a durable subscription stays."""

    ref: Ref | None
    name: str


class Failure(NamedTuple):
    """A delivery given back; without ``delay_s`` the subscription's retry policy decides."""

    delivery_id: str
    delay_s: float | None = None
    error: str = ""


class Settle(NamedTuple):
    """What a consumer says of its deliveries: done, failed, give up, more time; and how many more it takes of which
    subscription, as Credit does. Also the body of HTTP's settle, without the last.
    """

    ref: Ref | None
    ack: list[str]
    nack: list[Failure]
    reject: list[Failure]
    extend: list[str]
    credit: Mapping[str, int]


class Credit(NamedTuple):
    """Allow ``add`` more deliveries."""

    ref: Ref | None
    name: str
    add: int


class Ping(NamedTuple):
    """Ask for a pong."""

    ref: Ref | None


Frame = Hello | Publish | Subscribe | Unsubscribe | Settle | Credit | Ping


# What a client sends


def hello(token: str | None = None) -> bytes:
    """Greet; the first frame."""
    return orjson.dumps({"op": "hello", "version": VERSION} | ({} if token is None else {"token": token}))


def publish(ref: Ref, bodies: Iterable[bytes], ack: str = "accepted") -> bytes:
    """Publish events that are encoded already (:meth:`Event.encode`)."""
    head = orjson.dumps({"op": "publish", "ref": ref, "ack": ack})
    return b'%s,"events":[%s]}' % (head[:-1], b",".join(bodies))


def subscribe(ref: Ref, spec: SubscriptionSpec, credit: int) -> bytes:
    """Open ``spec`` with ``credit`` deliveries to take."""
    return orjson.dumps({"op": "subscribe", "ref": ref, "credit": credit, **spec.to_object()})


def unsubscribe(ref: Ref, name: str) -> bytes:
    """Stop taking deliveries of ``name``."""
    return orjson.dumps({"op": "unsubscribe", "ref": ref, "name": name})


def settle(settlement: Mapping[str, Any], credit: Mapping[str, int]) -> bytes:
    """Settle deliveries, and allow more of the subscriptions that ``credit`` names.

    ``settlement`` has ``ack``, ``nack``, ``reject`` and ``extend``, each optional.
    """
    return orjson.dumps({"op": "settle", **settlement, **({"credit": credit} if credit else {})})


def credit(name: str, add: int) -> bytes:
    """Allow ``add`` more deliveries of ``name``."""
    return orjson.dumps({"op": "credit", "name": name, "add": add})


def ping() -> bytes:
    """Ask for a pong."""
    return b'{"op":"ping"}'


# What a node sends


def welcome(node: str, cluster: str, limits: Mapping[str, Any]) -> bytes:
    """Answer a hello."""
    return orjson.dumps({"op": "welcome", "version": VERSION, "node": node, "cluster": cluster, "limits": limits})


def published(ref: Ref | None, results: Sequence[Mapping[str, Any]]) -> bytes:
    """Answer a publish: ``{"id", "partition", "duplicate"}`` or ``{"error"}`` for each event, in order."""
    return orjson.dumps({"op": "published", **_ref(ref), "results": results})


def subscribed(ref: Ref | None, name: str) -> bytes:
    """Answer a subscribe, with the name given to a nameless one."""
    return orjson.dumps({"op": "subscribed", **_ref(ref), "name": name})


def unsubscribed(ref: Ref | None, name: str) -> bytes:
    """Answer an unsubscribe."""
    return orjson.dumps({"op": "unsubscribed", **_ref(ref), "name": name})


def deliver(name: str, deliveries: Iterable[tuple[str, int, bytes]]) -> bytes:
    """Hand over deliveries of the subscription ``name``."""
    return b'{"op":"deliver","name":"%s","deliveries":%s}' % (name.encode(), delivery_list(deliveries))


def delivery_list(deliveries: Iterable[tuple[str, int, bytes]]) -> bytes:
    """Return the JSON array of deliveries: (id of ASCII letters, digits, dots and dashes; attempt; event object)."""
    return b"[%s]" % b",".join(
        b'{"delivery_id":"%s","attempt":%d,"event":%s}' % (delivery_id.encode(), attempt, body)
        for delivery_id, attempt, body in deliveries
    )


def error(problem: EventRouterError, *, ref: Ref | None = None, **more: Any) -> bytes:
    """Report what went wrong: with a frame (its ``ref``), or with a subscription that ended (``name``)."""
    return orjson.dumps({"op": "error", **_ref(ref), **more, "error": problem.problem()})


def draining() -> bytes:
    """Announce that the node stops: what is under way is answered, then it closes."""
    return b'{"op":"draining"}'


def pong(ref: Ref | None) -> bytes:
    """Answer a ping."""
    return orjson.dumps({"op": "pong", **_ref(ref)})


def _ref(ref: Ref | None) -> dict[str, Ref]:
    return {} if ref is None else {"ref": ref}


# Reading what a client sent


def decode(text: str | bytes) -> dict[str, Any]:
    """Decode a frame to a JSON object. Raises InvalidInput with ``field`` "frame"."""
    frame = loads(text, "frame")
    if not isinstance(frame, dict):
        raise InvalidInput("a frame is a JSON object", field="frame")
    return frame


def plain_publish(text: str) -> Publish | None:
    """Read a publish frame without decoding its events; None for any other, which :func:`decode` is for."""
    read = publish_frame(text)
    if read is None:
        return None
    frame, events = read
    return Publish(frame.ref, frame.ack, list(events)) if ref_of({"ref": frame.ref}) == frame.ref else None


def ref_of(frame: Mapping[str, Any]) -> Ref | None:
    """Return the mark of a frame, or None where it has none that could be used."""
    ref = frame.get("ref")
    if type(ref) is int and -MAX_REF <= ref <= MAX_REF:
        return ref
    return ref if isinstance(ref, str) and len(ref) <= MAX_REF_CHARS else None


def read_frame(frame: dict[str, Any]) -> Frame:
    """Check a client's decoded frame.

    Raises InvalidInput whose ``field`` is the member at fault. Events of a publish are not looked at.
    """
    op = frame.get("op")
    read = _READERS.get(op) if isinstance(op, str) else None
    if read is None:
        raise InvalidInput("one of " + ", ".join(_READERS), field="op")
    if frame.get("ref") is not None and ref_of(frame) is None:
        raise InvalidInput(f"an integer or at most {MAX_REF_CHARS} characters", field="ref")
    return read(frame)


def read_settle(body: object, *also: str) -> Settle:
    """Check a settlement. Raises InvalidInput whose ``field`` is the member at fault."""
    if not isinstance(body, dict):
        raise InvalidInput("a settlement is a JSON object", field="settlement")
    _only(body, "ack", "nack", "reject", "extend", *also)
    return Settle(
        ref_of(body),
        _ids(body, "ack"),
        _failures(body, "nack", "delivery_id", "delay_s", "error"),
        _failures(body, "reject", "delivery_id", "error"),
        _ids(body, "extend"),
        _credits(body) if "credit" in also else {},
    )


def _hello(frame: dict[str, Any]) -> Hello:
    _only(frame, "op", "ref", "version", "token")
    if type(frame.get("version")) is not int or frame["version"] != VERSION:
        raise InvalidInput(f"this node speaks version {VERSION}", field="version")
    token = frame.get("token")
    if token is not None and not isinstance(token, str):
        raise InvalidInput("must be text", field="token")
    return Hello(VERSION, token)


def _publish(frame: dict[str, Any]) -> Publish:
    _only(frame, "op", "ref", "ack", "events")
    ack, events = frame.get("ack", "accepted"), frame.get("events")
    if not isinstance(ack, str):
        raise InvalidInput("one of accepted, replicated, stored", field="ack")
    if not isinstance(events, list):
        raise InvalidInput("a list of event objects", field="events")
    return Publish(ref_of(frame), ack, events)


def _subscribe(frame: dict[str, Any]) -> Subscribe:
    members = {key: value for key, value in frame.items() if key not in ("op", "ref", "credit")}
    name = members.get("name")
    if name is None:
        if members.get("durable") is True:
            raise InvalidInput("a durable subscription needs a name", field="name")
        name = members["name"] = f"ephemeral-{secrets.token_hex(8)}"
        if members.get("durable") is None:
            members["durable"] = False
    spec = SubscriptionSpec.from_object(name, members)
    given = frame.get("credit")
    return Subscribe(ref_of(frame), spec, spec.max_in_flight if given is None else _count(given, "credit", 0))


def _unsubscribe(frame: dict[str, Any]) -> Unsubscribe:
    _only(frame, "op", "ref", "name")
    return Unsubscribe(ref_of(frame), _name(frame))


def _settle(frame: dict[str, Any]) -> Settle:
    return read_settle(frame, "op", "ref", "credit")


def _credit(frame: dict[str, Any]) -> Credit:
    _only(frame, "op", "ref", "name", "add")
    return Credit(ref_of(frame), _name(frame), _count(frame.get("add"), "add", 1))


def _ping(frame: dict[str, Any]) -> Ping:
    _only(frame, "op", "ref")
    return Ping(ref_of(frame))


_READERS: dict[str, Callable[[dict[str, Any]], Frame]] = {
    "hello": _hello,
    "publish": _publish,
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "settle": _settle,
    "credit": _credit,
    "ping": _ping,
}


def _only(body: Mapping[str, Any], *allowed: str) -> None:
    for key in body:
        if key not in allowed:
            raise InvalidInput("unknown member", field=key)


def _name(frame: Mapping[str, Any]) -> str:
    name = frame.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidInput("the name of a subscription", field="name")
    return name


def _count(value: object, field: str, low: int) -> int:
    if type(value) is not int or not low <= value <= MAX_CREDIT:
        raise InvalidInput(f"an integer from {low} to {MAX_CREDIT}", field=field)
    return value


def _credits(body: Mapping[str, Any]) -> Mapping[str, int]:
    credit = body.get("credit")
    if credit is None:
        return {}
    if not isinstance(credit, dict):
        raise InvalidInput("an object of subscriptions and how many more they may deliver", field="credit")
    return {name: _count(more, f"credit.{name}", 1) for name, more in credit.items()}


def _ids(body: Mapping[str, Any], field: str) -> list[str]:
    ids = body.get(field)
    if ids is None:
        return []
    if not isinstance(ids, list) or set(map(type, ids)) - {str}:
        raise InvalidInput("a list of delivery ids", field=field)
    return ids


def _failures(body: Mapping[str, Any], field: str, *members: str) -> list[Failure]:
    entries = body.get(field)
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise InvalidInput("a list of delivery ids, or of objects with a delivery_id", field=field)
    return [_failure(entry, f"{field}[{index}]", members) for index, entry in enumerate(entries)]


def _failure(entry: object, field: str, members: tuple[str, ...]) -> Failure:
    if isinstance(entry, str):
        return Failure(entry)
    if not isinstance(entry, dict):
        raise InvalidInput("a delivery id, or an object with a delivery_id", field=field)
    for key in entry:
        if key not in members:
            raise InvalidInput("unknown member", field=f"{field}.{key}")
    delivery_id, delay_s, reason = entry.get("delivery_id"), entry.get("delay_s"), entry.get("error")
    if not isinstance(delivery_id, str):
        raise InvalidInput("must be text", field=f"{field}.delivery_id")
    if delay_s is not None and (type(delay_s) not in (int, float) or not 0 <= delay_s <= MAX_DELAY_S):
        raise InvalidInput(f"a number from 0 to {MAX_DELAY_S:g}", field=f"{field}.delay_s")
    if reason is not None and not isinstance(reason, str):
        raise InvalidInput("must be text", field=f"{field}.error")
    return Failure(delivery_id, delay_s, reason or "")
