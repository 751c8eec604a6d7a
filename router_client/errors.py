"""Every error the router and its SDK raise to a caller.

EventRouterError
├── InvalidInput       400  the request is wrong; ``field`` names the part at fault
├── TooLarge           413  a body, frame or event exceeds its limit
├── Unauthenticated    401  no credentials, or none that are valid now
├── Forbidden          403  who asks is known, and no policy allows it
│   └── QuotaReached   403  it has as many as its policies allow; it must delete one first
├── NotFound           404  no such event, subscription or dead letter
├── Conflict           409  the request contradicts what is there
│   ├── PreconditionFailed 412  it was changed since the caller looked; nothing was changed now
│   └── NotStored      409  it asks for stored events, and the cluster stores none
├── Overloaded         429  accepted nothing; try again after ``retry_after_s``
│   └── RateLimited    429  the caller asks for more a second than its policies allow
├── Unavailable        503  a part the request needs is away; nothing was accepted unless said otherwise
├── ConnectionLost     503  (SDK) the connection went away and the outcome is unknown; publishing the id again is safe
└── ClosedError        503  (SDK) the client or subscription is closed

On the wire an error is an RFC 9457 problem detail: :meth:`EventRouterError.problem` writes it, :func:`from_problem`
reads it back into the same class.
"""

from __future__ import annotations

from typing import Any, ClassVar


class EventRouterError(Exception):
    """Base of all errors of the router; never raised itself by the node."""

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Event router error"
    status: ClassVar[int] = 500

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(f"{field}: {detail}" if field else detail)
        self.detail = detail
        self.field = field

    def problem(self) -> dict[str, Any]:
        """Return the error as RFC 9457 problem details (a JSON object); its type is a place in the node's docs page."""
        body: dict[str, Any] = {
            "type": f"/docs#problem-{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.field is not None:
            body["field"] = self.field
        return body


class InvalidInput(EventRouterError):
    """What the caller sent is wrong; sending it again unchanged cannot succeed."""

    code, title, status = "invalid", "Invalid input", 400


class TooLarge(InvalidInput):
    """A body, frame or event exceeds its limit."""

    code, title, status = "too_large", "Too large", 413


class Unauthenticated(EventRouterError):
    """No credentials came, or none that are valid now; it is not told which part was wrong."""

    code, title, status = "unauthenticated", "Not authenticated", 401


class Forbidden(EventRouterError):
    """Who asks is known, and none of its policies allows this."""

    code, title, status = "forbidden", "Not allowed", 403


class QuotaReached(Forbidden):
    """Who asks has as many as its policies allow; waiting does not help, deleting one does."""

    code, title = "quota_reached", "Quota reached"


class NotFound(EventRouterError):
    """The thing named does not exist."""

    code, title, status = "not_found", "Not found", 404


class Conflict(EventRouterError):
    """The request contradicts the present state."""

    code, title, status = "conflict", "Conflict", 409


class PreconditionFailed(Conflict):
    """What the caller expected is not what is there; nothing was changed. Read it again, then decide."""

    code, title, status = "precondition_failed", "Precondition failed", 412


class NotStored(Conflict):
    """The request needs stored events, and the cluster is set to store none."""

    code, title = "not_stored", "Events are not stored"


class Overloaded(EventRouterError):
    """The router refuses work to stay within its bounds; nothing was accepted."""

    code, title, status = "overloaded", "Overloaded, try again later", 429

    def __init__(self, detail: str, *, field: str | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(detail, field=field)
        self.retry_after_s = retry_after_s

    def problem(self) -> dict[str, Any]:
        """Return problem details with ``retry_after_s``."""
        return {**super().problem(), "retry_after_s": self.retry_after_s}


class RateLimited(Overloaded):
    """The caller has had what its policies allow it; nothing was accepted."""

    code, title = "rate_limited", "Rate limited, try again later"


class Unavailable(EventRouterError):
    """A part that the request needs is away; try again."""

    code, title, status = "unavailable", "Temporarily unavailable", 503


class ConnectionLost(Unavailable):
    """The connection went away before the answer came; the event id makes a second publish safe."""

    code, title = "connection_lost", "Connection lost"


class ClosedError(Unavailable):
    """The client or subscription was closed."""

    code, title = "closed", "Closed"


_BY_CODE: dict[str, type[EventRouterError]] = {
    c.code: c
    for c in (
        InvalidInput,
        TooLarge,
        Unauthenticated,
        Forbidden,
        QuotaReached,
        NotFound,
        Conflict,
        PreconditionFailed,
        NotStored,
        Overloaded,
        RateLimited,
        Unavailable,
        ConnectionLost,
        ClosedError,
    )
}


def from_problem(problem: dict[str, Any]) -> EventRouterError:
    """Read problem details back into the error they came from.

    An unknown code becomes a plain :class:`EventRouterError`, so that an older client meets a newer node politely.
    """
    detail = str(problem.get("detail") or problem.get("title") or "the router gave no reason")
    field = problem.get("field")
    cls = _BY_CODE.get(str(problem.get("code")), EventRouterError)
    if issubclass(cls, Overloaded):
        return cls(detail, field=field, retry_after_s=float(problem.get("retry_after_s", 1.0)))
    return cls(detail, field=field)
