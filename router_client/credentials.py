"""What a client shows of itself: a token, and a certificate where the connection is TLS."""

from __future__ import annotations

import ssl

from router_client.errors import InvalidInput
from router_client.options import ClientOptions


def token_of(options: ClientOptions) -> str | None:
    """Return the token to show now."""
    return options.token() if callable(options.token) else options.token


def authorization(options: ClientOptions) -> dict[str, str]:
    """Return the header that shows the token, if there is one. Raises InvalidInput for one that no header can hold."""
    token = token_of(options)
    if token is None:
        return {}
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidInput("printable ASCII without spaces", field="token")
    return {"authorization": f"Bearer {token}"}


def tls_of(options: ClientOptions) -> ssl.SSLContext:
    """Return how to connect by TLS: the server's certificate and name are always checked.

    Raises InvalidInput naming the file that cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=options.ca)
    except OSError as error:
        raise InvalidInput(f"{options.ca}: {error}", field="ca") from error
    if options.cert is not None:
        try:
            context.load_cert_chain(options.cert, options.key)
        except OSError as error:
            raise InvalidInput(f"{options.cert}, {options.key}: {error}", field="cert") from error
    return context
