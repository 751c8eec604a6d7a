"""The Python SDK of Event Router; docs/sdk.md is the guide, and EventRouterClient the place to begin."""

from router_client.blocking import BlockingClient
from router_client.client import EventRouterClient
from router_client.delivery import Deliveries, Delivery
from router_client.errors import (
    ClosedError,
    Conflict,
    ConnectionLost,
    EventRouterError,
    Forbidden,
    InvalidInput,
    NotFound,
    NotStored,
    Overloaded,
    QuotaReached,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from router_client.event import Event
from router_client.options import ClientOptions
from router_client.reconnect import Backoff
from router_client.subscription import SubscriptionBuilder
from router_client.transports.port import PublishResult

__all__ = [
    "Backoff",
    "BlockingClient",
    "ClientOptions",
    "ClosedError",
    "Conflict",
    "ConnectionLost",
    "Deliveries",
    "Delivery",
    "Event",
    "EventRouterClient",
    "EventRouterError",
    "Forbidden",
    "InvalidInput",
    "NotFound",
    "NotStored",
    "Overloaded",
    "PublishResult",
    "QuotaReached",
    "RateLimited",
    "SubscriptionBuilder",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
]
