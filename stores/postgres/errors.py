"""What PostgreSQL and its driver raise, in our words."""

from __future__ import annotations

import asyncpg

from stores.errors import StoreError, StoreRejected, StoreUnavailable

DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)

_REJECTED = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)
_ADVICE = {
    asyncpg.InvalidPasswordError: "check the user and password in ER_DATABASE_URL",
    asyncpg.InvalidAuthorizationSpecificationError: "check the user and password in ER_DATABASE_URL",
    asyncpg.InvalidCatalogNameError: "create the database named in ER_DATABASE_URL",
    asyncpg.InsufficientPrivilegeError: "grant its user what it needs",
    asyncpg.ReadOnlySQLTransactionError: "connect to the primary, not to a replica",
    asyncpg.DiskFullError: "make room on its disk",
    asyncpg.TooManyConnectionsError: "raise max_connections or lower the number of nodes",
    asyncpg.UndefinedTableError: "run the migrations",
}


def store_error(error: BaseException) -> StoreError:
    """Return what to raise from one of ``DRIVER_ERRORS``: StoreRejected for what the very data caused."""
    if isinstance(error, _REJECTED) or _is_unencodable(error):
        return StoreRejected(f"PostgreSQL refuses the data: {error}")
    advice = next((text for kind, text in _ADVICE.items() if isinstance(error, kind)), "")
    what = str(error) or "no answer in time"
    return StoreUnavailable(f"PostgreSQL cannot answer: {what}" + (f"; {advice}" if advice else ""))


def _is_unencodable(error: BaseException) -> bool:
    """Tell values that the driver could not write in PostgreSQL's types; its class for that has no public name."""
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
