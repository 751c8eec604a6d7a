"""What every node of a cluster holds publishers to, told in Redis for those who append without a node."""

from __future__ import annotations

import json
from typing import NamedTuple


class Limits(NamedTuple):
    """Unsettled events per partition, the deduplication window and ids remembered at most, the largest encoded event.

    ``replicas`` confirm what is to be replicated; a node that is silent for ``lease_ms`` is none any more. The defaults
    are a node's.
    """

    backlog: int = 100_000
    dedup_ms: int = 120_000
    dedup_ids: int = 100_000
    event_bytes: int = 256 * 1024
    replicas: int = 1
    lease_ms: int = 3000

    def text(self) -> str:
        """Return them as they stand in Redis."""
        return json.dumps(self._asdict())

    @classmethod
    def read(cls, text: bytes | None) -> Limits:
        """Read what a node wrote; what it said nothing of, as a node of another version may, is the default."""
        told = json.loads(text) if text else {}
        return cls(**{name: int(told[name]) for name in cls._fields if name in told})


DEFAULTS = Limits()
