"""Free TCP ports for test servers."""

from __future__ import annotations

import random
import socket

# Below the range from which Linux takes the ports of outgoing connections: a client that keeps trying the port of a
# server that is down would otherwise, sooner or later, be given that very port and connect to itself.
_CANDIDATES = range(15_000, 32_000)
# Its own generator: pytest-randomly seeds the global one alike in every session, which would make sessions collide.
_CHOICE = random.SystemRandom()


def is_free(port: int) -> bool:
    """Tell whether a server could listen on 127.0.0.1 at ``port`` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port that was free a moment ago; nothing reserves it. Raises OSError when a thousand tries find none."""
    for _ in range(1000):
        port = _CHOICE.choice(_CANDIDATES)
        if is_free(port):
            return port
    raise OSError(f"no free port found in {_CANDIDATES}")
