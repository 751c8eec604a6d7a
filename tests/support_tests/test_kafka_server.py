"""The test broker keeps its topics over a kill, which the tests of Kafka rest on."""

from __future__ import annotations

from tests.support.kafka_server import KafkaServer
from tests.support.kafka_topics import Sent, contents, produce


async def test_what_was_acknowledged_is_there_after_a_kill(own_kafka_server: KafkaServer) -> None:
    own_kafka_server.create_topic("kept", 2)
    await produce(own_kafka_server.bootstrap, "kept", [Sent(b"%d" % n, b"%d" % n) for n in range(100)])
    own_kafka_server.kill()
    assert own_kafka_server.process.exit_code is not None
    own_kafka_server.restart()
    records = await contents(own_kafka_server.bootstrap, "kept", 100)
    assert {int(record.value) for record in records} == set(range(100))
