"""Keys, policies and the gate of one node, on a database and a clock that moves by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from router_client.errors import EventRouterError, Unauthenticated
from router_node.access_contract import Asker
from router_node.config import Settings
from router_node.secured import Secured, secure
from router_node.security.gate import Access
from router_node.security.policy import BUILT_IN, Grants
from router_node.security.principal import Certificate, Credentials, Principal
from stores.open import open_database
from stores.ports import Database
from tests.support.clock import FakeClock

START_S = 1_700_000_000.0


class Root:
    """The standing of who may do everything."""

    principal = Principal("key:root")
    grants = Grants(policy for policy in BUILT_IN if policy.name == "admin")


ROOT = Asker(Root(), "10.1.2.3")  # type: ignore[arg-type]


@dataclass
class Site:
    """One node's part, with short ways to it."""

    secured: Secured
    database: Database
    clock: FakeClock

    async def made(self, name: str, *policies: str, by: Asker = ROOT, **more: Any) -> dict[str, Any]:
        """Make a key."""
        return await self.secured.desk.keys.create(by, {"name": name, "policies": list(policies), **more})

    async def put(self, name: str, by: Asker = ROOT, **body: Any) -> None:
        """Make a policy."""
        await self.secured.desk.policies.put(by, name, body)

    async def admit(self, token: str | None = None, certificate: Certificate | None = None) -> Access:
        """Show something at the gate."""
        return await self.secured.gate.admit(Credentials(token, certificate, "10.9.9.9"))

    async def refused(self, token: str | None = None, certificate: Certificate | None = None) -> str:
        """Show something that must be refused; returns what was told."""
        try:
            access = await self.admit(token, certificate)
        except Unauthenticated as error:
            return error.detail
        raise AssertionError(f"{access.principal} was let in")

    async def asker(self, key: dict[str, Any]) -> Asker:
        """Return who shows a key, as one who asks the desk."""
        return Asker(await self.admit(key["key"]), "10.1.2.4")


def is_over(access: Access) -> bool:
    """Tell whether a standing that was given has ended."""
    try:
        _ = access.grants
    except EventRouterError as error:
        assert isinstance(error, Unauthenticated)  # noqa: PT017 - any other is a fault of the test
        return True
    return False


@asynccontextmanager
async def site(database_url: str = "sqlite:///:memory:", **settings: Any) -> AsyncIterator[Site]:
    """Put the parts together on an empty database."""
    database = await open_database(database_url)
    try:
        await database.migrate()
        clock = FakeClock(START_S)
        whole = Settings(**{"security": "on", "database_url": database_url, **settings})
        made = Site(secure(whole, database, clock, lambda: True), database, clock)
        await made.secured.sync.look()
        yield made
    finally:
        await database.close()
