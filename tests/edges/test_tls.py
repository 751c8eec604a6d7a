"""The node's own TLS: who may connect, whom a client's certificate proves, and new certificates without a restart."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from router_client.client import EventRouterClient
from router_client.errors import ConnectionLost, InvalidInput, Unauthenticated
from router_client.options import ClientOptions
from router_node.config import ConfigError, Settings, load_settings
from router_node.edges import tls as node_tls
from router_node.edges.security import security_of
from router_node.edges.server import serve
from router_node.edges.tls import Files, Tls
from router_node.node import embedded
from router_node.security.gate import Gate, OpenGate
from tests.support.gate import KeyRing

CA = trustme.CA()
CLIENTS = trustme.CA()
FOREIGN = trustme.CA()


def _written(folder: Path, name: str, certificate: trustme.LeafCert) -> tuple[str, str]:
    """Write a certificate and its key; returns their paths."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(b"".join(each.bytes() for each in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    return str(cert), str(key)


def _authority(folder: Path, name: str, ca: trustme.CA) -> str:
    path = folder / name
    ca.cert_pem.write_to_path(str(path))
    return str(path)


@asynccontextmanager
async def _served(folder: Path, gate: Gate | None = None, **settings: Any) -> AsyncIterator[str]:
    """Serve an embedded node by TLS; yields host:port."""
    cert, key = _written(folder, "node", CA.issue_cert("127.0.0.1", "localhost"))
    chosen = Settings(tls_cert=cert, tls_key=key, **settings)
    stop = asyncio.Event()
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with embedded() as node, asyncio.TaskGroup() as tasks:
        tasks.create_task(
            serve(
                node,
                node.management,
                chosen,
                node.metrics.text,
                node.conduct,
                stop,
                address.set_result,
                host="127.0.0.1",
                port=0,
                security=security_of(chosen, gate or OpenGate()),
            )
        )
        url = await address
        assert url.startswith("https://")
        try:
            yield url.removeprefix("https://")
        finally:
            stop.set()


def _options(tmp_path: Path, ca: trustme.CA = CA, client: trustme.LeafCert | None = None) -> ClientOptions:
    cert, key = _written(tmp_path, "client", client) if client is not None else (None, None)
    return ClientOptions(ca=_authority(tmp_path, "ca.pem", ca), cert=cert, key=key)


@pytest.mark.parametrize("scheme", ["wss", "https"])
async def test_the_sdk_publishes_and_reads_by_tls(tmp_path: Path, scheme: str) -> None:
    async with (
        _served(tmp_path) as address,
        EventRouterClient(f"{scheme}://{address}", options=_options(tmp_path)) as client,
    ):
        published = await client.publish("a.b", id="e1", ack="stored")
        assert published.id == "e1"
        assert (await client.history.event("e1")).type == "a.b"


@pytest.mark.parametrize("scheme", ["wss", "https"])
async def test_the_sdk_connects_to_no_node_of_another_authority_or_name(tmp_path: Path, scheme: str) -> None:
    async with _served(tmp_path) as address:
        with pytest.raises(ConnectionLost, match="certificate"):
            async with EventRouterClient(f"{scheme}://{address}", options=_options(tmp_path, FOREIGN)):
                pass


async def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("nothing")
    for options in ({"ca": "no.pem"}, {"ca": "absent.pem"}, {"cert": "no.pem", "key": "no.pem"}):
        paths = {name: str(tmp_path / value) for name, value in options.items()}
        with pytest.raises(InvalidInput) as refused:
            async with EventRouterClient("wss://127.0.0.1:1", options=ClientOptions(**paths)):
                pass
        assert refused.value.field == next(iter(options))


@pytest.mark.parametrize("scheme", ["wss", "https"])
async def test_a_clients_certificate_proves_who_it_is(tmp_path: Path, scheme: str) -> None:
    keys = KeyRing()
    keys.give("scanner-7", "publisher")
    settings = {"tls_client_ca": _authority(tmp_path, "clients.pem", CLIENTS), "tls_client_auth": "optional"}
    certificate = CLIENTS.issue_cert("scanner-7.example.org", common_name="scanner-7")

    async with _served(tmp_path, keys, **settings) as address:
        url = f"{scheme}://{address}"
        async with EventRouterClient(url, options=_options(tmp_path, client=certificate)) as client:
            assert (await client.publish("a.b")).id
        with pytest.raises(Unauthenticated):
            async with EventRouterClient(url, options=_options(tmp_path)) as client:
                await client.publish("a.b")


@pytest.mark.parametrize("client", [None, FOREIGN.issue_cert("x.example.org", common_name="scanner-7")])
async def test_where_a_certificate_is_required_nothing_else_connects(
    tmp_path: Path, client: trustme.LeafCert | None
) -> None:
    settings = {"tls_client_ca": _authority(tmp_path, "clients.pem", CLIENTS), "tls_client_auth": "required"}
    own = CLIENTS.issue_cert("y.example.org", common_name="scanner-7")

    async with _served(tmp_path, **settings) as address:
        for scheme in ("wss", "https"):
            with pytest.raises(ConnectionLost):
                async with EventRouterClient(f"{scheme}://{address}", options=_options(tmp_path, client=client)) as sdk:
                    await sdk.publish("a.b")
        async with EventRouterClient(f"wss://{address}", options=_options(tmp_path, client=own)) as sdk:
            assert (await sdk.publish("a.b")).id


