"""The node's HTTP and WebSocket API as one ASGI application: every address it serves stands here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from router_client.errors import NotFound
from router_node.contract import Engine, Management
from router_node.edges.auditing import Auditing
from router_node.edges.bodies import Bodies
from router_node.edges.conduct import Conduct
from router_node.edges.connections import Connections
from router_node.edges.door import Door
from router_node.edges.http_access import AccessRoutes
from router_node.edges.http_cluster import ClusterRoutes
from router_node.edges.http_deliveries import DeliveryRoutes
from router_node.edges.http_documents import DocumentRoutes
from router_node.edges.http_events import EventRoutes
from router_node.edges.http_filters import FilterRoutes
from router_node.edges.http_heard import HeardPublishes, Publishes
from router_node.edges.http_operations import OperationRoutes
from router_node.edges.http_replays import ReplayRoutes
from router_node.edges.http_subscriptions import SubscriptionRoutes
from router_node.edges.lasting import Lasting
from router_node.edges.limits import Limits
from router_node.edges.problems import Guard, problem_response, routing_problem
from router_node.edges.security import Security
from router_node.edges.sse import StreamRoutes
from router_node.edges.watch import Watch
from router_node.edges.websocket import WebSocketEndpoint
from router_node.edges.websocket_session import Identity

Handler = Callable[[Request], Awaitable[Response]]


class App:
    """The ASGI application of a node; ``connections`` is what has to end before the node may, ``loops`` run with it.

    ``publishes`` may be asked past ASGI for what ``publish`` answers; ``routes`` is every address but the WebSocket's.
    """

    def __init__(
        self,
        http: ASGIApp,
        publish: ASGIApp,
        publishes: Publishes,
        websocket: ASGIApp,
        routes: Sequence[BaseRoute],
        connections: Connections,
        loops: Sequence[Callable[[], Coroutine[None, None, None]]],
    ) -> None:
        self._http = http
        self._publish = publish
        self._websocket = websocket
        self.publishes = publishes
        self.routes = routes
        self.connections = connections
        self.loops = loops

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        path = scope["path"]
        if scope["type"] == "websocket":
            app: ASGIApp = self._websocket if path == "/v1/ws" else _no_websocket
        # Past Starlette's middleware and routing, which would cost the hot path a good part of its time.
        elif path == "/v1/events" and scope["method"] == "POST":
            app = self._publish
        else:
            app = self._http
        await app(scope, receive, send)


def create_app(
    engine: Engine,
    management: Management,
    *,
    limits: Limits | None = None,
    metrics_text: Callable[[], bytes],
    identity: Identity = Identity("", ""),  # noqa: B008 - an immutable tuple
    conduct: Conduct | None = None,
    security: Security | None = None,
) -> App:
    """Put together the application that serves ``engine`` and ``management``."""
    limits = limits or Limits()
    security = security or Security()
    bodies = Bodies(limits)
    connections = Connections(limits.max_connections, conduct or Conduct())
    watch = Watch()
    lasting = Lasting(connections, watch, security.seats)
    door = Door(security.gate, connections.conduct, security.proxies, security.rates.request)
    events = EventRoutes(engine, management, bodies, limits, security.rates)
    subscriptions = SubscriptionRoutes(engine, management, bodies, lasting, limits)
    deliveries = DeliveryRoutes(engine, management, limits)
    operations = OperationRoutes(management, bodies, connections, limits, metrics_text)
    cluster = ClusterRoutes(management.cluster, bodies)
    auditing = Auditing(management.access)
    http = Starlette(
        routes=[
            _resource("/v1/stream", GET=StreamRoutes(engine, lasting, limits).stream),
            *_event_routes(events, subscriptions, deliveries, auditing),
            _resource("/v1/filters/test", POST=FilterRoutes(management.filters, bodies).test),
            *_replay_routes(ReplayRoutes(engine, management, bodies, limits), auditing),
            *_operator_routes(operations, cluster, auditing),
            *_access_routes(AccessRoutes(management.access, bodies, limits), auditing),
            *_document_routes(DocumentRoutes()),
        ],
        middleware=[Middleware(Guard), Middleware(door.before)],
        exception_handlers={HTTPException: routing_problem},
    )
    http.router.redirect_slashes = False
    return App(
        http,
        Guard(door.before(_plain(events.publish))),
        HeardPublishes(engine, bodies, door, security.rates),
        WebSocketEndpoint(engine, identity, connections, limits, door, security, watch),
        http.routes,
        connections,
        (watch.run, security.seats.keep_up),
    )


def _event_routes(
    events: EventRoutes, subscriptions: SubscriptionRoutes, deliveries: DeliveryRoutes, auditing: Auditing
) -> list[Route]:
    return [
        _resource("/v1/events", GET=events.page, POST=events.publish),
        _resource("/v1/events/{id:path}/trace", GET=events.trace),
        _resource("/v1/events/{id:path}/deliveries", GET=deliveries.of_event),
        _resource("/v1/events/{id:path}", GET=events.one),
        _resource("/v1/deliveries", GET=deliveries.page),
        _resource("/v1/subscriptions", GET=subscriptions.all),
        _resource(
            "/v1/subscriptions/{name}",
            GET=subscriptions.one,
            PUT=auditing.change("subscription.put", subscriptions.put),
            DELETE=auditing.change("subscription.delete", subscriptions.delete),
        ),
        _resource("/v1/subscriptions/{name}/pull", POST=subscriptions.pull),
        _resource("/v1/subscriptions/{name}/settle", POST=subscriptions.settle),
    ]


def _replay_routes(replays: ReplayRoutes, auditing: Auditing) -> list[Route]:
    return [
        _resource("/v1/replays", GET=replays.list, POST=auditing.change("replay.start", replays.start, told=True)),
        _resource("/v1/replays/{id}", GET=replays.one, DELETE=auditing.change("replay.cancel", replays.cancel)),
        _resource("/v1/subscriptions/{name}/pause", POST=auditing.change("subscription.pause", replays.pause)),
        _resource("/v1/subscriptions/{name}/resume", POST=auditing.change("subscription.resume", replays.resume)),
        _resource("/v1/subscriptions/{name}/seek", POST=auditing.change("subscription.seek", replays.seek)),
    ]


def _operator_routes(operations: OperationRoutes, cluster: ClusterRoutes, auditing: Auditing) -> list[Route]:
    change = auditing.change
    return [
        _resource("/v1/dead-letters", GET=operations.letters),
        _resource("/v1/dead-letters/counts", GET=operations.letter_counts),
        _resource("/v1/dead-letters/replay", POST=change("dead_letters.replay", operations.replay_letters, told=True)),
        _resource("/v1/dead-letters/purge", POST=change("dead_letters.purge", operations.purge_letters, told=True)),
        _resource(
            "/v1/dead-letters/{id}",
            GET=operations.letter,
            DELETE=change("dead_letters.purge", operations.delete_letter),
        ),
        _resource("/v1/nodes", GET=cluster.nodes),
        _resource(
            "/v1/nodes/{id:path}/drain",
            POST=change("node.drain", cluster.drain),
            DELETE=change("node.undrain", cluster.undrain),
        ),
        _resource("/v1/nodes/{id:path}", GET=cluster.node),
        _resource("/v1/partitions", GET=cluster.partitions),
        _resource("/v1/partitions/grow", POST=change("partitions.grow", cluster.grow, told=True)),
        _resource("/v1/partitions/rebalance", POST=change("partitions.rebalance", cluster.rebalance, told=True)),
        _resource("/v1/partitions/{number}", GET=cluster.partition),
        _resource("/healthz", GET=operations.healthz),
        _resource("/readyz", GET=operations.readyz),
        _resource("/metrics", GET=operations.metrics),
    ]


def _access_routes(access: AccessRoutes, auditing: Auditing) -> list[Route]:
    attempt = auditing.attempt
    return [
        _resource("/v1/keys", GET=access.keys, POST=attempt("key.create", access.create_key)),
        _resource("/v1/keys/{id}/rotate", POST=attempt("key.rotate", access.rotate_key)),
        _resource("/v1/keys/{id}", DELETE=attempt("key.revoke", access.revoke_key)),
        _resource("/v1/policies", GET=access.policies),
        _resource(
            "/v1/policies/{name}",
            GET=access.policy,
            PUT=attempt("policy.put", access.put_policy),
            DELETE=attempt("policy.delete", access.delete_policy),
        ),
        _resource("/v1/audit", GET=access.audit),
        _resource("/v1/auth/me", GET=access.me),
        _resource("/v1/auth/can-i", GET=access.can_i),
    ]


def _document_routes(documents: DocumentRoutes) -> list[Route]:
    return [
        _resource("/openapi.json", GET=documents.openapi),
        _resource("/asyncapi.json", GET=documents.asyncapi),
        _resource("/docs", GET=documents.page),
        _resource("/docs/docs.css", GET=documents.style),
        _resource("/docs/docs.js", GET=documents.script),
    ]


class _Resource(Route):
    """A route whose path decides: a method that it has not is refused, whichever later route would have both."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return Match.FULL if match is Match.PARTIAL else match, found


def _resource(path: str, **handlers: Handler) -> Route:
    async def handle(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return _Resource(path, handle, methods=list(handlers))


def _plain(handler: Handler) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await handler(Request(scope, receive))
        await response(scope, receive, send)

    return app


async def _no_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await problem_response(NotFound(f"no WebSocket is at {scope['path']}; try /v1/ws"))(scope, receive, send)
