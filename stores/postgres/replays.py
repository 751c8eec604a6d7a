"""Replays in PostgreSQL."""

from __future__ import annotations

from stores.postgres.connection import PostgresConnection
from stores.replays import Replay, ReplayPage, page_of, place_after
from stores.text import is_storable


class PostgresReplays:
    """Replays on PostgreSQL."""

    def __init__(self, connection: PostgresConnection) -> None:
        self._connection = connection

    async def add(self, replay: Replay) -> None:
        """See Replays."""
        sql = "INSERT INTO replays (id, state, created_at, body) VALUES ($1, $2, $3, $4)"
        await self._connection.execute(sql, replay.id, replay.state, replay.created_at_us, replay.encoded())

    async def get(self, replay_id: str) -> Replay | None:
        """See Replays."""
        if not is_storable(replay_id):
            return None
        rows = await self._connection.fetch("SELECT body FROM replays WHERE id = $1", replay_id)
        return Replay.decoded(rows[0]["body"]) if rows else None

    async def page(self, limit: int, cursor: str | None = None) -> ReplayPage:
        """See Replays."""
        place = place_after(limit, cursor)
        sql = "SELECT body FROM replays WHERE (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT $3"
        return page_of([row["body"] for row in await self._connection.fetch(sql, *place, limit + 1)], limit)

    async def running(self) -> list[Replay]:
        """See Replays."""
        sql = "SELECT body FROM replays WHERE state = 'running' ORDER BY created_at, id"
        return [Replay.decoded(row["body"]) for row in await self._connection.fetch(sql)]

    async def change(self, replay: Replay) -> bool:
        """See Replays."""
        sql = "UPDATE replays SET state = $1, body = $2 WHERE id = $3 AND state = 'running'"
        return bool(await self._connection.execute(sql, replay.state, replay.encoded(), replay.id))

    async def forget(self, before_us: int) -> int:
        """See Replays."""
        sql = "DELETE FROM replays WHERE created_at < $1 AND state <> 'running'"
        return await self._connection.execute(sql, before_us)
