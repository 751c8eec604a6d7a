"""A PostgreSQL database with its ports."""

from __future__ import annotations

from stores.ports import AccessStore, AuditLog, DeliveryLog, EventStore, Outbox, Replays, SubscriptionStore
from stores.postgres.access import PostgresAccess
from stores.postgres.audit import PostgresAudit
from stores.postgres.connection import Bounds, PostgresConnection
from stores.postgres.delivery_log import PostgresDeliveryLog
from stores.postgres.events import PostgresEvents
from stores.postgres.migrate import migrate
from stores.postgres.outbox import PostgresOutbox
from stores.postgres.replays import PostgresReplays
from stores.postgres.subscriptions import PostgresSubscriptions


class PostgresDatabase:
    """Events, subscriptions, logs, keys and policies in one database; connections are made when they are needed."""

    def __init__(self, url: str, bounds: Bounds | None = None) -> None:
        self._connection = PostgresConnection(url, bounds)
        self.events: EventStore = PostgresEvents(self._connection)
        self.outbox: Outbox = PostgresOutbox(self._connection)
        self.subscriptions: SubscriptionStore = PostgresSubscriptions(self._connection)
        self.delivery_log: DeliveryLog = PostgresDeliveryLog(self._connection)
        self.replays: Replays = PostgresReplays(self._connection)
        self.access: AccessStore = PostgresAccess(self._connection)
        self.audit: AuditLog = PostgresAudit(self._connection)

    async def migrate(self) -> list[str]:
        """See Database."""
        return await migrate(self._connection)

    async def close(self) -> None:
        """See Database."""
        await self._connection.close()
