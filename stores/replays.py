"""Replays as the store keeps them: what is delivered again to whom, and how far that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Protocol

import orjson

from stores.cursor import MAX_INTEGER, check_limit, read_cursor, write_cursor

NEWEST = MAX_INTEGER, ""

ReplayState = Literal["running", "done", "cancelled", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """One replay: stored events delivered again to one subscription.

    ``query`` has the conditions, as JSON; ``rate`` is in events a second, ``cursor`` says how far it is. ``delivered``
    events were handed to the subscription, ``skipped`` ones it does not match. Times are microseconds since 1970.
    """

    id: str
    subscription: str
    query: Mapping[str, Any]
    rate: float
    created_at_us: int
    updated_at_us: int
    state: ReplayState = "running"
    cursor: str | None = None
    delivered: int = 0
    skipped: int = 0
    error: str = ""

    def encoded(self) -> str:
        """Return it as JSON text."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def decoded(cls, text: str) -> Replay:
        """Read what :meth:`encoded` wrote."""
        return cls(**orjson.loads(text))


class ReplayPage(NamedTuple):
    """One page of replays; ``next`` continues, None ends."""

    replays: list[Replay]
    next: str | None


class Replays(Protocol):
    """Replays by id. All methods raise StoreUnavailable when the database is away."""

    async def add(self, replay: Replay) -> None:
        """Keep a new one."""
        ...

    async def get(self, replay_id: str) -> Replay | None:
        """Return one, or None."""
        ...

    async def page(self, limit: int, cursor: str | None = None) -> ReplayPage:
        """Return one page, newest first. Raises InvalidInput for a bad cursor, or a limit outside 1..1000."""
        ...

    async def running(self) -> list[Replay]:
        """Return those that run, oldest first."""
        ...

    async def change(self, replay: Replay) -> bool:
        """Keep a change of one that runs; False when it does not run any more, and nothing was changed."""
        ...

    async def forget(self, before_us: int) -> int:
        """Remove those created before then that do not run; returns how many."""
        ...


def place_after(limit: int, cursor: str | None) -> tuple[int, str]:
    """Return (created_at, id) before which a page begins, counting down. Raises InvalidInput as ``Replays.page``."""
    check_limit(limit)
    return read_cursor(cursor) if cursor is not None else NEWEST


def page_of(bodies: Sequence[str], limit: int) -> ReplayPage:
    """Make a page of what was found for one more than ``limit``."""
    replays = [Replay.decoded(body) for body in bodies[:limit]]
    last = replays[-1] if len(bodies) > limit else None
    return ReplayPage(replays, write_cursor(last.created_at_us, last.id) if last is not None else None)
