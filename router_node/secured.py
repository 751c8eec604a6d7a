"""Who may do what on this node, put together: keys and policies, tokens, the gate, the audit log and their desk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from router_node.access_contract import Asker
from router_node.access_desk import AccessDesk
from router_node.audit_trail import AuditTrail
from router_node.clock import Clock, SystemClock
from router_node.config import Settings
from router_node.key_desk import KeyDesk
from router_node.policy_desk import PolicyDesk
from router_node.retention import Retention
from router_node.security.directory import Directory
from router_node.security.directory_sync import DirectorySync
from router_node.security.gate import Gate, OpenGate
from router_node.security.guard import Guard
from router_node.security.policy import UNRESTRICTED, Limits
from router_node.security.principal import Principal
from stores.open import open_database
from stores.ports import Database

if TYPE_CHECKING:
    from router_node.security.token_check import TokenCheck

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secured:
    """The parts. ``tokens`` is None where no JSON Web Tokens are taken."""

    gate: Gate
    directory: Directory
    sync: DirectorySync
    desk: AccessDesk
    trail: AuditTrail
    retentions: tuple[Retention, ...]
    tokens: TokenCheck | None

    @asynccontextmanager
    async def kept_up(self) -> AsyncIterator[None]:
        """Follow what changes and write the audit log while the block runs. What is noted in it is written."""
        async with asyncio.TaskGroup() as tasks:
            loops = [tasks.create_task(each.run(), name="retention of the audit log") for each in self.retentions]
            loops.append(tasks.create_task(self.trail.run(), name="audit"))
            if not isinstance(self.gate, OpenGate):
                loops.append(tasks.create_task(self.sync.run(), name="keys and policies"))
            if self.tokens is not None:
                loops.append(tasks.create_task(self.tokens.keys.run(), name="token keys"))
            try:
                yield
            finally:
                for loop in loops:
                    loop.cancel()
                await asyncio.wait(loops)
                await self.trail.finish()


def secure(settings: Settings, database: Database, clock: Clock, mine: Callable[[], bool]) -> Secured:
    """Put the parts together; ``mine`` says when it is this node that forgets what is old."""
    directory = Directory()
    sync = DirectorySync(database.access, directory, clock.log_us)
    trail = AuditTrail(database.audit, clock.log_us)
    keys = KeyDesk(database.access, directory, sync, trail)
    policies = PolicyDesk(database.access, directory, sync, trail)
    desk = AccessDesk(keys, policies, directory, sync, database.audit, trail)

    def now() -> float:
        return clock.log_us() / 1e6

    tokens = _tokens(settings, now, directory) if settings.secured and settings.jwt_keys else None
    gate: Gate = Guard(directory, tokens, settings.certificate_name, now) if settings.secured else OpenGate()
    days = settings.audit_log_days
    retentions = Retention(database.audit, days, clock, mine), Retention(database.access, days, clock, mine)
    return Secured(
        gate=gate, directory=directory, sync=sync, desk=desk, trail=trail, retentions=retentions, tokens=tokens
    )


def _tokens(settings: Settings, now: Callable[[], float], directory: Directory) -> TokenCheck:
    # Loaded here, as a node that takes no tokens need not wait for what verifies them.
    from router_node.security.token_check import token_check

    return token_check(settings, now, directory)


async def make_key(database_url: str, body: object) -> dict[str, Any]:
    """Make an API key straight in the database, as the first one must be; see access_contract.KeyDesk.create.

    Who may write there may do everything anyway. Raises StoreError and Unavailable when the database is away.
    """
    database = await open_database(database_url)
    try:
        await database.migrate()
        clock = SystemClock()
        directory = Directory()
        sync = DirectorySync(database.access, directory, clock.log_us)
        desk = KeyDesk(database.access, directory, sync, AuditTrail(database.audit, clock.log_us))
        return await desk.create(Asker(_AtTheDatabase()), body)
    finally:
        await database.close()


class _AtTheDatabase:
    principal = Principal("database")
    grants = UNRESTRICTED
    limits = Limits()
