"""Pages: the parameters and the schema that all listings share."""

from __future__ import annotations

from router_node.edges.limits import Limits
from router_node.edges.openapi.parts import Json, choice, in_query, integer, listed, maybe, text, told
from router_node.edges.paging import DEFAULT_PAGE

CURSOR_EXAMPLE = "MTc2NzI2ODgwMDAwMDAwMCAwMTk5YzFmMA"

LIMIT = in_query("limit", integer(1, Limits().max_page, default=DEFAULT_PAGE), "How many at most.", DEFAULT_PAGE)
CURSOR = in_query("cursor", text(), "The `next` of the page before.", CURSOR_EXAMPLE)
ORDER = in_query("order", choice("asc", "desc"), "Oldest first, or newest first.", "desc")


def page(member: str, items: Json) -> Json:
    """Return the schema of a page; a page may be short and yet not the last."""
    return told(
        "A page of a listing.",
        **{member: listed(items), "next": maybe(text("The `cursor` of the next page; null: there is none."))},
    )
