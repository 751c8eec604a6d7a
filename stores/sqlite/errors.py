"""What SQLite and its driver raise, in our words."""

from __future__ import annotations

import sqlite3

from stores.errors import StoreError, StoreRejected, StoreUnavailable

# ValueError is what aiosqlite makes of a connection that was closed meanwhile.
DRIVER_ERRORS = (sqlite3.Error, OSError, TimeoutError, OverflowError, ValueError)

_REJECTED = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, OverflowError, UnicodeError)


def store_error(error: BaseException) -> StoreError:
    """Return what to raise from one of ``DRIVER_ERRORS``: StoreRejected for what the very data caused."""
    if isinstance(error, _REJECTED):
        return StoreRejected(f"SQLite refuses the data: {error}")
    return StoreUnavailable(f"SQLite cannot answer: {str(error) or 'no answer in time'}")
