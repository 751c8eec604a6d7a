"""Events acknowledged as stored and not settled yet, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from stores.event_search import COLUMNS
from stores.ports import Owed, StoredEvent
from stores.postgres.connection import PostgresConnection
from stores.postgres.events import INSERT

# One statement is one transaction: an event is never acknowledged as stored without its row here.
SAVE = f"""
WITH stored AS ({INSERT})
INSERT INTO outbox (slot, generation, sequence, accepted_at, id)
SELECT * FROM unnest($8::int[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[]) ON CONFLICT DO NOTHING
"""
LOAD = f"""
SELECT slot, generation, sequence, {COLUMNS} FROM outbox JOIN events USING (accepted_at, id)
WHERE slot = ANY($1::int[]) AND generation < $2 AND (accepted_at, id) > ($3, $4)
ORDER BY accepted_at, id LIMIT $5
"""
REMOVE = """
DELETE FROM outbox USING (SELECT * FROM unnest($1::bigint[], $2::text[]) AS settled (accepted_at, id)) AS settled
WHERE outbox.accepted_at = settled.accepted_at AND outbox.id = settled.id
"""


class PostgresOutbox:
    """Outbox on PostgreSQL."""

    def __init__(self, connection: PostgresConnection) -> None:
        self._connection = connection

    async def save(self, events: Sequence[StoredEvent], owed: Sequence[Owed]) -> None:
        """See Outbox. Rows go in by key: two nodes that save the same events never deadlock."""
        rows = sorted((o.event.accepted_at_us, o.event.id, o.slot, o.generation, o.sequence) for o in owed)
        at, ids, slots, generations, sequences = zip(*rows, strict=True) if rows else ((), (), (), (), ())
        columns = zip(*sorted(events), strict=True) if events else ((),) * 7
        await self._connection.execute(SAVE, *columns, slots, generations, sequences, at, ids)

    async def load(self, slots: Collection[int], before_generation: int, limit: int, after: Owed | None) -> list[Owed]:
        """See Outbox."""
        at, event_id = (after.event.accepted_at_us, after.event.id) if after else (-1, "")
        rows = await self._connection.fetch(LOAD, list(slots), before_generation, at, event_id, limit)
        return [Owed(row[0], row[1], row[2], StoredEvent(*row[3:])) for row in rows]

    async def remove(self, keys: Sequence[tuple[int, str]]) -> int:
        """See Outbox."""
        if not keys:
            return 0
        return await self._connection.execute(REMOVE, *zip(*sorted(keys), strict=True))

    async def stored(self, event_ids: Collection[str]) -> set[str]:
        """See Outbox."""
        rows = await self._connection.fetch("SELECT id FROM events WHERE id = ANY($1::text[])", list(event_ids))
        return {row[0] for row in rows}

    async def count(self) -> int:
        """See Outbox."""
        return int((await self._connection.fetch("SELECT count(*) FROM outbox"))[0][0])
