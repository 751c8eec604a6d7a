"""Pages of listings that are ordered by name: ``limit``, ``cursor`` and ``next``, as everywhere in the API."""

from __future__ import annotations

import base64
from typing import NamedTuple

from router_node.edges.bodies import integer
from stores.cursor import not_a_cursor

DEFAULT_PAGE = 100


class NamePage(NamedTuple):
    """Which page is asked for: up to ``limit`` names, none of them before ``first``."""

    first: str
    limit: int

    @classmethod
    def asked(cls, values: dict[str, str], most: int) -> NamePage:
        """Read ``limit`` (1 to ``most``) and ``cursor`` of a query. Raises InvalidInput naming the one at fault."""
        limit = integer(values, "limit", 1, most, DEFAULT_PAGE)
        return cls(_name(values["cursor"]) if "cursor" in values else "", limit)


def cursor_at(name: str) -> str:
    """Return the cursor of the page that begins with ``name``."""
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _name(cursor: str) -> str:
    try:
        name = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError as error:
        raise not_a_cursor() from error
    # Decoders are lenient; only what we would have written ourselves is ours.
    if not name or cursor_at(name) != cursor:
        raise not_a_cursor()
    return name
