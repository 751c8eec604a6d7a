"""``sslmode=verify-full``: the database's certificate and name are checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import asyncpg
import pytest
import trustme

from stores.errors import StoreUnavailable
from stores.open import open_database
from tests.support.postgres_server import PostgresServer

CA = trustme.CA()
FOREIGN = trustme.CA()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server whose certificate is for localhost only."""
    with PostgresServer(durable=False, certificate=CA.issue_cert("localhost")) as each:
        yield each


def _url(server: PostgresServer, folder: Path, ca: trustme.CA, host: str = "localhost") -> str:
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    options = urlencode({"sslmode": "verify-full", "sslrootcert": str(folder / "ca.pem")})
    return f"{server.url.replace('127.0.0.1', host)}?{options}"


async def test_a_node_stores_by_tls(server: PostgresServer, tmp_path: Path) -> None:
    url = _url(server, tmp_path, CA)
    database = await open_database(url)
    try:
        await database.migrate()
        assert await database.events.count() == 0
    finally:
        await database.close()

    connection = await asyncpg.connect(url)
    try:
        assert await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is True
    finally:
        await connection.close()


@pytest.mark.parametrize(("ca", "host"), [(FOREIGN, "localhost"), (CA, "127.0.0.1")])
async def test_a_database_of_another_authority_or_name_is_refused(
    server: PostgresServer, tmp_path: Path, ca: trustme.CA, host: str
) -> None:
    database = await open_database(_url(server, tmp_path, ca, host))
    try:
        with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
            await database.events.ping()
    finally:
        await database.close()