async def test_a_foreign_certificate_is_no_identity_where_certificates_are_optional(tmp_path: Path) -> None:
    keys = KeyRing()
    keys.give("scanner-7", "publisher")
    settings = {"tls_client_ca": _authority(tmp_path, "clients.pem", CLIENTS), "tls_client_auth": "optional"}
    forged = FOREIGN.issue_cert("x.example.org", common_name="scanner-7")

    async with _served(tmp_path, keys, **settings) as address:
        for scheme in ("wss", "https"):
            with pytest.raises(ConnectionLost):
                async with EventRouterClient(f"{scheme}://{address}", options=_options(tmp_path, client=forged)) as sdk:
                    await sdk.publish("a.b")


async def test_old_versions_of_tls_are_refused(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(_authority(tmp_path, "ca.pem", CA))
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1

    async with _served(tmp_path) as address:
        host, _, port = address.rpartition(":")
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection(host, int(port), ssl=context)


async def test_plain_http_to_a_tls_port_is_answered_with_nothing(tmp_path: Path) -> None:
    async with _served(tmp_path) as address:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        async with asyncio.timeout(5):
            assert not (await reader.read()).startswith(b"HTTP")
        writer.close()


def _shown(tls: Tls) -> bytes:
    """Return the certificate that a handshake with a server of this TLS shows."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = tls.context.wrap_bio(to_server, to_client, server_side=True)
    client_side = client.wrap_bio(to_client, to_server)
    for side in (client_side, server_side) * 3:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    shown = client_side.getpeercert(binary_form=True)
    assert shown is not None
    return shown


def test_a_new_certificate_is_taken_up_and_a_bad_one_is_not(tmp_path: Path) -> None:
    cert, key = _written(tmp_path, "node", CA.issue_cert("one.example.org"))
    tls = Tls(Files(Path(cert), Path(key), None, "none"))
    first = _shown(tls)

    Path(cert).write_text("half of it")
    tls.look()
    assert _shown(tls) == first

    _written(tmp_path, "other", CA.issue_cert("two.example.org"))
    (tmp_path / "other.pem").replace(cert)  # its key is still to come
    tls.look()
    assert _shown(tls) == first

    (tmp_path / "other.key").replace(key)
    tls.look()
    assert _shown(tls) != first


def _bundle(path: Path, *authorities: trustme.CA) -> None:
    """Write authorities into a file as a whole: who reads it finds what was there or all that is there now."""
    written = path.with_suffix(".new")
    written.write_bytes(b"".join(each.cert_pem.bytes() for each in authorities))
    written.replace(path)


def _asked(context: ssl.SSLContext, address: str, session: ssl.SSLSession | None = None) -> tuple[bytes, Any, bool]:
    """Ask a node how it is, perhaps resuming a session; returns its answer, the session and whether it was resumed.

    Raises OSError when the node ends the connection.
    """
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=host, session=session) as connection,
    ):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = connection.recv(4096)
        if not answer:
            raise ConnectionResetError("closed without an answer")
        return answer, connection.session, bool(connection.session_reused)


def _asked_for_ever(context: ssl.SSLContext, address: str) -> None:
    give_up_at = time.monotonic() + 10
    while time.monotonic() < give_up_at:
        _asked(context, address)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_an_authority_that_was_taken_out_is_trusted_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: ssl.TLSVersion
) -> None:
    monkeypatch.setattr(node_tls, "LOOK_S", 0.05)
    authorities = tmp_path / "clients.pem"
    _bundle(authorities, CLIENTS, FOREIGN)
    contexts = []
    for name, ca in (("kept", CLIENTS), ("gone", FOREIGN)):
        context = ssl.create_default_context(cafile=_authority(tmp_path, "ca.pem", CA))
        context.minimum_version = context.maximum_version = version
        context.load_cert_chain(*_written(tmp_path, name, ca.issue_cert(f"{name}.example.org", common_name=name)))
        contexts.append(context)
    kept, gone = contexts

    async with _served(tmp_path, tls_client_ca=str(authorities), tls_client_auth="required") as address:
        answer, session, _ = await asyncio.to_thread(_asked, gone, address)
        assert b"200 OK" in answer
        assert (await asyncio.to_thread(_asked, gone, address, session))[2], "there is something to resume"

        _bundle(authorities, CLIENTS)
        with pytest.raises(OSError, match=r"."):
            await asyncio.to_thread(_asked_for_ever, gone, address)
        with pytest.raises(OSError, match=r"."):
            await asyncio.to_thread(_asked, gone, address, session)
        assert b"200 OK" in (await asyncio.to_thread(_asked, kept, address))[0]


def test_settings_that_do_not_fit_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, said in (
        ({"tls_cert": "a.pem"}, "tls_key"),
        ({"tls_client_auth": "required"}, "tls_client_ca"),
        ({"client_cert_header": "x-client-cert"}, "trusted_proxies"),
        ({"trusted_proxies": ("10.0.0.0/8",)}, "client_cert_header"),
        ({"trusted_proxies": ("10.0.0.0/33",), "client_cert_header": "x"}, "trusted_proxies"),
        ({"tls_client_auth": "maybe"}, "tls_client_auth"),
    ):
        with pytest.raises(ConfigError, match=said):
            load_settings(**given)
    monkeypatch.setenv("ER_TRUSTED_PROXIES", '["10.0.0.0/8"]')
    monkeypatch.setenv("ER_CLIENT_CERT_HEADER", "X-Client-Cert")
    assert load_settings().trusted_proxies == ("10.0.0.0/8",)
