"""How many connections the system lets a node have: each is an open file."""

from __future__ import annotations

import resource
from contextlib import suppress

OTHERS = 256
"""What a node keeps open besides its clients: Redis, the database, webhooks, files."""


def sockets_allowed(most: int) -> int:
    """Return how many connections there may be, at most ``most``.

    The process is given what it needs for them as far as the system lets it: the usual limit is 1,024, to be raised by
    whoever wants more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return most
    wanted = most + OTHERS if hard == resource.RLIM_INFINITY else min(most + OTHERS, hard)
    if soft < wanted:
        with suppress(OSError, ValueError):  # a sandbox may forbid it: then it stays as it is
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(1, min(most, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OTHERS))
