"""The delivery log in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from stores.attempt_search import COLUMNS, NAMES, search
from stores.attempts import AttemptPage, AttemptQuery, LoggedAttempt
from stores.errors import StoreRejected
from stores.postgres.connection import PostgresConnection

INSERT = (
    f"INSERT INTO attempts ({COLUMNS}) SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[],"
    " $5::integer[], $6::integer[], $7::text[], $8::boolean[], $9::double precision[], $10::integer[], $11::text[],"
    " $12::text[]) ON CONFLICT DO NOTHING"
)
EXPIRE = "DELETE FROM attempts WHERE ctid = ANY (ARRAY(SELECT ctid FROM attempts WHERE at < $1 ORDER BY at LIMIT $2))"


class PostgresDeliveryLog:
    """DeliveryLog on PostgreSQL."""

    def __init__(self, connection: PostgresConnection) -> None:
        self._connection = connection

    async def save(self, attempts: Sequence[LoggedAttempt]) -> None:
        """See DeliveryLog.

        COPY costs a node a sixth of what INSERT does, and does not know ON CONFLICT: rows that are there already, after
        a time-out that had taken effect, have it refused, and are sorted out by INSERT.
        """
        if not attempts:
            return
        rows = [(node, *attempt) for node, attempt in attempts]
        try:
            await self._connection.copy("attempts", NAMES, rows)
        except StoreRejected:
            await self._connection.execute(INSERT, *zip(*rows, strict=True))

    async def query(self, query: AttemptQuery) -> AttemptPage:
        """See DeliveryLog."""
        return await search(query, self._connection.fetch_marked)

    async def expire(self, before_us: int, limit: int) -> int:
        """See DeliveryLog."""
        return await self._connection.execute(EXPIRE, before_us, limit)

    async def count(self) -> int:
        """See DeliveryLog."""
        return int((await self._connection.fetch("SELECT count(*) FROM attempts"))[0][0])
