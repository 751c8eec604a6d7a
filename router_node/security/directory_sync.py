"""The same keys and policies on every node: notices when something changed, and a look at the store behind them.

A notice names the keys that its change revoked, and they are refused at once, even while the database is slow. That is
all it can do: what gives anybody anything is only ever read from the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from router_node.security.directory import MAX_KEYS, Directory
from stores.access import AccessObject, AccessStore
from stores.errors import StoreError

LOOK_S = 0.5
LOADED_AT_ONCE = 5_000
NAMED_AT_MOST = 1_000
NOTICE = "access"

log = structlog.get_logger(__name__)


class DirectorySync:
    """Keeps a directory at the store's revision. ``notify`` tells all nodes (kind, body); ``now_us`` is the log's
    time.
    """

    def __init__(self, store: AccessStore, directory: Directory, now_us: Callable[[], int]) -> None:
        self._store = store
        self._directory = directory
        self._now_us = now_us
        self._stirred = asyncio.Event()
        self._turn = asyncio.Lock()
        self.revision = 0
        self.failed_looks = 0
        self.notify: Callable[[str, Any], None] = lambda _, __: None

    async def look(self) -> None:
        """Take up what has changed in the store. Raises StoreError."""
        async with self._turn:
            latest = await self._store.revision()
            if latest < self.revision:
                log.warning("the store is back at an earlier state; all keys and policies are loaded anew")
                await self._reload(latest)
            elif latest > self.revision:
                await self._take_up(latest)

    async def changed(self, revision: int, *revoked: str) -> None:
        """Tell all nodes of a change that was just made, and take it up here.

        Should the store not answer now, what gives nobody anything is in force all the same, and the rest soon.
        """
        self.heard([revision, list(revoked)])
        self.notify(NOTICE, [revision, list(revoked)])
        try:
            await self.look()
        except StoreError as error:
            log.warning("a change of keys or policies was made and is not taken up yet", error=str(error))

    def heard(self, body: Any) -> None:
        """Hear from a node that something has changed; what no node would say is passed over."""
        match body:
            case [int(revision), list(revoked)] if len(revoked) <= NAMED_AT_MOST:
                if revision > self.revision:
                    self._directory.cut_off((each for each in revoked if isinstance(each, str)), revision)
                    self._stirred.set()
            case _:
                log.warning("a notice about keys cannot be read")

    async def run(self) -> None:
        """Look each half second, and when told of a change, until cancelled."""
        silent = False
        while True:
            self._stirred.clear()
            try:
                await self.look()
                silent = False
            except StoreError as error:
                self.failed_looks += 1
                if not silent:
                    log.warning("keys and policies stay as they are: the store cannot tell", error=str(error))
                silent = True
            await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._stirred.wait()
        except TimeoutError:
            return

    async def _take_up(self, latest: int) -> None:
        since = self.revision
        while page := await self._store.changes(since, LOADED_AT_ONCE):
            if self._directory.keys >= MAX_KEYS:
                self._directory.outlived(self._now_us())
            self._directory.apply(page)
            since = page[-1].revision
        self._reached(max(since, latest))

    async def _reload(self, latest: int) -> None:
        changes: list[AccessObject] = []
        while page := await self._store.changes(changes[-1].revision if changes else 0, LOADED_AT_ONCE):
            changes += page
        self._directory.clear()
        self._directory.apply(changes)
        self._reached(max(changes[-1].revision if changes else 0, latest))

    def _reached(self, revision: int) -> None:
        # A change that did not take place leaves a number without a row.
        self.revision = revision
        self._directory.reached(revision)
