"""Replays as the store keeps them: what is delivered again to whom, and how far that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import orjson

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


class Replays(Protocol):
    """Replays by id. All methods raise StoreUnavailable when the database is away."""

    async def add(self, replay: Replay) -> None:
        """Keep a new one."""
        ...

    async def get(self, replay_id: str) -> Replay | None:
        """Return one, or None."""
        ...

    async def latest(self, limit: int) -> list[Replay]:
        """Return the latest ones, newest first."""
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
