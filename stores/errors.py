"""Errors of the stores, by what the caller should do.

StoreError
├── StoreUnavailable  the database is away or refuses for now: keep the work and try again
└── StoreRejected     the database refuses this very data: trying it again unchanged cannot succeed
"""

from __future__ import annotations


class StoreError(Exception):
    """Base of what a store raises; drivers' own exceptions never leave a store."""


class StoreUnavailable(StoreError):
    """The database cannot be reached, timed out, or is read-only or full for now."""


class StoreRejected(StoreError):
    """The database refuses this very data."""
