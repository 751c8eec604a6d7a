"""Events over HTTP: publish one or many in any of their formats, and ask for what was stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from router_client import cloudevents
from router_client.errors import EventRouterError, InvalidInput, TooLarge
from router_client.event import Event, parse_time
from router_client.json_input import check_depth, loads
from router_client.kept_form import publish_body
from router_client.topics import check_pattern
from router_client.trace_context import extract, outgoing
from router_node.contract import Engine, Management, Published, Results
from router_node.edges import cloudevent_answers
from router_node.edges.bodies import Bodies, content_type, integer, query
from router_node.edges.door import access_of
from router_node.edges.limits import Limits
from router_node.edges.problems import UnsupportedMediaType, json_response, result_object
from router_node.security.permission import check_events, unknown_event
from router_node.security.rates import Rates
from stores.ports import NO_FILTER, DeadLetter, EventQuery, StoredEvent

NDJSON = "application/x-ndjson"
LETTER_PAGES = 5

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EventRoutes:
    """Handlers of /v1/events."""

    def __init__(self, engine: Engine, management: Management, bodies: Bodies, limits: Limits, rates: Rates) -> None:
        self._engine = engine
        self._management = management
        self._rates = rates
        self._bodies = bodies
        self._limits = limits

    async def publish(self, request: Request) -> Response:
        """POST /v1/events."""
        ack = query(request, "ack").get("ack", "accepted")
        read = self._reader(request)
        body = await self._bodies.read(request)
        try:
            return await read(request, body, ack)
        finally:
            self._bodies.release(body)

    async def page(self, request: Request) -> Response:
        """GET /v1/events."""
        wanted = self._event_query(request)
        check_events(access_of(request), wanted.type)
        page = await self._management.events(wanted)
        if cloudevent_answers.wants(request, cloudevents.BATCH):
            return cloudevent_answers.batch(request, page)
        return json_response({"events": [orjson.Fragment(event.body) for event in page.events], "next": page.next})

    async def one(self, request: Request) -> Response:
        """GET /v1/events/{id}."""
        query(request)
        event = await self._event(request)
        if cloudevent_answers.wants(request, cloudevents.STRUCTURED):
            return cloudevent_answers.structured(event)
        return Response(event.body, media_type="application/json")

    async def trace(self, request: Request) -> Response:
        """GET /v1/events/{id}/trace: the event, its correlation in order of acceptance, and its dead letters."""
        query(request)
        event = await self._event(request)
        grants = access_of(request).grants
        related = EventQuery(correlation_id=event.correlation_id, descending=False, limit=self._limits.max_page)
        page = await self._management.events(related)
        letters, searched_all = await self._letters_of(event)
        return json_response(
            {
                "event": orjson.Fragment(event.body),
                "accepted_at": moment(event.accepted_at_us),
                "correlation": [
                    orjson.Fragment(other.body) for other in page.events if grants.may_read_events(other.type)
                ],
                "dead_letters": [
                    letter_object(letter) for letter in letters if grants.may_handle_letters(letter.event_type or ">")
                ],
                # Nobody is told whether there is anything that they may not see.
                "complete": page.next is None
                and searched_all
                and grants.may_read_events(">")
                and grants.may_handle_letters(">"),
            }
        )

    async def _event(self, request: Request) -> StoredEvent:
        """Return the event that a request names. Raises NotFound, also for one that who asks may not read."""
        event = await self._management.event(request.path_params["id"])
        if not access_of(request).grants.may_read_events(event.type):
            raise unknown_event(event.id)
        return event

    # -- publishing, by format

    def _reader(self, request: Request) -> Callable[[Request, bytes, str], Awaitable[Response]]:
        media_type = content_type(request)
        if media_type == cloudevents.BATCH:
            return self._publish_cloudevents
        if media_type == cloudevents.STRUCTURED or any(name.startswith("ce-") for name in request.headers):
            return self._publish_cloudevent
        if media_type == NDJSON:
            return self._publish_lines
        if media_type in ("", "application/json"):
            return self._publish_json
        offered = ", ".join(("application/json", NDJSON, cloudevents.STRUCTURED, cloudevents.BATCH))
        raise UnsupportedMediaType(f"{media_type}; this takes {offered}", field="content-type")

    async def _publish_json(self, request: Request, body: bytes, ack: str) -> Response:
        document = self._document(request, body)
        if isinstance(document, list):
            self._check_batch(len(document))
            return _results(await self._publish(request, document, ack))
        return _single(await self._publish(request, [document], ack))

    @staticmethod
    def _document(request: Request, body: bytes) -> object:
        """Return the event or list of events in a body, not decoded where they came as they are kept."""
        if "traceparent" not in request.headers and (kept := publish_body(body)) is not None:
            return kept
        document: object = loads(body)
        _carry_trace(request, document if isinstance(document, list) else [document])
        return document

    async def _publish_lines(self, request: Request, body: bytes, ack: str) -> Response:
        # Bytes, not text: only \n ends a line of NDJSON, and a line that is not UTF-8 spoils no other.
        lines = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
        self._check_batch(len(lines))
        read = [_line(line, f"line {number}") for number, line in lines]
        objects = [each for each in read if not isinstance(each, EventRouterError)]
        _carry_trace(request, objects)
        answers = iter(await self._publish(request, objects, ack))
        return _results([each if isinstance(each, EventRouterError) else next(answers) for each in read])

    async def _publish_cloudevent(self, request: Request, body: bytes, ack: str) -> Response:
        if content_type(request) == cloudevents.STRUCTURED:
            event = cloudevents.read_structured(body)
        else:
            event = cloudevents.read_binary(_single_headers(request), body)
        return _single(await self._publish_events(request, [event], ack))

    async def _publish_cloudevents(self, request: Request, body: bytes, ack: str) -> Response:
        events: list[Event | EventRouterError] = cloudevents.read_batch(body)
        self._check_batch(len(events))
        return _results(await self._publish_events(request, events, ack))

    async def _publish(self, request: Request, objects: Sequence[object], ack: str) -> Results:
        permit = await self._rates.permit(access_of(request), len(objects))
        return await self._engine.publish(objects, ack=ack, permit=permit)

    async def _publish_events(self, request: Request, events: Sequence[Event | EventRouterError], ack: str) -> Results:
        permit = await self._rates.permit(access_of(request), len(events))
        return await self._engine.publish_events(events, ack=ack, permit=permit)

    def _check_batch(self, count: int) -> None:
        if count > self._limits.max_batch:
            raise TooLarge(f"{count} events; the limit is {self._limits.max_batch} a request", field="body")

    # -- queries

    def _event_query(self, request: Request) -> EventQuery:
        values = query(request, "type", "correlation_id", "source", "from", "to", "payload", "order", "limit", "cursor")
        order = values.get("order", "desc")
        if order not in ("asc", "desc"):
            raise InvalidInput("one of asc, desc", field="order")
        return EventQuery(
            type=check_pattern(values["type"], "type") if "type" in values else None,
            correlation_id=_text(values, "correlation_id"),
            source=_text(values, "source"),
            since=parse_time(values["from"], "from") if "from" in values else None,
            until=parse_time(values["to"], "to") if "to" in values else None,
            payload=_contained(values["payload"]) if "payload" in values else None,
            descending=order == "desc",
            limit=integer(values, "limit", 1, self._limits.max_page, 100),
            cursor=values.get("cursor"),
        )

    async def _letters_of(self, event: StoredEvent) -> tuple[list[DeadLetter], bool]:
        """Return the event's dead letters among the oldest pages, and whether those were all there are."""
        found: list[DeadLetter] = []
        cursor: str | None = None
        for _ in range(LETTER_PAGES):
            page = await self._management.letters.page(NO_FILTER, self._limits.max_page, cursor)
            found += [letter for letter in page.letters if letter.event_id == event.id]
            cursor = page.next
            if cursor is None:
                return found, True
        return found, False


