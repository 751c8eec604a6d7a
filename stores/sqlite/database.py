"""A SQLite database with its ports."""

from __future__ import annotations

from stores.ports import AccessStore, AuditLog, DeliveryLog, EventStore, Outbox, Replays, SubscriptionStore
from stores.sqlite.access import SqliteAccess
from stores.sqlite.audit import SqliteAudit
from stores.sqlite.connection import SqliteConnection
from stores.sqlite.dead_letters import SqliteDeadLetters
from stores.sqlite.delivery_log import SqliteDeliveryLog
from stores.sqlite.events import SqliteEvents
from stores.sqlite.migrate import migrate
from stores.sqlite.outbox import SqliteOutbox
from stores.sqlite.replays import SqliteReplays
from stores.sqlite.subscriptions import SqliteSubscriptions


class SqliteDatabase:
    """Events, subscriptions, dead letters, logs, keys and policies in one file."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection
        self.events: EventStore = SqliteEvents(connection)
        self.outbox: Outbox = SqliteOutbox(connection)
        self.subscriptions: SubscriptionStore = SqliteSubscriptions(connection)
        self.delivery_log: DeliveryLog = SqliteDeliveryLog(connection)
        self.replays: Replays = SqliteReplays(connection)
        self.access: AccessStore = SqliteAccess(connection)
        self.audit: AuditLog = SqliteAudit(connection)
        self.dead_letters = SqliteDeadLetters(connection)

    @classmethod
    async def open(cls, path: str) -> SqliteDatabase:
        """Open ``path``, ``:memory:`` for none. Raises StoreUnavailable."""
        connection = SqliteConnection(path)
        await connection.open()
        return cls(connection)

    async def migrate(self) -> list[str]:
        """See Database."""
        return await migrate(self._connection)

    async def close(self) -> None:
        """See Database."""
        await self._connection.close()
