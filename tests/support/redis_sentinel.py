"""A Redis primary with two replicas and three sentinels that fail over within two seconds or so."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Self

from redis import Redis
from redis.exceptions import RedisError

from tests.support.child_process import ChildProcess, clean_environment
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.server_group import ServerGroup

SERVICE = "er"


class RedisSentinels(ServerGroup):
    """One service, ``er``, with sentinels that agree by two of three.

    >>> with RedisSentinels() as redis:
    ...     redis.kill_primary()
    ...     redis.wait_until_failed_over()

    Methods block until done (a start takes about a second); call them through asyncio.to_thread where that matters.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="er-sentinel-"))
        self.servers = [RedisServer() for _ in range(3)]
        self.sentinels: list[ChildProcess] = []
        self.sentinel_ports = [free_port() for _ in range(3)]
        self._ids = [secrets.token_hex(20) for _ in range(3)]
        self._killed: RedisServer | None = None

    @property
    def url(self) -> str:
        """URL of database 0 of whatever is the primary."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self.sentinel_ports)}/{SERVICE}/0"

    @property
    def primary(self) -> RedisServer:
        """The server that most sentinels call the primary."""
        named = [self._named(port) for port in self.sentinel_ports]
        port = max(named, key=named.count)
        return next(server for server in self.servers if server.port == port)

    def start(self) -> Self:
        """Start everything and return when the sentinels know one another and both replicas follow."""
        first, *others = self.servers
        at_once = ["--repl-diskless-sync-delay", "0"]
        first.start(extra=at_once)
        for server in others:
            server.start(extra=["--replicaof", "127.0.0.1", str(first.port), *at_once])
        self._until(lambda: self._followers(first) == len(others), "both replicas follow")
        for index in range(len(self.sentinel_ports)):
            self.start_sentinel(index)
        self._until(lambda: all(map(self._ready, self.sentinel_ports)), "the sentinels know all there is")
        return self

    def start_sentinel(self, index: int) -> None:
        """Start a sentinel, or start one again that was killed."""
        port = self.sentinel_ports[index]
        config = self.folder / f"{port}.conf"
        if not config.exists():
            config.write_text(self._config(index))
        process = ChildProcess(
            [redis_binary(), config, "--sentinel"], log=self.folder / f"{port}.log", env=clean_environment(LC_ALL="C")
        )
        self.sentinels[index : index + 1] = [process]

    def kill_primary(self) -> RedisServer:
        """Kill the primary as a crash would, and return it."""
        self._killed = self.primary
        self._killed.kill()
        return self._killed

    def wait_until_failed_over(self, before: RedisServer | None = None) -> RedisServer:
        """Wait until the sentinels name another primary than ``before`` (the one killed), and return it."""
        old = before or self._killed

        def failed_over() -> bool:
            primary = self.primary
            return primary is not old and self._role(primary) == "master"

        self._until(failed_over, "a replica was made the primary")
        return self.primary

    def remove(self) -> None:
        """Stop everything and delete its folders."""
        for sentinel in self.sentinels:
            sentinel.kill()
        super().remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _config(self, index: int) -> str:
        first, *others = self.servers
        lines = [
            f"port {self.sentinel_ports[index]}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            f"sentinel myid {self._ids[index]}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {first.port} 2",
            f"sentinel down-after-milliseconds {SERVICE} 500",
            f"sentinel failover-timeout {SERVICE} 3000",
            f"sentinel parallel-syncs {SERVICE} 1",
            *(f"sentinel known-replica {SERVICE} 127.0.0.1 {server.port}" for server in others),
        ]
        # Told of one another they are ready at once; finding out by themselves takes them seconds.
        for each, (port, run_id) in enumerate(zip(self.sentinel_ports, self._ids, strict=True)):
            if each != index:
                lines.append(f"sentinel known-sentinel {SERVICE} 127.0.0.1 {port} {run_id}")
        return "\n".join(lines) + "\n"

    def _state(self, port: int) -> dict[str, str]:
        try:
            with Redis(port=port, socket_timeout=1, decode_responses=True, protocol=2) as sentinel:
                sentinel.response_callbacks.clear()
                reply = sentinel.execute_command("SENTINEL MASTER", SERVICE)
        except RedisError:
            return {}
        return dict(zip(reply[::2], reply[1::2], strict=True))

    def _named(self, port: int) -> int:
        return int(self._state(port).get("port", 0))

    def _ready(self, port: int) -> bool:
        state = self._state(port)
        return [state.get(name) for name in ("num-other-sentinels", "num-slaves", "flags")] == ["2", "2", "master"]

    @staticmethod
    def _role(server: RedisServer) -> str:
        try:
            with Redis(port=server.port, socket_timeout=1) as redis:
                return str(redis.info("replication")["role"])
        except RedisError:
            return "away"

    @staticmethod
    def _followers(server: RedisServer) -> int:
        with Redis(port=server.port, socket_timeout=1) as redis:
            told = redis.info("replication")
        return sum(told[f"slave{n}"]["state"] == "online" for n in range(int(told["connected_slaves"])))
