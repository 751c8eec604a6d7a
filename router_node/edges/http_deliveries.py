"""The delivery log over HTTP: what became of each attempt, by event and by subscription."""

from __future__ import annotations

from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import Response

from router_client.errors import InvalidInput
from router_client.event import parse_time
from router_node.contract import Engine, Management
from router_node.edges.bodies import integer, query
from router_node.edges.door import access_of
from router_node.edges.http_events import moment
from router_node.edges.limits import Limits
from router_node.edges.problems import json_response
from router_node.security.gate import Access
from router_node.security.permission import check_events, unknown_event, unknown_subscription
from stores.attempts import Outcome
from stores.ports import AttemptQuery, LoggedAttempt

CONDITIONS = ("subscription", "outcome", "from", "to", "order", "limit", "cursor")


class DeliveryRoutes:
    """Handlers of /v1/deliveries."""

    def __init__(self, engine: Engine, management: Management, limits: Limits) -> None:
        self._engine = engine
        self._management = management
        self._limits = limits

    async def page(self, request: Request) -> Response:
        """GET /v1/deliveries, newest first."""
        values = query(request, "event", *CONDITIONS)
        return await self._answer(access_of(request), values, values.get("event"), "desc")

    async def of_event(self, request: Request) -> Response:
        """GET /v1/events/{id}/deliveries, oldest first."""
        return await self._answer(access_of(request), query(request, *CONDITIONS), request.path_params["id"], "asc")

    async def _answer(self, access: Access, values: dict[str, str], event_id: str | None, usual_order: str) -> Response:
        order, outcome = values.get("order", usual_order), values.get("outcome")
        if order not in ("asc", "desc"):
            raise InvalidInput("one of asc, desc", field="order")
        if outcome is not None and outcome not in get_args(Outcome):
            raise InvalidInput(f"one of {', '.join(get_args(Outcome))}", field="outcome")
        await self._check(access, event_id, values.get("subscription"))
        page = await self._management.deliveries(
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

    async def _check(self, access: Access, event_id: str | None, subscription: str | None) -> None:
        """Raise Forbidden or NotFound unless ``access`` may read all that is asked for.

        An attempt does not tell its event's type: one event's may be read with the event, and a subscription's
        by who may read all events that it gets.
        """
        if access.grants.may_read_events(">"):
            return
        if event_id is not None:
            event = await self._management.event(event_id)
            if not access.grants.may_read_events(event.type):
                raise unknown_event(event_id)
        elif subscription is not None:
            if not all(map(access.grants.may_read_events, self._engine.topics(subscription))):
                raise unknown_subscription(subscription)
        else:
            check_events(access, None, "event")


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
