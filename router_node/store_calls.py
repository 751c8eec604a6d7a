"""Calls of the store by the desks: what it raises becomes what clients are told."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from router_client.errors import Unavailable
from stores.errors import StoreError

T = TypeVar("T")


async def stored(call: Awaitable[T]) -> T:
    """Return what the store answers. Raises Unavailable when it cannot."""
    try:
        return await call
    except StoreError as error:
        raise Unavailable(f"the store cannot answer: {error}") from error
