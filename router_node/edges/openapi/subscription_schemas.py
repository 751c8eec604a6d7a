"""What a subscription asks for, as it is sent and as it is shown."""

from __future__ import annotations

from router_client.destination import (
    HIDDEN,
    MAX_CONCURRENCY,
    MAX_HEADER_CHARS,
    MAX_HEADERS,
    MAX_KAFKA_CONCURRENCY,
    MAX_RATE,
    MAX_SECRETS,
    MAX_TIMEOUT_S,
    MAX_URL_CHARS,
)
from router_client.spec import MAX_IN_FLIGHT, MAX_PATTERNS, MAX_REASON_CHARS
from router_node.edges.openapi.events import PATTERN
from router_node.edges.openapi.parts import (
    Json,
    anything,
    asked,
    boolean,
    choice,
    integer,
    listed,
    maybe,
    number,
    ref,
    told,
)
from router_node.edges.openapi.parts import text as _text

NAME = _text("Letters, digits, dots, dashes and underscores.", pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")

_RETRY: dict[str, Json] = {
    "max_attempts": integer(1, 100, "Deliveries before the event is a dead letter.", default=5),
    "base_s": number(0, 3600, "Before the second attempt.", default=1),
    "factor": number(1, 10, "How much longer before each further one.", default=2),
    "max_s": number(0, 86_400, "At most.", default=300),
    "jitter": number(0, 1, "Give or take this fraction.", default=0.1),
}
_SECRET = _text(f"whsec_ and base64 of 24 to 64 bytes; shown, and kept, as {HIDDEN}.")
_WEBHOOK: dict[str, Json] = {
    "secret": {"anyOf": [_SECRET, listed(_SECRET, minItems=1, maxItems=MAX_SECRETS), {"type": "null"}]},
    "mode": choice("structured", "binary", description="How CloudEvents are sent.", default="structured"),
    "concurrency": integer(1, MAX_CONCURRENCY, "Calls at once.", default=10),
    "rate": maybe(number(0.01, MAX_RATE, "Calls a second; null: no limit.")),
    "timeout_s": number(0.1, MAX_TIMEOUT_S, "Less than ack_timeout_s.", default=15),
    "headers": {
        "type": "object",
        "description": f"Sent with every call; values are shown as {HIDDEN}.",
        "maxProperties": MAX_HEADERS,
        "additionalProperties": _text(maxLength=MAX_HEADER_CHARS),
    },
    "retry_on": listed(integer(300, 499), "Statuses that are tried again, though others like them are refusals."),
}
_KAFKA: dict[str, Json] = {
    "bootstrap": maybe(_text("The brokers, host:port[,host:port...]; null: the node's own.", maxLength=MAX_URL_CHARS)),
    "format": choice("event", "cloudevent", description="What a record holds.", default="event"),
    "mode": choice("structured", "binary", description="How CloudEvents are sent.", default="structured"),
    "key": choice(
        "correlation_id", "id", "type", "source", "none", description="A record's key.", default="correlation_id"
    ),
    "concurrency": integer(1, MAX_KAFKA_CONCURRENCY, "Records under way at once.", default=1000),
    "timeout_s": number(0.1, MAX_TIMEOUT_S, "Less than ack_timeout_s.", default=15),
}
_KAFKA_TOPIC = _text("The Kafka topic.", pattern="^[A-Za-z0-9._-]{1,249}$")
_URL = _text("An https:// URL.", format="uri", maxLength=MAX_URL_CHARS)
_SETTINGS: dict[str, Json] = {
    "filter": anything('Conditions on the event, such as {"payload.amount": {"$gt": 100}}; see docs/http-api.md.'),
    "ordering": choice(
        "key",
        "strict",
        "none",
        description="In order per correlation id and priority; per correlation id; or not.",
        default="key",
    ),
    "ack_timeout_s": number(0.05, 43_200, "Unsettled for so long, a delivery has failed.", default=30),
    "on_dead_letter": choice(
        "release", "halt", description="Whether a dead letter holds back its key.", default="release"
    ),
    "max_in_flight": integer(1, MAX_IN_FLIGHT, "Deliveries at once, and credit at most.", default=100),
    "buffer": integer(1, 100_000, "Of an ephemeral one: events that wait for a slow reader.", default=1000),
    "overflow": choice(
        "drop_oldest",
        "drop_newest",
        "block",
        description="Of an ephemeral one: what a slow reader misses.",
        default="drop_oldest",
    ),
    "paused": boolean("Nothing is delivered.", default=False),
    "paused_reason": _text("Why.", maxLength=MAX_REASON_CHARS),
    "skip_before_us": integer(0, 2**62, "What was accepted before is passed over; microseconds since 1970.", default=0),
}
_TOPICS = listed(PATTERN, "What it takes.", minItems=1, maxItems=MAX_PATTERNS)
_COUNTS = {
    "backlog": integer(0, None, "Events that wait, in the whole cluster."),
    "in_flight": integer(0, None, "Deliveries that are not settled yet."),
    "consumers": integer(0, None, "Consumers that are connected."),
}
_REVISION = integer(0, None, "Another one after each change; 0: an ephemeral one has none.")
_TOLD: dict[str, Json] = {
    "name": NAME,
    "topics": _TOPICS,
    **_SETTINGS,
    "retry": told("When a failed delivery is tried again.", **_RETRY),
    "durable": boolean("It keeps its backlog while nobody is connected."),
    "destination": ref("Destination"),
    "revision": _REVISION,
    "owner": maybe(_text("Who made it, a principal's name; null: nobody who was known.")),
}

SCHEMAS: dict[str, Json] = {
    "NewSubscription": asked(
        "What a durable subscription asks for. What is left out, or null, takes its default.",
        ["topics"],
        name=maybe(NAME),
        topics=_TOPICS,
        **{name: maybe(schema) for name, schema in _SETTINGS.items()},
        retry=maybe(asked("When a failed delivery is tried again.", (), **_RETRY)),
        durable={"enum": [True, None], "description": "Ephemeral ones are opened over WebSocket."},
        destination=maybe(ref("NewDestination")),
    ),
    "NewDestination": {
        "description": "Where its events go: to consumers that connect, to a webhook, or to a Kafka topic.",
        "oneOf": [
            asked("Consumers that connect.", ["kind"], kind={"const": "consumer"}),
            asked(
                "A webhook.",
                ["kind", "url"],
                kind={"const": "webhook"},
                url=_URL,
                **{name: maybe(schema) if "type" in schema else schema for name, schema in _WEBHOOK.items()},
            ),
            asked(
                "A Kafka topic.",
                ["kind", "topic"],
                kind={"const": "kafka"},
                topic=_KAFKA_TOPIC,
                **{name: maybe(schema) for name, schema in _KAFKA.items()},
            ),
        ],
    },
    "Destination": {
        "description": "Where its events go.",
        "oneOf": [
            told("Consumers that connect.", kind={"const": "consumer"}),
            told("A webhook.", kind={"const": "webhook"}, url=_URL, **_WEBHOOK),
            told("A Kafka topic.", kind={"const": "kafka"}, topic=_KAFKA_TOPIC, **_KAFKA),
        ],
    },
    "Subscription": told("A subscription, in full.", **_TOLD),
    "ShownSubscription": told("A subscription in full, and what waits for it.", **_TOLD, **_COUNTS),
}

SUBSCRIPTION: Json = {
    "name": "billing",
    "topics": ["orders.>"],
    "filter": {"payload.amount": {"$gt": 100}},
    "ordering": "key",
    "ack_timeout_s": 30.0,
    "retry": {"max_attempts": 5, "base_s": 1.0, "factor": 2.0, "max_s": 300.0, "jitter": 0.1},
    "on_dead_letter": "release",
    "max_in_flight": 100,
    "durable": True,
    "buffer": 1000,
    "overflow": "drop_oldest",
    "destination": {"kind": "consumer"},
    "paused": False,
    "paused_reason": "",
    "skip_before_us": 0,
    "revision": 42,
    "owner": "key:shop",
}
SHOWN: Json = {**SUBSCRIPTION, "backlog": 3, "in_flight": 1, "consumers": 2}
