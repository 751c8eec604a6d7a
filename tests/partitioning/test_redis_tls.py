"""``rediss://``: the server's certificate and name are checked, and a client's own certificate is shown.

The Redis that the tests bring has no TLS built in, so a tunnel in front of it ends the TLS.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlencode

import pytest
import trustme

from partitioning.errors import RedisUnavailable
from partitioning.redis_connect import connect
from tests.support.redis_server import RedisServer
from tests.support.tls_tunnel import tls_tunnel

CA = trustme.CA()
FOREIGN = trustme.CA()


def _server(name: str, *, client_ca: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert(name).configure_cert(context)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        client_ca.configure_trust(context)
    return context


def _files(folder: Path, ca: trustme.CA, client: trustme.LeafCert | None = None) -> str:
    """Write the files and return the options of a URL that name them."""
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    options = {"ssl_ca_certs": str(folder / "ca.pem")}
    if client is not None:
        client.private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
        options |= {"ssl_certfile": str(folder / "client.pem"), "ssl_keyfile": str(folder / "client.pem")}
    return urlencode(options)


async def _ping(url: str) -> object:
    commands = connect(url, [], timeout_s=3.0)
    try:
        return await commands.one(("PING",))
    finally:
        await commands.close()


async def test_commands_run_by_tls(redis_server: RedisServer, tmp_path: Path) -> None:
    async with tls_tunnel(redis_server.port, _server("127.0.0.1")) as port:
        assert await _ping(f"rediss://127.0.0.1:{port}/0?{_files(tmp_path, CA)}") == b"PONG"


@pytest.mark.parametrize(("ca", "name"), [(FOREIGN, "127.0.0.1"), (CA, "other.example.org")])
async def test_a_server_of_another_authority_or_name_is_refused(
    redis_server: RedisServer, tmp_path: Path, ca: trustme.CA, name: str
) -> None:
    async with tls_tunnel(redis_server.port, _server(name)) as port:
        with pytest.raises(RedisUnavailable, match=r"(?i)certificate"):
            await _ping(f"rediss://127.0.0.1:{port}/0?{_files(tmp_path, ca)}")


async def test_a_client_certificate_is_shown(redis_server: RedisServer, tmp_path: Path) -> None:
    own, foreign = (ca.issue_cert("node.example.org") for ca in (CA, FOREIGN))

    async with tls_tunnel(redis_server.port, _server("127.0.0.1", client_ca=CA)) as port:
        assert await _ping(f"rediss://127.0.0.1:{port}/0?{_files(tmp_path, CA, own)}") == b"PONG"
        for other in (None, foreign):
            with pytest.raises(RedisUnavailable):
                await _ping(f"rediss://127.0.0.1:{port}/0?{_files(tmp_path, CA, other)}")
