"""Metrics by OpenTelemetry, read by Prometheus at /metrics.

Stages count in plain integers; the instruments read those only when somebody scrapes, so counting costs the path of
an event nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, generate_latest

from router_node.cluster.cluster import Cluster
from router_node.destinations.destinations import Destinations
from router_node.destinations.outlet import Tally
from router_node.destinations.webhook import Counts
from router_node.edges.conduct import TOLD, Conduct, Fault
from router_node.edges.security import Security
from router_node.flow.record import Recorder
from router_node.kafka.kafka_side import KafkaSide
from router_node.pipeline import Pipeline
from router_node.retention import Retention
from router_node.secured import Secured

Read = Callable[[], float]


class Metrics:
    """The instruments of one node; ``text`` is the page of /metrics in the Prometheus text format."""

    def __init__(
        self, pipeline: Pipeline, retention: Retention, outward: Destinations, kafka: KafkaSide, secured: Secured
    ) -> None:
        self._registry = CollectorRegistry()
        self._provider = MeterProvider(
            [PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=self._registry)],
            shutdown_on_exit=False,
        )
        self._meter = self._provider.get_meter("event_router")
        self._pipeline = pipeline
        self.conduct = Conduct()
        self._measure_flow(pipeline)
        self._measure_attempts(pipeline.recorder, retention)
        self._measure_webhooks(outward.counts)
        self._measure_kafka(outward.kafka_counts, kafka)
        self._measure_security(secured)
        self._measure_clients()

    def _measure_flow(self, p: Pipeline) -> None:
        self._counter("er_events_accepted", "Events appended to the log", lambda: p.appender.accepted)
        self._counter("er_events_refused", "Events refused at the append: backlog, memory", lambda: p.appender.refused)
        self._counter("er_append_commits", "Group commits to the log", lambda: p.appender.commits)
        self._counter("er_entries_read", "Record batches read from the log", lambda: p.reader.entries_read)
        self._counter("er_entries_brought", "Record batches brought by the append", lambda: p.reader.entries_brought)
        self._counter("er_events_routed", "Events routed", lambda: p.router.routed)
        self._counter("er_events_matched", "Events times subscriptions matched", lambda: p.router.matched)
        self._counter("er_events_target_missed", "Events whose target took nothing", lambda: p.router.targets_missed)
        self._counter("er_events_gated", "Events stopped by a global filter", lambda: p.router.filtered_globally)
        self._counter("er_events_stored", "Events written to the store", lambda: p.persister.stored)
        self._counter("er_events_settled", "Events settled in the log", lambda: p.settler.settled)
        self._counter("er_events_spilled", "Events spilled to lanes' queues", lambda: p.settler.spilled)
        self._counter("er_events_delivered", "Deliveries handed to consumers", lambda: self._total("delivered"))
        self._counter("er_events_acked", "Deliveries acknowledged", lambda: self._total("acked"))
        self._counter("er_events_retried", "Deliveries that failed and are retried", lambda: self._total("retried"))
        self._counter("er_events_dead", "Events dead-lettered", lambda: self._total("dead_lettered"))
        self._counter("er_events_dropped", "Events dropped by an overflow policy", lambda: self._total("dropped"))
        self._counter("er_events_expired", "Events that expired undelivered", lambda: self._total("expired"))
        self._counter("er_events_skipped", "Events passed over by a seek", lambda: self._total("skipped"))
        self._counter("er_events_scheduled", "Events put into the schedule", lambda: p.scheduler.scheduled)
        self._counter("er_events_due", "Scheduled events that became due", lambda: p.scheduler.became_due)
        self._gauge("er_events_held_in_order", "Events held until all before them are read", lambda: len(p.sequencer))
        self._gauge("er_append_waiting", "Events waiting for a group commit", lambda: p.appender.waiting)
        self._gauge("er_unsettled_events", "Events unsettled in memory", lambda: p.settler.unsettled_events)
        self._gauge("er_unsettled_bytes", "Bytes unsettled in memory", lambda: p.settler.unsettled_bytes)
        self._gauge("er_store_waiting", "Events in memory on their way to the store", lambda: p.persister.waiting)
        self._gauge("er_store_behind", "Events spilled while the store was away", lambda: p.persister.behind)
        self._gauge("er_partitions_owned", "Partitions owned", lambda: len(p.reader.owned()) // 10)
        self._gauge("er_subscriptions", "Subscriptions", lambda: len(p.registry))
        self._gauge("er_subscriptions_awake", "Subscriptions with more than their spec", lambda: p.registry.awake)
        self._gauge("er_topic_patterns", "Different topic patterns subscribed to", lambda: p.registry.routes.patterns)
        self._gauge(
            "er_topic_shapes", "Kinds of patterns a topic looks into, at most", lambda: p.registry.routes.shapes
        )
        self._gauge("er_filter_load", "Conditions checked one by one, at worst", lambda: p.registry.routes.load)
        self._gauge("er_filter_lookups", "Values events are looked up by, at worst", lambda: p.registry.routes.lookups)
        self._counter("er_events_undecided", "Events too costly for some filters", lambda: p.router.too_costly)
        self._gauge("er_backlog_events", "Unsettled events of all subscriptions", self._backlog)
        self._gauge("er_in_flight", "Deliveries under way", lambda: sum(len(d.in_flight) for d in p.registry))
        self._gauge("er_stored_waits", "Events that publishers wait to have stored", lambda: p.outbox.waiting)
        self._gauge("er_outbox_removals", "Rows of settled events still to be removed", lambda: p.outbox.removing)
        self._counter("er_events_fed", "Stored events fed to a log that had lost them", lambda: p.outbox.fed)
        self._counter("er_sweep_finds", "Partitions found to have more by a sweep", lambda: p.reader.found_by_sweep)

    def _measure_attempts(self, recorder: Recorder, retention: Retention) -> None:
        self._counter("er_attempts_logged", "Attempts written to the delivery log", lambda: recorder.written)
        self._counter("er_attempts_unlogged", "Attempts the delivery log had no room for", lambda: recorder.dropped)
        self._gauge("er_attempts_waiting", "Attempts on their way to the delivery log", lambda: recorder.waiting)
        self._counter("er_attempts_expired", "Attempts removed as old by this node", lambda: retention.expired)

    def _measure_clients(self) -> None:
        for fault in Fault:
            self._counter(f"er_client_{fault}", TOLD[fault], lambda fault=fault: self.conduct.counts[fault])  # type: ignore[misc]

    def _measure_webhooks(self, w: Counts) -> None:
        self._counter("er_webhook_calls", "Calls of webhooks that ended", lambda: w.calls)
        self._counter("er_webhook_delivered", "Calls answered with success", lambda: w.delivered)
        self._counter("er_webhook_failed", "Calls that failed and are tried again", lambda: w.failed)
        self._counter("er_webhook_timed_out", "Calls without an answer in time", lambda: w.failures["timed_out"])
        self._counter("er_webhook_rejected", "Calls answered with a refusal: dead letters", lambda: w.rejected)
        self._counter("er_webhook_unreachable", "Calls that found no connection", lambda: w.failures["unreachable"])
        self._counter("er_webhook_broken", "Calls that got no HTTP answer", lambda: w.failures["broken"])
        self._counter(
            "er_webhook_addresses_refused", "Calls to addresses that may not be called", lambda: w.failures["refused"]
        )
        self._gauge("er_webhook_in_flight", "Calls of webhooks under way", lambda: w.in_flight)
        self._gauge(
            "er_webhook_breakers_open", "Webhooks left alone because they keep failing", lambda: w.open_breakers
        )

    def _measure_security(self, s: Secured) -> None:
        self._gauge("er_keys", "API keys that this node knows", lambda: s.directory.keys)
        self._gauge("er_access_revision", "Change of keys and policies that this node is at", lambda: s.sync.revision)
        self._counter("er_access_looks_failed", "Looks for changes of keys that failed", lambda: s.sync.failed_looks)
        self._gauge("er_audit_waiting", "Entries on their way to the audit log", lambda: s.trail.waiting)
        self._counter("er_audit_dropped", "Entries the audit log had no room for", lambda: s.trail.dropped)

    def measure_bounds(self, security: Callable[[], Security]) -> None:
        """Measure what bounds clients, too."""
        publisher = self._pipeline.publisher
        self._counter("er_events_forbidden", "Events refused by a policy", lambda: publisher.forbidden)
        self._counter("er_rate_asked", "Calls to the cluster's buckets", lambda: security().rates.asked)
        self._counter("er_rate_unanswered", "Such calls without an answer in time", lambda: security().rates.unanswered)
        self._gauge("er_rate_principals", "Principals whose rates are remembered", lambda: len(security().rates))
        self._gauge("er_seats", "Connections of principals that may have so many only", lambda: len(security().seats))

    def _measure_kafka(self, d: Tally, kafka: KafkaSide) -> None:
        b = kafka.counts
        self._counter("er_kafka_records", "Records consumed by bridges", lambda: b.records)
        self._counter("er_kafka_appended", "Records appended as events", lambda: b.appended)
        self._counter("er_kafka_duplicates", "Records known as repeats", lambda: b.duplicates)
        self._counter("er_kafka_refused", "Records that are no events", lambda: b.refused)
        self._counter("er_kafka_dead_lettered", "Of those, put into a dead-letter topic", lambda: b.dead_lettered)
        self._counter("er_kafka_skipped", "Of those, only named in the log", lambda: b.skipped)
        self._counter("er_kafka_held_back", "Times a bridge waited: overload, Redis away", lambda: b.held_back)
        self._counter("er_kafka_failures", "Times a bridge lost its brokers or could not begin", lambda: b.failures)
        self._counter("er_kafka_commits_failed", "Commits of offsets that were refused", lambda: b.commits_failed)
        self._gauge("er_kafka_bridges_running", "Bridges that are members of their group", lambda: b.running)
        self._gauge("er_kafka_lag", "Records that bridges have still to read of their partitions", lambda: kafka.lag)
        self._counter("er_kafka_delivered", "Deliveries that Kafka acknowledged", lambda: d.delivered)
        self._counter("er_kafka_failed", "Deliveries that failed and are tried again", lambda: d.failed)
        self._counter("er_kafka_rejected", "Deliveries that Kafka never takes: dead letters", lambda: d.rejected)
        self._gauge("er_kafka_in_flight", "Deliveries to Kafka under way", lambda: d.in_flight)
        self._gauge("er_kafka_breakers_open", "Topics left alone as nothing gets through", lambda: d.open_breakers)

    def watch(self, cluster: Cluster) -> None:
        """Measure the node's part in a cluster too."""
        c, link, ownership = cluster, cluster.link, cluster.ownership
        self._gauge("er_members", "Live nodes", lambda: len(c.presence.roster.members))
        self._gauge("er_redis_silence_seconds", "Time since Redis last answered a beat", lambda: c.presence.silent_s)
        self._gauge("er_consumers", "Consumers connected to this node", lambda: len(c.attachments))
        self._gauge("er_remote_consumers", "Consumers on other nodes that this node serves", lambda: len(c.guests))
        self._counter("er_leases_taken", "Leases taken", lambda: ownership.taken_leases)
        self._counter("er_leases_lost", "Leases found lost", lambda: ownership.lost_leases)
        self._counter("er_partitions_handed_over", "Partitions handed over", lambda: ownership.handed_over)
        self._counter("er_rounds_failed", "Rounds of membership that failed", lambda: c.presence.failed_rounds)
        self._gauge("er_peer_waiting_bytes", "Bytes waiting to be said to other nodes", lambda: link.waiting_bytes)
        self._counter("er_peer_packets_sent", "Packets to other nodes", lambda: link.packets_sent)
        self._counter("er_peer_packets_heard", "Packets from other nodes", lambda: link.packets_heard)
        self._counter("er_peer_gaps", "Times that packets from another node were found lost", lambda: link.gaps)
        self._counter("er_peer_frames_dropped", "Frames to other nodes dropped: too much waited", lambda: link.dropped)
        self._counter("er_deliveries_bounced", "Deliveries that found no consumer", lambda: c.attachments.bounced)
        self._counter("er_deliveries_stale", "Deliveries of a replaced owner dropped", lambda: c.attachments.stale)
        self._counter("er_doorbells_sent", "Streams rung on other nodes", lambda: c.doorbells.rung_elsewhere)
        self._counter("er_fences_passed", "Fences of a growth passed", lambda: c.growing.passed)
        self._counter("er_events_moved", "Events appended where their slot had moved to", lambda: c.growing.moved)

    def text(self) -> bytes:
        """Return the page of /metrics."""
        return generate_latest(self._registry)

    def close(self) -> None:
        """Stop the provider."""
        self._provider.shutdown()

    def _total(self, name: str) -> float:
        return float(self._pipeline.ended_totals.get(name, 0) + sum(getattr(d, name) for d in self._pipeline.registry))

    def _backlog(self) -> float:
        return float(sum(dispatch.window.backlog for dispatch in self._pipeline.registry))

    def _counter(self, name: str, description: str, read: Read) -> None:
        self._meter.create_observable_counter(name, [_observe(read)], description=description)

    def _gauge(self, name: str, description: str, read: Read) -> None:
        self._meter.create_observable_gauge(name, [_observe(read)], description=description)


def _observe(read: Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: (Observation(read()),)
