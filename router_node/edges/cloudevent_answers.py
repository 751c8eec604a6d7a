"""Stored events as CloudEvents, for who asks for them in that form with ``Accept``."""

from __future__ import annotations

import orjson
from starlette.requests import Request
from starlette.responses import Response

from router_client import cloudevents
from router_client.event import decode
from stores.ports import EventPage, StoredEvent

VARY = {"vary": "accept"}


def wants(request: Request, media_type: str) -> bool:
    """Tell whether a request names this type among those it accepts."""
    accepted = ",".join(request.headers.getlist("accept")).split(",")
    return any(each.partition(";")[0].strip().lower() == media_type for each in accepted)


def structured(event: StoredEvent) -> Response:
    """Return one event in structured mode."""
    return Response(orjson.dumps(_object(event)), headers=VARY, media_type=cloudevents.STRUCTURED)


def batch(request: Request, page: EventPage) -> Response:
    """Return a page as a batch; as that has no place for a cursor, the header ``Link`` leads to the next page."""
    headers = dict(VARY)
    if page.next is not None:
        url = request.url.include_query_params(cursor=page.next)
        headers["link"] = f'<{url.path}?{url.query}>; rel="next"'
    return Response(
        orjson.dumps([_object(event) for event in page.events]), headers=headers, media_type=cloudevents.BATCH
    )


def _object(event: StoredEvent) -> dict[str, object]:
    return cloudevents.to_structured(decode(event.body))
