"""A Redis Cluster of three primaries with a replica each, which fails over within two seconds or so."""

from __future__ import annotations

from itertools import combinations
from typing import Any, Self

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.server_group import ServerGroup

SLOTS = 16_384
_PRIMARIES = 3


class RedisClusterServers(ServerGroup):
    """Six servers of one Cluster.

    >>> with RedisClusterServers() as redis:
    ...     redis.kill_primary("some key")
    ...     redis.wait_until_healed()

    Methods block until done (a start takes some two seconds); call them through asyncio.to_thread where that matters.
    """

    def __init__(self) -> None:
        self.servers = [RedisServer() for _ in range(2 * _PRIMARIES)]
        self._dead: set[int] = set()

    @property
    def url(self) -> str:
        """URL that names every server."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{server.port}' for server in self.servers)}"

    def start(self) -> Self:
        """Start everything and return when every server says that the Cluster is well."""
        for server in self.servers:
            server.start(
                extra=[
                    *("--cluster-enabled", "yes"),
                    *("--cluster-node-timeout", "1000"),
                    *("--cluster-config-file", "nodes.conf"),
                    *("--cluster-port", str(free_port())),
                    *("--cluster-require-full-coverage", "no"),
                    *("--cluster-replica-validity-factor", "0"),
                    *("--repl-diskless-sync-delay", "0"),
                    # A replica counts once it has had something from its primary; of an empty one, that is the ping.
                    *("--repl-ping-replica-period", "1"),
                ]
            )
        primaries, replicas = self.servers[:_PRIMARIES], self.servers[_PRIMARIES:]
        for index, server in enumerate(primaries):
            first, end = index * SLOTS // _PRIMARIES, (index + 1) * SLOTS // _PRIMARIES
            self.command(server, "CLUSTER ADDSLOTSRANGE", first, end - 1)
        for index, server in enumerate(self.servers):
            self.command(server, "CLUSTER SET-CONFIG-EPOCH", index + 1)
        for server, other in combinations(self.servers, 2):
            self.command(server, "CLUSTER MEET", "127.0.0.1", other.port, self._bus_port(other))
        self._until(lambda: all(self._knows(server) == len(self.servers) for server in self.servers), "all have met")
        for primary, replica in zip(primaries, replicas, strict=True):
            self.command(replica, "CLUSTER REPLICATE", self.id_of(primary))
        self.wait_until_healed(replicated=True)
        return self

    def command(self, server: RedisServer, *command: str | int) -> Any:
        """Run a command on one server and return the reply as it comes."""
        with Redis(port=server.port, socket_timeout=5, protocol=2) as redis:
            redis.response_callbacks.clear()
            return redis.execute_command(*command)

    def id_of(self, server: RedisServer) -> str:
        """Return the name by which the Cluster knows a server."""
        return str(self.command(server, "CLUSTER MYID").decode())

    @property
    def primaries(self) -> list[RedisServer]:
        """The servers that hold slots, by slot."""
        shards = self._shards(self._living()[0])
        by_port = {server.port: server for server in self.servers}
        return [by_port[shard[2][1]] for shard in sorted(shards)]

    def primary(self, key: str) -> RedisServer:
        """Return the server that holds a key."""
        slot = key_slot(key.encode())
        by_port = {server.port: server for server in self.servers}
        return next(by_port[shard[2][1]] for shard in self._shards(self._living()[0]) if shard[0] <= slot <= shard[1])

    def replica(self, key: str) -> RedisServer:
        """Return the server that follows the one that holds a key."""
        slot = key_slot(key.encode())
        by_port = {server.port: server for server in self.servers}
        shards = self._shards(self._living()[0])
        return next(by_port[shard[3][1]] for shard in shards if shard[0] <= slot <= shard[1])

    def kill_primary(self, key: str) -> RedisServer:
        """Kill the server that holds a key as a crash would, and return it."""
        server = self.primary(key)
        server.kill()
        self._dead.add(server.port)
        return server

    def pause_primary(self, key: str) -> RedisServer:
        """Freeze the server that holds a key, and return it; to wait for what the others do, it counts as dead."""
        server = self.primary(key)
        server.pause()
        self._dead.add(server.port)
        return server

    def restart(self, server: RedisServer) -> None:
        """Start a killed server again; it becomes a replica of whoever took its place."""
        server.start()
        self._dead.discard(server.port)

    def wait_until_healed(self, *, replicated: bool = False) -> None:
        """Wait until all the living agree that they hold every slot, ``replicated`` with a replica each."""

        def healed() -> bool:
            return all(self._well(server, 2 if replicated else 1) for server in self._living())

        self._until(healed, "the cluster is well")

    def flush(self) -> None:
        """Delete all data and scripts."""
        for server in self.primaries:
            self.command(server, "FLUSHALL")
        self.forget_scripts()

    def forget_scripts(self) -> None:
        """Delete the scripts of every server."""
        for server in self._living():
            self.command(server, "SCRIPT FLUSH")

    def _living(self) -> list[RedisServer]:
        return [server for server in self.servers if server.port not in self._dead]

    def _bus_port(self, server: RedisServer) -> int:
        return int(self.command(server, "CONFIG GET", "cluster-port")[1])

    def _knows(self, server: RedisServer) -> int:
        lines = self.command(server, "CLUSTER NODES").decode().splitlines()
        return sum("handshake" not in line for line in lines)

    def _shards(self, server: RedisServer) -> list[list[Any]]:
        return list(self.command(server, "CLUSTER SLOTS"))

    def _well(self, server: RedisServer, members: int) -> bool:
        try:
            state = self.command(server, "CLUSTER INFO")
            shards = self._shards(server)
        except RedisError:
            return False
        whole = sum(shard[1] - shard[0] + 1 for shard in shards) == SLOTS
        held = all(shard[2][1] not in self._dead and len(shard) - 2 >= members for shard in shards)
        return b"cluster_state:ok" in state and whole and held
