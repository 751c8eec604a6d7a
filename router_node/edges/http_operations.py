"""Operations over HTTP: health, metrics and dead letters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from router_client.errors import InvalidInput, NotFound, Unavailable
from router_client.event import parse_time
from router_client.json_input import only
from router_client.topics import check_pattern
from router_node.contract import Management
from router_node.edges.bodies import Bodies, integer, query
from router_node.edges.connections import Connections
from router_node.edges.door import access_of
from router_node.edges.http_deliveries import delivery_object
from router_node.edges.http_events import letter_object
from router_node.edges.limits import Limits
from router_node.edges.problems import json_response
from router_node.security.gate import Access
from router_node.security.permission import check_letters, check_manage, unknown_letter
from stores.ports import AttemptQuery, DeadLetter, LetterFilter

LETTERS_AT_ONCE = 100
LETTER_CONDITIONS = ("subscription", "reason", "type", "from", "to")
HISTORY_ATTEMPTS = 100

Act = Callable[[Sequence[str]], Awaitable[int]]


class OperationRoutes:
    """Handlers of what operators and their machines ask."""

    def __init__(
        self,
        management: Management,
        bodies: Bodies,
        connections: Connections,
        limits: Limits,
        metrics_text: Callable[[], bytes],
    ) -> None:
        self._management = management
        self._bodies = bodies
        self._connections = connections
        self._limits = limits
        self._metrics_text = metrics_text

    async def healthz(self, _: Request) -> Response:
        """GET /healthz: the process and its event loop live; nothing else is asked."""
        return json_response({"status": "alive"})

    async def readyz(self, request: Request) -> Response:
        """GET /readyz: whether a load balancer should send requests here; why, to those who may look at the cluster."""
        checks = await self._management.checks()
        ready = all(check["ok"] for check in checks.values()) and not self._connections.draining
        status = "draining" if self._connections.draining else "ready" if ready else "not ready"
        details = {"checks": checks} if access_of(request).grants.may_manage("read") else {}
        return json_response({"status": status, **details}, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """GET /metrics, in the Prometheus text format."""
        check_manage(access_of(request), "read")
        return Response(self._metrics_text(), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})

    async def letters(self, request: Request) -> Response:
        """GET /v1/dead-letters."""
        values = query(request, *LETTER_CONDITIONS, "limit", "cursor")
        limit = integer(values, "limit", 1, self._limits.max_page, 100)
        wanted = letter_filter(values)
        check_letters(access_of(request), wanted.type)
        page = await self._management.letters.page(wanted, limit, values.get("cursor"))
        return json_response({"dead_letters": [letter_object(letter) for letter in page.letters], "next": page.next})

    async def letter_counts(self, request: Request) -> Response:
        """GET /v1/dead-letters/counts."""
        check_letters(access_of(request), None)
        query(request)
        counts, complete = await self._management.letters.counts()
        found = [{"subscription": each.subscription, "reason": each.reason, "count": each.letters} for each in counts]
        return json_response({"counts": found, "complete": complete})

    async def letter(self, request: Request) -> Response:
        """GET /v1/dead-letters/{id}: the letter, with its history from the delivery log."""
        query(request)
        letter = await self._letter(request)
        return json_response({**letter_object(letter), "history": await self._history(letter)})

    async def delete_letter(self, request: Request) -> Response:
        """DELETE /v1/dead-letters/{id}."""
        query(request)
        letter = await self._letter(request)
        if not await self._management.letters.purge([letter.id]):
            raise unknown_letter(letter.id)
        return Response(status_code=204)

    async def replay_letters(self, request: Request) -> Response:
        """POST /v1/dead-letters/replay."""
        return await self._act(request, self._management.letters.replay, "replayed")

    async def purge_letters(self, request: Request) -> Response:
        """POST /v1/dead-letters/purge."""
        return await self._act(request, self._management.letters.purge, "purged")

    async def _history(self, letter: DeadLetter) -> list[dict[str, Any]] | None:
        """Return the last attempts, oldest first; None when the log cannot be asked: the letter is shown anyway."""
        attempts = AttemptQuery(event_id=letter.event_id, subscription=letter.subscription, limit=HISTORY_ATTEMPTS)
        try:
            page = await self._management.deliveries(attempts)
        except Unavailable:
            return None
        return [delivery_object(each) for each in reversed(page.attempts)]

    async def _act(self, request: Request, act: Act, counted: str) -> Response:
        query(request)
        body = only(await self._bodies.json(request), "ids", "all", *LETTER_CONDITIONS)
        letter_ids, more = await self._chosen(body, access_of(request))
        done = 0
        for start in range(0, len(letter_ids), LETTERS_AT_ONCE):
            done += await act(letter_ids[start : start + LETTERS_AT_ONCE])
        return json_response({counted: done, "more": more})

    async def _letter(self, request: Request) -> DeadLetter:
        """Return the letter that a request names. Raises NotFound, also for one that who asks may not handle."""
        letter = await self._management.letters.one(request.path_params["id"])
        if not _may_handle(access_of(request), letter):
            raise unknown_letter(letter.id)
        return letter

    async def _own(self, letter_ids: list[str], access: Access) -> list[str]:
        """Return those of the letters that are there and may be handled."""
        if access.grants.may_handle_letters(">"):
            return letter_ids
        found: list[str] = []
        for each in letter_ids:
            with suppress(NotFound):
                letter = await self._management.letters.one(each)
                if _may_handle(access, letter):
                    found.append(each)
        return found

    async def _chosen(self, body: dict[str, Any], access: Access) -> tuple[list[str], bool]:
        """Return the letters a request names, and whether there are more than one call takes.

        All are found before the first is touched: one that fails again at once must not come round a second time.
        """
        ids = body.get("ids")
        if (ids is None) == (body.get("all") is not True):
            raise InvalidInput('give either "ids" or "all": true', field="ids")
        if ids is not None:
            only(body, "ids")
            if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
                raise InvalidInput("a list of dead letter ids", field="ids")
            if len(ids) > self._limits.max_letters:
                raise InvalidInput(f"at most {self._limits.max_letters} ids", field="ids")
            return await self._own(ids, access), False
        wanted = letter_filter(body)
        check_letters(access, wanted.type)
        found: list[str] = []
        cursor: str | None = None
        while len(found) < self._limits.max_letters:
            limit = min(self._limits.max_page, self._limits.max_letters - len(found))
            page = await self._management.letters.page(wanted, limit, cursor)
            found += [letter.id for letter in page.letters]
            cursor = page.next
            if cursor is None:
                return found, False
        return found, True


def _may_handle(access: Access, letter: DeadLetter) -> bool:
    return access.grants.may_handle_letters(letter.event_type or ">")


def letter_filter(values: Mapping[str, Any]) -> LetterFilter:
    """Read the conditions among a query's or a body's members. Raises InvalidInput naming the one at fault."""
    given = {name: _optional_text(values, name) for name in LETTER_CONDITIONS}
    since, until = given["from"], given["to"]
    return LetterFilter(
        subscription=given["subscription"],
        reason=given["reason"],
        type=None if given["type"] is None else check_pattern(given["type"], "type"),
        since=None if since is None else parse_time(since, "from"),
        until=None if until is None else parse_time(until, "to"),
    )


def _optional_text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidInput("must be text", field=name)
    return value
