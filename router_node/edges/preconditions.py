"""If-Match and If-None-Match: what a client expects of what it is about to change (RFC 9110, 13.1)."""

from __future__ import annotations

import re

from starlette.requests import Request

from router_client.errors import InvalidInput
from stores.subscriptions import ABSENT, PRESENT

_TAG = re.compile(r'"([1-9][0-9]{0,17})"')


def etag(revision: int) -> dict[str, str]:
    """Return the header that tells a revision; none for what has no revision."""
    return {"etag": f'"{revision}"'} if revision else {}


def expected(request: Request) -> int | None:
    """Return the revision that the request expects, ABSENT or PRESENT, or None when it expects nothing.

    Raises InvalidInput for what could never be met, or only by chance: a list of tags, a weak one, or both headers.
    """
    match, none_match = (request.headers.getlist(name) for name in ("if-match", "if-none-match"))
    if match and none_match:
        raise InvalidInput("give either if-match or if-none-match", field="if-none-match")
    if none_match:
        if none_match != ["*"]:
            raise InvalidInput("only * is offered here: it must not exist", field="if-none-match")
        return ABSENT
    if not match:
        return None
    if match == ["*"]:
        return PRESENT
    tag = _TAG.fullmatch(match[0].strip()) if len(match) == 1 else None
    if tag is None:
        raise InvalidInput('one ETag as it was given, such as "42", or *', field="if-match")
    return int(tag[1])
