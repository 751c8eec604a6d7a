"""What the settings of Kafka must be, and the templates in them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from router_client.errors import InvalidInput
from router_client.kafka import library
from router_node.config import ConfigError, Settings, load_settings
from router_node.kafka.record_mapping import template
from router_node.node import embedded

URL = "kafka://user:s3cret@one:9092,two:9092/?security=SASL_PLAINTEXT"
FILE = f"""
kafka_url = "{URL}"
kafka_destinations = ["kafka://me:s3cret@out:9092/?topics=out.*"]

[[kafka_bridges]]
topics = ["orders", "returns"]
group = "router"
dead_letter_topic = "orders.dead"
ack = "stored"

[[kafka_bridges]]
topics = ["legacy"]
records = "payload"
map = {{ type = "legacy.{{header:kind}}", priority = 7 }}
"""


def test_bridges_are_tables_of_the_file_and_passwords_are_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(FILE)
    settings = load_settings(file)
    first, second = settings.kafka_bridges
    assert (first.topics, first.group_in("blue"), first.ack) == (("orders", "returns"), "router", "stored")
    assert (second.group_in("blue"), second.map["priority"]) == ("event-router.blue", 7)
    shown = str(settings.redacted())
    assert "s3cret" not in shown
    assert "user:***@one:9092,two:9092" in shown


def test_they_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ER_KAFKA_URL", "kafka://one:9092")
    monkeypatch.setenv("ER_KAFKA_BRIDGES", '[{topics = ["a"]}]')
    monkeypatch.setenv("ER_KAFKA_DESTINATIONS", '["kafka://one/?topics=*"]')
    settings = load_settings()
    assert settings.kafka_bridges[0].topics == ("a",)
    assert settings.kafka_destinations == ("kafka://one/?topics=*",)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"kafka_url": "http://one"}, "kafka_url"),
        ({"kafka_bridges": [{"topics": ["a"]}], "kafka_url": None}, "need kafka_url"),
        ({"kafka_bridges": [{"topics": []}]}, "kafka_bridges.0.topics"),
        ({"kafka_bridges": [{"topics": ["no/topic"]}]}, "topics"),
        ({"kafka_bridges": [{"topics": ["a"], "topic": "b"}]}, "kafka_bridges.0.topic"),
        ({"kafka_bridges": [{"topics": ["a"], "records": "payload"}]}, "map.type"),
        ({"kafka_bridges": [{"topics": ["a"], "map": {"payload": "{key}"}}]}, "payload is none of"),
        ({"kafka_bridges": [{"topics": ["a"], "map": {"type": "{head:kind}"}}]}, "map.type"),
        ({"kafka_bridges": [{"topics": ["a"], "map": {"type": "a.{key"}}]}, "map.type"),
        ({"kafka_bridges": [{"topics": ["a"], "dead_letter_topic": "a"}]}, "dead_letter_topic"),
        ({"kafka_bridges": [{"topics": ["a"], "ack": "maybe"}]}, "kafka_bridges.0.ack"),
        ({"kafka_bridges": [{"topics": ["a"]}, {"topics": ["b", "a"]}]}, "in two bridges"),
        ({"kafka_destinations": ["kafka://one:9092"]}, "kafka_destinations[0].topics"),
        ({"kafka_destinations": ["one:9092"]}, "kafka_destinations"),
    ],
)
def test_a_fault_names_what_is_wrong(values: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(**{"kafka_url": "kafka://one:9092", **values})
    assert named in str(caught.value)


async def test_a_node_with_bridges_and_without_the_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(library, "import_module", missing)
    bridges: Any = [{"topics": ["a"]}]
    settings = Settings(database_url="sqlite:///:memory:", kafka_url="kafka://one", kafka_bridges=bridges)
    with pytest.raises(ExceptionGroup) as caught:
        await embedded(settings=settings).__aenter__()
    fault: BaseException = caught.value
    while isinstance(fault, ExceptionGroup):
        (fault,) = fault.exceptions
    assert isinstance(fault, ConfigError)
    assert "pip install event-router[kafka]" in str(fault)


def record(**members: Any) -> Any:
    return SimpleNamespace(**{"topic": "t", "partition": 1, "offset": 2, "key": None, "headers": (), **members})


@pytest.mark.parametrize(
    ("made_of", "found"),
    [
        ("plain.text", "plain.text"),
        (7, 7),
        ("{topic}-{partition}-{offset}", "t-1-2"),
        ("{payload.n}", 5),
        ("n{payload.n}", "n5"),
        ("{payload.deep.text}", "x"),
        ("{header:Kind}.{key}", "made.k"),
    ],
)
def test_templates(made_of: str | int, found: object) -> None:
    of = record(key=b"k", headers=[("kind", b"made")])
    assert template(made_of, "type")(of, {"n": 5, "deep": {"text": "x"}}) == found


@pytest.mark.parametrize("made_of", ["{key}", "{header:kind}", "{payload.n}", "{payload.deep}", "x{payload.deep.x}"])
def test_a_part_that_a_record_does_not_have_is_named(made_of: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        template(made_of, "type")(record(), {"deep": {}})
    assert caught.value.field == "type"
