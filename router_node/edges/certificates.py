"""Client certificates: of the node's own TLS connections, and as load balancers hand them on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from router_node.security.principal import Certificate

CERTIFICATE = "event_router.certificate"
"""The name under which a connection's Certificate stands in its ASGI scope."""

MAX_HEADER_BYTES = 32 * 1024

_FORWARDED = re.compile(rb'(?:^|[;,])\s*Cert="?([^";,]+)', re.IGNORECASE)


def of_connection(transport: asyncio.BaseTransport) -> Certificate | None:
    """Return the certificate that the client of a TLS connection has proved to hold, None where there is none."""
    ssl_object = transport.get_extra_info("ssl_object")
    shown = ssl_object.getpeercert() if ssl_object is not None else None
    if not shown:
        return None
    names = [value for part in shown.get("subject", ()) for key, value in part if key == "commonName"]
    alternatives = (value for kind, value in shown.get("subjectAltName", ()) if kind in ("URI", "DNS"))
    return Certificate(names[-1] if names else "", tuple(alternatives))


def read_header(value: bytes) -> Certificate:
    """Read a certificate as nginx (``ssl_client_escaped_cert``) or Envoy (``x-forwarded-client-cert``) hands it on.

    Of several that proxies have added, the last is the one that our own has seen. Raises ValueError.
    """
    if len(value) > MAX_HEADER_BYTES:
        raise ValueError("the header is too long")
    forwarded = _FORWARDED.findall(value)
    certificate = x509.load_pem_x509_certificate(unquote_to_bytes(forwarded[-1] if forwarded else value))
    names = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return Certificate(names[-1] if names else "", _alternatives(certificate))


def _alternatives(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    except x509.ExtensionNotFound:
        return ()
    names = extension.value
    assert isinstance(names, x509.SubjectAlternativeName)  # noqa: S101 - of that very kind
    return tuple(each.value for each in names if isinstance(each, x509.UniformResourceIdentifier | x509.DNSName))


class Proxies:
    """The load balancers that are believed what they say of a client: those whose own address is in ``networks``."""

    def __init__(self, header: str, networks: Sequence[str]) -> None:
        self.header = header.lower().encode("latin-1")
        self._networks = [ip_network(each, strict=False) for each in networks]

    def trust(self, peer: str) -> bool:
        """Tell whether who connected from this address is one."""
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)
