"""What a node is told of Kafka: the topics it consumes, and the brokers that subscriptions may send to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from router_client.errors import InvalidInput
from router_client.kafka.records import DEFAULTS, Default
from router_client.kafka.url import KafkaUrl, check_brokers, check_kafka_topic
from router_node.kafka.record_mapping import MEMBERS, template

MAX_BRIDGES, MAX_TOPICS = 50, 100


class KafkaBridge(BaseModel):
    """Topics whose records are published as events; one table of ``kafka_bridges``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topics: tuple[str, ...] = Field(min_length=1, max_length=MAX_TOPICS)
    group: str = Field(default="", max_length=249)
    records: Literal["event", "payload"] = "event"
    map: dict[str, str | int] = Field(default_factory=dict)
    ack: Literal["accepted", "replicated", "stored"] = "accepted"
    start: Literal["earliest", "latest"] = "earliest"
    dead_letter_topic: str | None = None
    batch: int = Field(default=500, ge=1, le=1000)

    @field_validator("topics")
    @classmethod
    def _topics(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_said(check_kafka_topic, each, "topics") for each in value)

    @field_validator("dead_letter_topic")
    @classmethod
    def _dead_letters(cls, value: str | None) -> str | None:
        return value if value is None else _said(check_kafka_topic, value, "dead_letter_topic")

    @field_validator("map")
    @classmethod
    def _map(cls, value: dict[str, str | int]) -> dict[str, str | int]:
        for member, made_of in value.items():
            if member not in MEMBERS:
                raise ValueError(f"{member} is none of {', '.join(MEMBERS)}")
            _said(template, made_of, f"map.{member}")
        return value

    @model_validator(mode="after")
    def _together(self) -> KafkaBridge:
        if self.records == "payload" and "type" not in self.map:
            raise ValueError('map.type is required when records = "payload", such as "orders.{header:kind}"')
        if self.dead_letter_topic in self.topics:
            raise ValueError("dead_letter_topic is one of the topics: what fails would fail again for ever")
        return self

    @cached_property
    def defaults(self) -> Mapping[str, Default]:
        """What gives each member that a record does not bring."""
        return {**DEFAULTS, **{member: template(value, member) for member, value in self.map.items()}}

    def group_in(self, cluster: str) -> str:
        """The consumer group, by default one for the cluster."""
        return self.group or f"event-router.{cluster}"


class Outlet(NamedTuple):
    """Brokers that subscriptions may name, how to speak with them, and the patterns of topics that may be sent to."""

    url: KafkaUrl
    topics: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, name: str) -> Outlet:
        """Read one of ``kafka_destinations``: a kafka:// URL with ``topics``, patterns with ``*`` parted by commas.

        Raises InvalidInput.
        """
        url = KafkaUrl.parse(text, more=("topics",), name=name)
        topics = tuple(each for each in url.options.get("topics", "").split(",") if each)
        if not topics:
            raise InvalidInput("which topics subscriptions may send to, such as ?topics=out.*", field=f"{name}.topics")
        return cls(url, topics)

    def takes(self, topic: str) -> bool:
        """Tell whether a topic may be sent to."""
        return any(fnmatchcase(topic, pattern) for pattern in self.topics)


class Outlets:
    """The rule for destinations: nothing that the operator did not allow."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        self._outlets = [Outlet.parse(each, f"kafka_destinations[{index}]") for index, each in enumerate(urls)]

    def find(self, destination: Mapping[str, object]) -> KafkaUrl:
        """Return how to reach a destination's brokers; without ``bootstrap`` the first outlet's.

        Raises InvalidInput naming what is not allowed.
        """
        if not self._outlets:
            raise InvalidInput(
                "Kafka destinations are off; the operator allows them with kafka_destinations",
                field="destination.kind",
            )
        bootstrap = destination.get("bootstrap")
        named = None if bootstrap is None else set(check_brokers(str(bootstrap), "destination.bootstrap"))
        found = [each for each in self._outlets if named is None or named <= set(each.url.brokers)]
        if not found:
            raise InvalidInput("no broker that the operator allows (kafka_destinations)", field="destination.bootstrap")
        for outlet in found[:1] if named is None else found:
            if outlet.takes(str(destination["topic"])):
                return outlet.url
        raise InvalidInput("no topic that the operator allows (kafka_destinations)", field="destination.topic")


def check_bridges(bridges: tuple[KafkaBridge, ...], cluster: str) -> None:
    """Refuse a topic that one group would consume twice. Raises ValueError."""
    taken: set[tuple[str, str]] = set()
    for bridge in bridges:
        for topic in bridge.topics:
            place = (bridge.group_in(cluster), topic)
            if place in taken:
                raise ValueError(f"{topic} is in two bridges of the group {place[0]}; each record goes to one of them")
            taken.add(place)


def _said(check: Callable[[Any, str], object], value: object, name: str) -> str:
    """Have a fault of input be a fault of settings."""
    try:
        check(value, name)
    except InvalidInput as error:
        raise ValueError(str(error)) from error
    return str(value)
