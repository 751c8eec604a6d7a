"""The name of every Redis key. docs/redis-keys.md says what each holds and how long it lives."""

from __future__ import annotations

from dataclasses import dataclass

GROUP = "router"
CONSUMER = "owner"


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names of one cluster. All keys of a partition share the hash tag ``{er:<cluster>:<partition>}``."""

    cluster: str

    def ingest(self, partition: int, priority: int) -> str:
        """Stream of record batches waiting to be routed."""
        return f"{{er:{self.cluster}:{partition}}}:in:{priority}"

    def position(self, partition: int) -> str:
        """Hash: log generation, last sequence, number of events settled."""
        return f"{{er:{self.cluster}:{partition}}}:pos"

    def ids(self, partition: int) -> str:
        """Sorted set of the event ids accepted within the deduplication window."""
        return f"{{er:{self.cluster}:{partition}}}:ids"

    def lease(self, partition: int) -> str:
        """String: the owner's fencing token, with the lease as its time to live."""
        return f"{{er:{self.cluster}:{partition}}}:lease"

    def epoch(self, partition: int) -> str:
        """String: the last epoch given out."""
        return f"{{er:{self.cluster}:{partition}}}:epoch"

    def outbox(self, partition: int) -> str:
        """Hash: "<accepted at, µs> <event id>" of what had to be stored -> in how many places here it still is."""
        return f"{{er:{self.cluster}:{partition}}}:outbox"

    def high_water(self, partition: int) -> str:
        """Hash: lane -> highest position spilled."""
        return f"{{er:{self.cluster}:{partition}}}:hw"

    def lanes(self, partition: int) -> str:
        """Set of the lanes that have something spilled."""
        return f"{{er:{self.cluster}:{partition}}}:lanes"

    def queue(self, partition: int, lane: str) -> str:
        """Stream of what a lane (``<subscription>:<priority>``) spilled."""
        return f"{{er:{self.cluster}:{partition}}}:q:{lane}"

    def retry(self, partition: int, lane: str) -> str:
        """Hash: spilled entry -> attempts made and the time of the next."""
        return f"{{er:{self.cluster}:{partition}}}:retry:{lane}"

    def due(self, partition: int) -> str:
        """Sorted set: "<priority> <entry of the schedule's queue>" by the time it is due, in ms."""
        return f"{{er:{self.cluster}:{partition}}}:due"

    def fences(self, partition: int) -> str:
        """Hash: priority -> the number of partitions its stream has passed the fence for."""
        return f"{{er:{self.cluster}:{partition}}}:fences"

    def owed(self, partition: int) -> str:
        """Set of the lanes that still hold what they spilled before the fence."""
        return f"{{er:{self.cluster}:{partition}}}:owed"

    def dead_letters(self, partition: int) -> str:
        """Stream of dead letters."""
        return f"{{er:{self.cluster}:{partition}}}:dlq"

    def meta(self) -> str:
        """Hash: what was set once for the cluster (partitions)."""
        return f"er:{self.cluster}:meta"

    def nodes(self) -> str:
        """Hash: node id -> when it was last heard of, its incarnation and what it told; "drain <id>" -> asked when."""
        return f"er:{self.cluster}:nodes"

    def tokens(self, action: str, principal: str) -> str:
        """Hash: what a principal's bucket for an action holds, and as of when."""
        return f"er:{self.cluster}:tokens:{action}:{principal}"

    def seats(self, principal: str) -> str:
        """Hash: node id -> how many connections of a principal it has, and until when that holds."""
        return f"er:{self.cluster}:seats:{principal}"

    def channel(self, node: str) -> str:
        """Pub/sub channel of messages for one node."""
        return f"er:{self.cluster}:node:{node}"

    def doorbell(self, node: str) -> str:
        """Pub/sub channel of entries for a node that owns their partitions."""
        return f"er:{self.cluster}:bell:{node}"

    def notices(self) -> str:
        """Pub/sub channel of what all nodes should hear."""
        return f"er:{self.cluster}:notices"
