"""Health and metrics, for probes, load balancers and Prometheus."""

from __future__ import annotations

from router_node.edges.openapi.parts import Json, Noun, answer, boolean, choice, operation, ref, told
from router_node.edges.openapi.parts import text as _text

_CHECKS = ("transport", "persistence", "queue", "workers")

_CHECKED = told("Each part; only for who has `manage: read`.", **{name: ref("Check") for name in _CHECKS})

SCHEMAS: dict[str, Json] = {
    "Check": told("One part of the node.", ok=boolean(), detail=_text()),
    "Readiness": {
        **told("Whether a load balancer should send requests here.", status=choice("ready", "not ready", "draining")),
        "properties": {"status": choice("ready", "not ready", "draining"), "checks": _CHECKED},
    },
}


def _readiness(status: str) -> Json:
    checks = {name: {"ok": True, "detail": "it answers"} for name in _CHECKS}
    return {"status": status, "checks": checks}


NOUN = Noun(
    "Health",
    "For probes, load balancers and Prometheus.",
    {
        "/healthz": {
            "get": operation(
                "getHealth",
                "Live?",
                description="200 while the process and its event loop live; nothing else is asked.",
                answers={200: answer("It lives.", told("Alive.", status={"const": "alive"}), {"status": "alive"})},
            ),
        },
        "/readyz": {
            "get": operation(
                "getReadiness",
                "Ready for requests?",
                answers={
                    200: answer("It is ready.", ref("Readiness"), _readiness("ready")),
                    503: answer("It is not: send requests to others.", ref("Readiness"), _readiness("draining")),
                },
            ),
        },
        "/metrics": {
            "get": operation(
                "getMetrics",
                "Metrics",
                description="They need `manage: read`.",
                answers={
                    200: answer(
                        "The Prometheus text format.",
                        _text(),
                        "# TYPE er_events_accepted_total counter\ner_events_accepted_total 120.0\n",
                        "text/plain",
                    )
                },
            ),
        },
    },
    SCHEMAS,
)