def moment(time_us: int) -> str:
    """Return microseconds since 1970 as RFC 3339 text in UTC."""
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def letter_object(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter as the JSON object of the API."""
    body: dict[str, Any] = {
        "id": letter.id,
        "subscription": letter.subscription,
        "partition": letter.partition,
        "reason": letter.reason,
        "error": letter.error,
        "attempts": letter.attempts,
        "accepted_at": moment(letter.accepted_at_us),
        "dead_at": moment(letter.dead_at_us),
        "event_id": letter.event_id,
        "event_type": letter.event_type,
    }
    if letter.reason == "unreadable":
        # Whatever it is, it may not be JSON, and must not break the JSON around it.
        return {**body, "event": None, "raw": letter.body.decode("utf-8", "replace")}
    return {**body, "event": orjson.Fragment(letter.body)}


def _single(results: list[Published | EventRouterError]) -> Response:
    (result,) = results
    if isinstance(result, EventRouterError):
        raise result
    return json_response(result_object(result), 202)


def _results(results: list[Published | EventRouterError]) -> Response:
    return json_response({"results": [result_object(result) for result in results]})


def _line(line: bytes, name: str) -> object:
    """Return the line's document, or the error there is instead of one."""
    try:
        document: object = loads(line, name)
    except InvalidInput as error:
        return error
    return document


def _carry_trace(request: Request, objects: list[Any]) -> None:
    """Copy the request's trace context into the metadata of events that carry none."""
    if "traceparent" not in request.headers:
        return
    context = extract(request.headers.items())
    if context is None:
        return
    carried = dict(outgoing(context))
    for body in objects:
        if not isinstance(body, dict):
            continue
        metadata = body.get("metadata")
        if metadata is None:
            metadata = {}
        if isinstance(metadata, dict) and "traceparent" not in metadata:
            body["metadata"] = {**metadata, **carried}


def _single_headers(request: Request) -> dict[str, str]:
    headers = dict(request.headers.items())
    if len(headers) != len(request.headers.raw):
        for name in headers:
            if name.startswith("ce-") and len(request.headers.getlist(name)) > 1:
                raise InvalidInput("given more than once", field=name)
    return headers


def _text(values: dict[str, str], name: str) -> str | None:
    value = values.get(name)
    if value is not None and "\x00" in value:
        raise InvalidInput("may not contain NUL", field=name)
    return value


def _contained(text: str) -> dict[str, Any]:
    value = loads(text, "payload")
    if not isinstance(value, dict):
        raise InvalidInput("a JSON object that the event's payload must contain", field="payload")
    check_depth(value, "payload")
    return value
