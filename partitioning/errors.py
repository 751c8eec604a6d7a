"""What goes wrong between a node and Redis."""

from __future__ import annotations


class RedisUnavailable(Exception):
    """Redis cannot be reached, did not answer in time, or refused; whether a change was made is unknown."""
