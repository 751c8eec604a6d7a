"""The link between nodes, over pub/sub: quick, in order, and lossy. What is lost is noticed and made good by state.

Each packet to a peer is numbered. A receiver that finds a gap, or hears from a new start of a peer, tells the peer its
own state and asks for the peer's: nothing here is ever repeated, because whatever is said can be said anew.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import orjson
import structlog

from partitioning.errors import RedisUnavailable
from partitioning.keys import Keys
from partitioning.redis_commands import Command, Commands
from router_client.errors import Unavailable
from router_node.cluster.frames import Answer, Ask, Deliver, Frame, Lost, Packet, decode, encode

WAITING_BYTES = 32 * 1024 * 1024
PACKET_FRAMES = 256
PAUSE_S = 0.1
SILENCE_S = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Hearing:
    """Who hears what the link brings, and what appends bring by the doorbell. Called on the event loop; must return at
    once.
    """

    frame: Callable[[str, Frame], None]
    gap: Callable[[str], None]
    notice: Callable[[str, str, Any], None]
    brought: Callable[[bytes], None]
    all_brought: Callable[[], None]


class _Channels(NamedTuple):
    """What a node listens to."""

    node: str
    doorbell: str
    notices: str


class _Peer:
    """What this node said to a peer and heard from it."""

    __slots__ = ("heard", "incarnation", "said", "told", "waiting", "waiting_bytes")

    def __init__(self) -> None:
        self.waiting: list[Frame] = []
        self.waiting_bytes = 0
        self.said = 0
        self.told = 0
        self.heard = 0
        self.incarnation = ""


class PeerLink:
    """One node's end of the link. ``hearing`` is set before :meth:`run`."""

    def __init__(self, commands: Commands, keys: Keys, node_id: str, incarnation: str) -> None:
        self._commands = commands
        self._keys = keys
        self._channels = _Channels(keys.channel(node_id), keys.doorbell(node_id), keys.notices())
        self._node_id = node_id
        self._incarnation = incarnation
        self.hearing = Hearing(lambda *_: None, lambda _: None, lambda *_: None, lambda _: None, lambda: None)
        self._peers: dict[str, _Peer] = defaultdict(_Peer)
        self._notices: list[bytes] = []
        self._more = asyncio.Event()
        self._heard_at = time.monotonic()
        self._refs = count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self.listening = asyncio.Event()
        self.packets_sent = self.packets_heard = self.gaps = self.dropped = 0

    # -- saying

    def send(self, peer: str, frame: Frame) -> None:
        """Say something to a peer, after all that was said to it before; it may be lost."""
        to = self._peers[peer]
        to.waiting.append(frame)
        if isinstance(frame, Deliver):
            to.waiting_bytes += sum(len(delivery[2]) for delivery in frame.deliveries)
            if to.waiting_bytes > WAITING_BYTES:
                self._drop(to)
        self._more.set()

    def next_number(self, peer: str) -> int:
        """Return the least number that the packet with the next frame to ``peer`` can have."""
        return self._peers[peer].said + 1

    @property
    def waiting_bytes(self) -> int:
        """Bytes of deliveries waiting to be said, at most ``WAITING_BYTES`` for each peer."""
        return sum(peer.waiting_bytes for peer in self._peers.values())

    def heard(self, peer: str) -> int:
        """Return the number of the last packet heard from ``peer``."""
        return self._peers[peer].heard

    def notify(self, kind: str, body: Any = None) -> None:
        """Tell every node, this one too, that something changed."""
        self._notices.append(orjson.dumps([self._node_id, kind, body]))
        self._more.set()

    def beat(self) -> None:
        """Say how far each peer should have heard, and make sure that this node still hears."""
        said = {}
        for name, peer in self._peers.items():
            if peer.said != peer.told:
                said[name] = peer.told = peer.said
        self.notify("said", [self._incarnation, said])

    async def ask(self, peer: str, what: str, body: Any, timeout_s: float = 2.0) -> Any:
        """Return a peer's answer. Raises Unavailable when there is none in time, or why there is none."""
        ref = next(self._refs)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[ref] = answer
        try:
            self.send(peer, Ask(ref, what, body))
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError as error:
            raise Unavailable(f"node {peer} did not answer in time; try again") from error
        finally:
            del self._asked[ref]

    def forget(self, peer: str) -> None:
        """A peer is no member any more. What was said to it is still counted: it may come back as it was."""
        known = self._peers[peer]
        known.waiting, known.waiting_bytes, known.incarnation = [], 0, ""

    # -- the loops

    async def run(self) -> None:
        """Speak and hear until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._speak(), name="peer link out")
            tasks.create_task(self._listen(), name="peer link in")

    async def _speak(self) -> None:
        while True:
            await self._more.wait()
            try:
                await self._commands.ready_to_tell()
                self._more.clear()
                self.flush()
            except RedisUnavailable as error:
                lost = len(self._packed())
                log.warning("peers do not hear this node", error=str(error), packets_lost=lost)
                await asyncio.sleep(PAUSE_S)

    def flush(self) -> None:
        """Say now what waits, if it can be said now; else it is said as soon as it can be."""
        if self._commands.can_tell():
            commands = self._packed()
            if commands and not self._commands.tell(commands):
                log.warning("peers may not have heard this node", packets=len(commands))

    def _packed(self) -> list[Command]:
        commands: list[Command] = []
        for name, peer in self._peers.items():
            frames, peer.waiting, peer.waiting_bytes = peer.waiting, [], 0
            for start in range(0, len(frames), PACKET_FRAMES):
                peer.said += 1
                packet = Packet(self._node_id, self._incarnation, peer.said, frames[start : start + PACKET_FRAMES])
                commands.append(("PUBLISH", self._keys.channel(name), encode(packet)))
        notices, self._notices = self._notices, []
        commands += [("PUBLISH", self._keys.notices(), notice) for notice in notices]
        self.packets_sent += len(commands)
        return commands

    async def _listen(self) -> None:
        while True:
            try:
                async with self._commands.listening(self._channels, self._take, self._took_all) as ending:
                    self._heard_at = time.monotonic()
                    self.listening.set()
                    for peer in list(self._peers):
                        self._found_gap(peer)
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self._watch(), name="peer link watch")
                        await ending()
            except* (RedisUnavailable, TimeoutError) as group:
                log.warning("this node does not hear its peers; listening anew", error=str(group.exceptions[0]))
            self.listening.clear()
            await asyncio.sleep(PAUSE_S)

    async def _watch(self) -> None:
        """End the listening when not even this node's own beats are heard: the connection is dead, or half of it."""
        while True:
            await asyncio.sleep(SILENCE_S / 5)
            if time.monotonic() - self._heard_at > SILENCE_S:
                raise TimeoutError(f"nothing was heard for {SILENCE_S:g} s")

    # -- hearing

    def _take(self, channel: str, message: bytes) -> None:
        """Hear a message."""
        self._heard_at = time.monotonic()
        if channel == self._channels.doorbell:
            self.hearing.brought(message)
        else:
            self._understand(channel, message)

    def _took_all(self) -> None:
        """What is to be said because of what came at once is said at once."""
        self.hearing.all_brought()
        self.flush()

    def _understand(self, channel: str, message: bytes) -> None:
        try:
            if channel == self._channels.node:
                self._take_packet(decode(message))
            else:
                sender, kind, body = orjson.loads(message)
                self._take_notice(str(sender), str(kind), body)
        except (ValueError, TypeError) as error:
            log.warning("a message that no node of this version sends", channel=channel, error=str(error))

    def _take_notice(self, sender: str, kind: str, body: Any) -> None:
        if kind != "said":
            self.hearing.notice(sender, kind, body)
            return
        incarnation, said = body
        expected = said.get(self._node_id)
        if sender == self._node_id or expected is None:
            return
        peer = self._peers[sender]
        if peer.incarnation != incarnation or expected > peer.heard:
            peer.incarnation, peer.heard = incarnation, expected
            self._found_gap(sender)

    def _take_packet(self, packet: Packet) -> None:
        self.packets_heard += 1
        peer = self._peers[packet.sender]
        whole = peer.incarnation == packet.incarnation and packet.number == peer.heard + 1
        if peer.incarnation == packet.incarnation and packet.number <= peer.heard:
            return
        fresh = peer.incarnation != packet.incarnation
        peer.incarnation, peer.heard = packet.incarnation, packet.number
        if fresh:
            self.hearing.notice(packet.sender, "restarted", None)
        for frame in packet.frames:
            if isinstance(frame, Answer):
                self._answered(frame)
            else:
                self.hearing.frame(packet.sender, frame)
        if not whole:
            self._found_gap(packet.sender)

    def _answered(self, answer: Answer) -> None:
        future = self._asked.get(answer.ref)
        if future is None or future.done():
            return
        if answer.fault:
            future.set_exception(Unavailable(answer.fault))
        else:
            future.set_result(answer.body)

    def _found_gap(self, peer: str) -> None:
        self.gaps += 1
        self.hearing.gap(peer)
        self.send(peer, Lost())

    def _drop(self, peer: _Peer) -> None:
        self.dropped += len(peer.waiting)
        peer.waiting, peer.waiting_bytes = [], 0
        peer.said += 1  # a number that nobody hears: the gap makes both sides tell their state
