"""`subscribe` and `tail`: events as they come, one a line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Annotated, Any

import orjson
import typer
from rich.text import Text

from cli.address import DEFAULT_URL, websocket_url
from cli.api import Api
from cli.arguments import AsJson, Url, examples, json_object
from cli.credentials import client_options
from cli.exits import ExitCode
from cli.failures import Failure
from cli.foreground import run
from cli.output import OUT, clean, print_json, print_note, short_time
from router_client.client import EventRouterClient
from router_client.delivery import Deliveries, Delivery
from router_client.errors import NotFound
from router_client.spec import SubscriptionSpec
from router_client.subscription import DEFAULT_CREDIT, SubscriptionBuilder

SUBSCRIBE_EXAMPLES = (
    "event-router subscribe late --topic 'flights.departed.>'",
    'event-router subscribe late --where \'{"payload.dep_delay": {"$gt": 60}}\'',
    "event-router subscribe late --count 10 --json | jq .payload",
    "event-router subscribe late --no-ack",
)
TAIL_EXAMPLES = (
    "event-router tail '>'",
    "event-router tail 'orders.*' 'flights.cancelled.>' --json",
    "event-router tail orders.created --count 1",
)
SUBSCRIBE_EPILOG = examples(*SUBSCRIBE_EXAMPLES)
TAIL_EPILOG = examples(*TAIL_EXAMPLES)

# What makes a subscription; the node's answer tells its state beside it.
_SPEC_MEMBERS = frozenset(SubscriptionSpec.__dataclass_fields__)

Where = Annotated[
    str | None, typer.Option("--where", metavar="JSON", help='A filter, such as {"payload.amount": {"$gt": 100}}.')
]
Count = Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after so many events.")]


def subscribe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The durable subscription.")],
    topics: Annotated[
        list[str] | None, typer.Option("--topic", "-t", metavar="PATTERN", help="Topics to take; may be repeated.")
    ] = None,
    where: Where = None,
    ack: Annotated[bool, typer.Option("--ack/--no-ack", help="Say that each event is dealt with, once shown.")] = True,
    count: Count = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Consume a durable subscription.

    It keeps its backlog while nobody is connected, and several consumers of its
    name share its events. --topic and --where create it, or change those parts
    of one that exists.

    With --no-ack events are only looked at: they stay in the backlog, each look
    counts as an attempt, and no more come than may be in flight. With --json:
    one event object a line.
    """
    condition = json_object(where, "--where") if where is not None else None
    run(_subscribe(url, name, topics, condition, _Sink(as_json=as_json, ack=ack, count=count)))


def tail(
    patterns: Annotated[list[str], typer.Argument(metavar="PATTERN", help="Topics to show; > is all of them.")],
    where: Where = None,
    count: Count = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show events as they are published, from now on.

    Nothing is kept for it. When events come faster than they can be shown, the
    oldest that wait are left out. With --json: one event object a line.
    """
    condition = json_object(where, "--where") if where is not None else None
    run(_tail(url, patterns, condition, _Sink(as_json=as_json, ack=True, count=count)))


class _Sink:
    """Shows deliveries; those shown are acked, if so wished, only after the output took them."""

    def __init__(self, *, as_json: bool, ack: bool, count: int | None) -> None:
        self._show: Callable[[Delivery], None] = _show_json if as_json else _show_line
        self._ack = ack
        self._left = count

    @property
    def credit(self) -> int:
        """How many deliveries to hold at most: none beyond what is to be shown."""
        return DEFAULT_CREDIT if self._left is None else min(self._left, DEFAULT_CREDIT)

    async def drain(self, opened: AbstractAsyncContextManager[Deliveries]) -> None:
        """Show deliveries until there were enough, or the subscription ends."""
        async with opened as deliveries:
            print_note("waiting for events; Ctrl-C ends")
            while self._left != 0:
                shown = await deliveries.batch(DEFAULT_CREDIT if self._left is None else self._left)
                if not shown:
                    return
                for delivery in shown:
                    self._show(delivery)
                sys.stdout.flush()
                if self._left is not None:
                    self._left -= len(shown)
                if self._ack:
                    for delivery in shown:
                        await delivery.ack()


async def _subscribe(url: str, name: str, topics: list[str] | None, where: dict[str, Any] | None, sink: _Sink) -> None:
    changes = {"topics": topics, "filter": where}
    spec = {**await _present(url, name), **{member: value for member, value in changes.items() if value is not None}}
    if not spec.get("topics"):
        raise Failure(
            f"there is no subscription {name}",
            f"create it with: event-router subscribe {name} --topic PATTERN",
            ExitCode.NOT_FOUND,
        )
    _show_reconnects()
    async with EventRouterClient(websocket_url(url), options=client_options()) as client:
        await _consume(replace(client.subscription(name), body=spec), sink)


async def _present(url: str, name: str) -> dict[str, Any]:
    """Return what the subscription is now, so that what is not named stays; nothing when there is none."""
    async with Api(url) as api:
        try:
            found = await api.subscription(name)
        except NotFound:
            return {}
    return {member: value for member, value in found.items() if member in _SPEC_MEMBERS}


async def _tail(url: str, patterns: list[str], where: dict[str, Any] | None, sink: _Sink) -> None:
    _show_reconnects()
    async with EventRouterClient(websocket_url(url), options=client_options()) as client:
        await _consume(client.subscription().topics(*patterns).where(where or {}), sink)


def _show_reconnects() -> None:
    """Say on stderr when the node is lost and tried again; these commands wait for it as long as they are let."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("router_client")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


async def _consume(subscription: SubscriptionBuilder, sink: _Sink) -> None:
    await sink.drain(subscription.credit(sink.credit).open())


def _show_json(delivery: Delivery) -> None:
    print_json(delivery.object)


def _show_line(delivery: Delivery) -> None:
    event = delivery.object
    tries = f" try {delivery.attempt}" if delivery.attempt > 1 else ""
    key = f" key={event['correlation_id']}" if event["correlation_id"] != event["id"] else ""
    OUT.print(
        Text.assemble(
            (short_time(event["timestamp"]), "dim"),
            f" {event['priority']} ",
            (clean(event["type"]), "bold cyan"),
            (clean(key + tries), "dim"),
            " " + clean(orjson.dumps(event["payload"]).decode()),
        ),
        soft_wrap=True,
    )
