"""One subscription over a WebSocket connection, and over the connections that come after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from router_client import wire
from router_client.errors import ConnectionLost, EventRouterError, Overloaded, Unavailable
from router_client.spec import SubscriptionSpec
from router_client.transports.port import Delivered, Inbox, Settlement

Ask = Callable[[Callable[[int], bytes]], "asyncio.Future[None]"]


class WebSocketChannel:
    """See Channel.

    ``ask`` sends the frame made for a reference and returns the answer to come, ``send`` a frame without an answer;
    both only work while connected.
    """

    def __init__(
        self,
        spec: SubscriptionSpec,
        inbox: Inbox,
        credit: int,
        *,
        ask: Ask,
        send: Callable[[bytes], None],
        forget: Callable[[str], None],
        reconnect: Callable[[], None],
        close_timeout_s: float,
    ) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._spec = spec
        self._inbox = inbox
        self._window = credit
        self._ask, self._send, self._forget, self._reconnect = ask, send, forget, reconnect
        self._close_timeout_s = close_timeout_s
        self._over = False

    def subscribe(self) -> asyncio.Future[None]:
        """Ask for the subscription on a new connection, with all the credit; the answer also settles ``opened``."""
        answer = self._ask(lambda ref: wire.subscribe(ref, self._spec, self._window))
        answer.add_done_callback(self._answered)
        return answer

    def lost(self) -> None:
        """Learn that the connection went away."""
        if self.opened.done():
            self._inbox.reset()

    def deliver(self, deliveries: list[dict[str, Any]]) -> None:
        """Hand what arrived to the subscriber."""
        self._inbox.push([Delivered(d["delivery_id"], d["attempt"], d["event"]) for d in deliveries])

    def end(self, error: EventRouterError) -> None:
        """Learn that the subscription is over."""
        self._over = True
        self._forget(self._spec.name)
        if not self.opened.done():
            self.opened.set_exception(error)
        self._inbox.ended(error)

    def settle(self, settlement: Settlement, credit: int) -> None:
        """See Channel."""
        if self._over:
            return
        # Credit at once, not half a window at a time: the router may hold to a smaller window than the one asked for.
        self._send(wire.settle(settlement.to_object(), {self._spec.name: credit} if credit else {}))

    async def close(self) -> None:
        """See Channel. The router's answer says that every settlement sent before has been taken."""
        if self._over:
            return
        self._over = True
        try:
            async with asyncio.timeout(self._close_timeout_s):
                await self._ask(lambda ref: wire.unsubscribe(ref, self._spec.name))
        except (EventRouterError, TimeoutError):
            # The connection is gone, and the subscription's hold on its deliveries with it.
            pass
        finally:
            self._forget(self._spec.name)

    def _answered(self, answer: asyncio.Future[None]) -> None:
        if answer.cancelled():
            return
        error = answer.exception()
        if error is None:
            if not self.opened.done():
                self.opened.set_result(None)
        elif isinstance(error, ConnectionLost) or self._over:
            return
        elif self.opened.done() and isinstance(error, (Unavailable, Overloaded)):
            # It was open before and this node has no room for it now: another one may, after a while.
            self._reconnect()
        elif isinstance(error, EventRouterError):
            self.end(error)
