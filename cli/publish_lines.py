"""Publishing the lines of a file: results line by line, a bar while it takes long, a summary at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from cli.exits import ExitCode
from cli.failures import Failure
from cli.lines import Line, opened, read_lines
from cli.output import print_json, print_line, progress, report
from router_client.client import EventRouterClient
from router_client.errors import ConnectionLost, EventRouterError, InvalidInput
from router_client.event import Event, from_object
from router_client.json_input import loads
from router_client.transports.port import Outcome

SHOWN_FAILURES = 20


class Tally:
    """Counts results and shows them: all as JSON, or only the first failures on stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self.accepted = self.duplicates = self.failed = 0
        self._show = self._as_json if as_json else self._as_text

    def add(self, line: int, outcome: Outcome) -> None:
        """Count the outcome of one line and show it."""
        if isinstance(outcome, EventRouterError):
            self.failed += 1
        elif outcome.duplicate:
            self.duplicates += 1
        else:
            self.accepted += 1
        self._show(line, outcome)

    def summary(self, seconds: float) -> str:
        """Return what became of all lines."""
        total = self.accepted + self.duplicates
        parts = [f"published {self.accepted:,} events in {seconds:.1f} s ({total / max(seconds, 1e-3):,.0f} a second)"]
        if self.duplicates:
            parts.append(f"{self.duplicates:,} published before")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        return ", ".join(parts)

    def _as_json(self, line: int, outcome: Outcome) -> None:
        if isinstance(outcome, EventRouterError):
            print_json({"line": line, "error": outcome.problem()})
        else:
            print_json({"line": line, **outcome._asdict()})

    def _as_text(self, line: int, outcome: Outcome) -> None:
        if isinstance(outcome, EventRouterError) and self.failed <= SHOWN_FAILURES:
            more = "; further failures are only counted (--json lists all)" if self.failed == SHOWN_FAILURES else ""
            report(f"line {line}: {outcome}{more}")


async def publish_lines(
    client: EventRouterClient,
    path: Path | None,
    defaults: Mapping[str, Any],
    *,
    ack: str,
    batch: int,
    as_json: bool,
) -> None:
    """Publish each line of ``path`` (None: stdin), an event object whose missing members come from ``defaults``.

    Raises Failure when lines failed, with the code for a part of a batch; ConnectionLost when the router went away,
    after which some of the lines shown as failed may have been accepted; OSError when the file cannot be read.
    """
    tally = Tally(as_json=as_json)
    begun = time.monotonic()
    with opened(path) as (descriptor, size):
        async with client:
            with progress("publish", size) as advance:
                async for chunk in read_lines(descriptor):
                    await _publish_chunk(client, chunk.lines, defaults, tally, ack=ack, batch=batch)
                    sys.stdout.flush()
                    advance(chunk.size)
    if not as_json:
        print_line(tally.summary(time.monotonic() - begun))
    if tally.failed:
        code = ExitCode.PARTIAL
        raise Failure(f"{tally.failed:,} lines failed", "correct them and publish those lines again", code)


async def _publish_chunk(
    client: EventRouterClient, lines: list[Line], defaults: Mapping[str, Any], tally: Tally, *, ack: str, batch: int
) -> None:
    read = [(line.number, _parse(line, defaults)) for line in lines]
    events = [event for _, event in read if isinstance(event, Event)]
    async with aclosing(client.publish_stream(events, batch=batch, ack=ack)) as outcomes:
        for number, event in read:
            outcome = event if isinstance(event, EventRouterError) else await anext(outcomes)
            if isinstance(outcome, ConnectionLost):
                raise ConnectionLost(f"line {number}: {outcome.detail}; before it, {tally.accepted:,} were published")
            tally.add(number, outcome)


def _parse(line: Line, defaults: Mapping[str, Any]) -> Event | EventRouterError:
    try:
        body = loads(line.text, "event")
        return from_object({**defaults, **body} if isinstance(body, dict) else body)
    except InvalidInput as error:
        return error
