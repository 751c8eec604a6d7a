"""Publishes of one event that are heard past ASGI, as they are read: what HttpProtocol asks, and how it is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple, Protocol

import orjson
from starlette.responses import Response

from router_client.errors import EventRouterError
from router_client.json_input import loads
from router_client.kept_form import publish_body
from router_node.contract import Engine, Published, Results
from router_node.edges.bodies import Bodies
from router_node.edges.door import Door
from router_node.edges.problems import problem_response, result_object, unexpected
from router_node.security.gate import OPEN, Access
from router_node.security.rates import Rates

Head = Iterable[tuple[bytes, bytes]]
"""The headers of a request or an answer, the names in lower case."""

# With any of these, or one of CloudEvents, a request says more than that its body is an event.
_TELLING = frozenset((b"content-encoding", b"transfer-encoding", b"traceparent"))


class Answer(NamedTuple):
    """What a request is answered; ``head`` has its header lines as they are sent, but for those of every answer."""

    status: int
    head: bytes
    body: bytes


class Publishes(Protocol):
    """Takes publishes that have come whole, without ASGI; each may be left to it, which then has to take it."""

    def takes(self, head: Head) -> Access | None:
        """Tell by its headers whether a POST to /v1/events may be heard, before its body is looked at: whose it is.

        None leaves it to ASGI, also where it cannot be known at once who asks.
        """
        ...

    def hear(self, body: bytes, access: Access, answer: Callable[[Answer], None]) -> bool:
        """Take a publish, and ``answer`` it once, on the event loop and perhaps before this returns.

        False leaves it to ASGI: nothing is done, and nothing will be answered.
        """
        ...


class HeardPublishes:
    """Publishes of one event as application/json at the level ``accepted``, which is what most publishers send.

    It answers what EventRoutes.publish does, byte for byte, without its tasks and its objects for each request.
    """

    def __init__(self, engine: Engine, bodies: Bodies, door: Door, rates: Rates) -> None:
        self._engine = engine
        self._bodies = bodies
        self._door = door
        self._rates = rates

    def takes(self, head: Head) -> Access | None:
        """See Publishes."""
        for name, value in head:
            if name == b"content-type":
                if value != b"application/json":
                    return None
            elif name in _TELLING or name.startswith(b"ce-"):
                return None
        return OPEN if self._door.open else self._door.remembered(head)

    def hear(self, body: bytes, access: Access, answer: Callable[[Answer], None]) -> bool:
        """See Publishes."""
        if not body.startswith(b"{") or not (access is OPEN or self._rates.ready(access)):
            return False
        if not self._bodies.hold(body):
            return False
        published = partial(self._published, body, answer)
        try:
            permit = self._rates.permit_now(access, 1)
            event = publish_body(body)
            self._engine.begin_publish([loads(body) if event is None else event], published, permit)
        except EventRouterError as error:
            published(error)
        except Exception as error:  # noqa: BLE001 - the border, as in Guard
            published(unexpected(error, "POST /v1/events"))
        return True

    def _published(self, body: bytes, answer: Callable[[Answer], None], results: Results | EventRouterError) -> None:
        self._bodies.release(body)
        result = results if isinstance(results, EventRouterError) else results[0]
        if isinstance(result, Published):
            answer(_accepted(result))
        else:
            self._door.refused(result)
            answer(_answer(problem_response(result)))


def _accepted(published: Published) -> Answer:
    body = orjson.dumps(result_object(published))
    return Answer(202, b"content-length: %d\r\ncontent-type: application/json\r\n" % len(body), body)


def _answer(response: Response) -> Answer:
    return Answer(response.status_code, header_lines(response.raw_headers), bytes(response.body))


def header_lines(head: Head) -> bytes:
    """Return headers as they are sent."""
    return b"".join(b"%b: %b\r\n" % header for header in head)
