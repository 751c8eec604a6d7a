"""Replays in SQLite."""

from __future__ import annotations

from stores.replays import Replay, ReplayPage, page_of, place_after
from stores.sqlite.connection import SqliteConnection
from stores.text import is_storable


class SqliteReplays:
    """Replays on SQLite."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    async def add(self, replay: Replay) -> None:
        """See Replays."""
        values = (replay.id, replay.state, replay.created_at_us, replay.encoded())
        await self._connection.write("INSERT INTO replays VALUES (?, ?, ?, ?)", values)

    async def get(self, replay_id: str) -> Replay | None:
        """See Replays."""
        if not is_storable(replay_id):
            return None
        rows = await self._connection.read("SELECT body FROM replays WHERE id = ?", (replay_id,))
        return Replay.decoded(rows[0][0]) if rows else None

    async def page(self, limit: int, cursor: str | None = None) -> ReplayPage:
        """See Replays."""
        place = place_after(limit, cursor)
        sql = "SELECT body FROM replays WHERE (created_at, id) < (?, ?) ORDER BY created_at DESC, id DESC LIMIT ?"
        return page_of([body for (body,) in await self._connection.read(sql, (*place, limit + 1))], limit)

    async def running(self) -> list[Replay]:
        """See Replays."""
        sql = "SELECT body FROM replays WHERE state = 'running' ORDER BY created_at, id"
        return [Replay.decoded(body) for (body,) in await self._connection.read(sql)]

    async def change(self, replay: Replay) -> bool:
        """See Replays."""
        sql = "UPDATE replays SET state = ?, body = ? WHERE id = ? AND state = 'running'"
        return bool(await self._connection.write(sql, (replay.state, replay.encoded(), replay.id)))

    async def forget(self, before_us: int) -> int:
        """See Replays."""
        sql = "DELETE FROM replays WHERE created_at < ? AND state <> 'running'"
        return await self._connection.write(sql, (before_us,))
