"""W3C Trace Context, level 2: read from and written to HTTP headers or an event's metadata, strictly.

A traceparent that breaks a rule counts as none, and then its tracestate as well; a tracestate that breaks one is
dropped as a whole. OpenTelemetry's own propagator is laxer: of two traceparent headers it takes the first, for example.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace

SAMPLED = 0x01
RANDOM = 0x02
MAX_TRACESTATE_MEMBERS = 32

_OWS = " \t"
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MEMBER = re.compile(
    r"([a-z0-9][a-z0-9_\-*/@]{0,255})=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])"
)


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Where in which trace a piece of work stands.

    ``trace_id`` and ``parent_id`` are 32 and 16 lower-case hexadecimal digits, not all zero; ``flags`` holds the bits
    ``SAMPLED`` and ``RANDOM``; ``tracestate`` the vendors' members, the latest first, at most 32.
    """

    trace_id: str
    parent_id: str
    flags: int = 0
    tracestate: tuple[tuple[str, str], ...] = ()


def extract(headers: Iterable[tuple[str, str]]) -> TraceContext | None:
    """Return the context that headers carry, names in any case, or None when there is none or it is invalid."""
    parents: list[str] = []
    states: list[str] = []
    for name, value in headers:
        lowered = name.lower()
        if lowered == "traceparent":
            parents.append(value)
        elif lowered == "tracestate":
            states.append(value)
    match = _TRACEPARENT.fullmatch(parents[0].strip(_OWS)) if len(parents) == 1 else None
    if match is None:
        return None
    version, trace_id, parent_id, flags, future = match.groups()
    if version == "00" and future is not None:
        return None
    return TraceContext(trace_id, parent_id, int(flags, 16) & (SAMPLED | RANDOM), _tracestate(states))


def start() -> TraceContext:
    """Return the context of a new trace, with a random trace id and not sampled."""
    return TraceContext(secrets.token_hex(16), secrets.token_hex(8), RANDOM)


def child(context: TraceContext | None) -> TraceContext:
    """Return the context of work caused by ``context``: its trace with a new parent id, or a new trace for None."""
    return start() if context is None else replace(context, parent_id=secrets.token_hex(8))


def outgoing(context: TraceContext) -> list[tuple[str, str]]:
    """Return the headers that carry ``context``: traceparent, and tracestate unless it is empty."""
    headers = [("traceparent", f"00-{context.trace_id}-{context.parent_id}-{context.flags:02x}")]
    if context.tracestate:
        headers.append(("tracestate", ",".join(f"{key}={value}" for key, value in context.tracestate)))
    return headers


def _tracestate(values: Iterable[str]) -> tuple[tuple[str, str], ...]:
    members: dict[str, str] = {}
    count = 0
    for member in ",".join(values).split(","):
        text = member.strip(_OWS)
        if not text:
            continue
        match = _MEMBER.fullmatch(text)
        count += 1
        if match is None or count > MAX_TRACESTATE_MEMBERS:
            return ()
        members.setdefault(match[1], match[2])
    return tuple(members.items())
