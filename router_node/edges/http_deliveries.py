"""The delivery log over HTTP: what became of each attempt, by event and by subscription."""

from __future__ import annotations

from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import Response

from router_client.errors import InvalidInput
from router_client.event import parse_time
from router_node.contract import DeliveryDesk
from router_node.edges.bodies import integer, query
from router_node.edges.http_events import moment
from router_node.edges.limits import Limits
from router_node.edges.problems import json_response
from stores.attempts import Outcome
from stores.ports import AttemptQuery, LoggedAttempt

CONDITIONS = ("subscription", "outcome", "from", "to", "order", "limit", "cursor")


class DeliveryRoutes:
    """Handlers of /v1/deliveries."""

    def __init__(self, desk: DeliveryDesk, limits: Limits) -> None:
        self._desk = desk
        self._limits = limits

    async def page(self, request: Request) -> Response:
        """GET /v1/deliveries, newest first."""
        values = query(request, "event", *CONDITIONS)
        return await self._answer(values, values.get("event"), "desc")

    async def of_event(self, request: Request) -> Response:
        """GET /v1/events/{id}/deliveries, oldest first."""
        return await self._answer(query(request, *CONDITIONS), request.path_params["id"], "asc")

    async def _answer(self, values: dict[str, str], event_id: str | None, usual_order: str) -> Response:
        order, outcome = values.get("order", usual_order), values.get("outcome")
        if order not in ("asc", "desc"):
            raise InvalidInput("one of asc, desc", field="order")
        if outcome is not None and outcome not in get_args(Outcome):
            raise InvalidInput(f"one of {', '.join(get_args(Outcome))}", field="outcome")
        page = await self._desk.deliveries(
            AttemptQuery(
                event_id=event_id,
                subscription=values.get("subscription"),
                outcome=outcome,
                since=parse_time(values["from"], "from") if "from" in values else None,
                until=parse_time(values["to"], "to") if "to" in values else None,
                descending=order == "desc",
                limit=integer(values, "limit", 1, self._limits.max_page, 100),
                cursor=values.get("cursor"),
            )
        )
        return json_response({"deliveries": [delivery_object(each) for each in page.attempts], "next": page.next})


def delivery_object(logged: LoggedAttempt) -> dict[str, Any]:
    """Return a logged attempt as the JSON object of the API."""
    attempt = logged.attempt
    return {
        "at": moment(attempt.at_us),
        "event_id": attempt.event_id,
        "subscription": attempt.subscription,
        "partition": attempt.partition,
        "attempt": attempt.attempt,
        "outcome": attempt.outcome,
        "dead": attempt.dead,
        "latency_ms": round(attempt.latency_ms, 3),
        "status": attempt.status,
        "error": attempt.error,
        "response": attempt.response,
        "node": logged.node,
    }
