"""`dev` and `serve`: run a node until a signal stops it."""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.arguments import Config, examples
from cli.exits import ExitCode
from cli.failures import Failure
from cli.output import print_line, print_note
from cli.settings import read_settings

if TYPE_CHECKING:
    from router_node.config import Settings

Listen = Annotated[
    str | None, typer.Option("--listen", metavar="HOST:PORT", help="Serve here; ER_LISTEN or 127.0.0.1:8080 without.")
]
Database = Annotated[
    str | None, typer.Option("--database", metavar="URL", help="Where events are stored; ER_DATABASE_URL without.")
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", help="Run so many nodes that share the port; ER_WORKERS or 1 without."),
]

DEV_EXAMPLES = (
    "event-router dev",
    "event-router dev --listen 127.0.0.1:9000",
    "event-router dev --database sqlite:////tmp/events.sqlite",
)
SERVE_EXAMPLES = (
    "ER_REDIS_URL=redis://localhost:6379/0 event-router serve",
    "event-router serve --config /etc/event-router.toml",
    "event-router serve --listen 0.0.0.0:8080 --workers 4",
)
DEV_EPILOG = examples(*DEV_EXAMPLES)
SERVE_EPILOG = examples(*SERVE_EXAMPLES)


def dev(listen: Listen = None, database: Database = None, config: Config = None) -> None:
    """Run an embedded node: no Redis, events in a SQLite file.

    For development, tests and small installs. Stop it with Ctrl-C or SIGTERM:
    it finishes what it holds and ends with exit code 0. A second signal ends it
    at once.
    """
    settings = read_settings(config, listen=listen, database_url=database)
    if settings.redis_url is not None:
        print_note("dev is embedded and does not use ER_REDIS_URL; `event-router serve` does")
    if settings.workers > 1:
        print_note("dev is one node in one process and does not use ER_WORKERS; `event-router serve` does")
    if not settings.database_url.startswith("sqlite:"):
        raise Failure(
            f"dev stores in SQLite, not in {settings.redacted()['database_url']}",
            "add --database sqlite:///event-router.sqlite, or use `event-router serve`",
            ExitCode.USAGE,
        )
    _run(settings.model_copy(update={"redis_url": None}), "console")


def serve(listen: Listen = None, database: Database = None, workers: Workers = None, config: Config = None) -> None:
    """Run a node of a cluster on Redis and PostgreSQL.

    Start as many as you like with the same ER_REDIS_URL and ER_DATABASE_URL,
    behind any load balancer. Stop one with SIGTERM or Ctrl-C: it drains and
    ends with exit code 0. A second signal ends it at once. With --workers the
    kernel spreads connections over the nodes, and one that dies is replaced.
    """
    from cli.workers import is_worker

    settings = read_settings(config, listen=listen, database_url=database, workers=workers)
    if settings.redis_url is None:
        raise Failure(
            "serve needs Redis, and ER_REDIS_URL is not set",
            "ER_REDIS_URL=redis://localhost:6379/0 event-router serve; without Redis: event-router dev",
            ExitCode.USAGE,
        )
    if settings.database_url.startswith("sqlite:") and not is_worker():
        print_note("events go to a SQLite file that other nodes cannot see; set ER_DATABASE_URL to a PostgreSQL URL")
    if settings.workers > 1:
        _run_workers(settings, config)
    else:
        _run(settings, "json")


def _run_workers(settings: Settings, config: Path | None) -> None:
    from cli.logs import configure_logs
    from cli.workers import run_workers

    configure_logs(settings.log_level, settings.log_format)
    asyncio.run(run_workers(settings, config, _announce))


def _run(settings: Settings, usual_format: str) -> None:
    # The node and its libraries are loaded here, so that no other command waits for them.
    import structlog
    import uvloop

    from cli.logs import configure_logs
    from cli.running import run_until_signalled
    from cli.workers import is_worker, parent_asks

    log_format = settings.log_format if "log_format" in settings.model_fields_set else usual_format
    configure_logs(settings.log_level, log_format)
    # What was imported lives as long as the node; events in flight die young and by reference count.
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
    if is_worker():
        structlog.contextvars.bind_contextvars(node=settings.node_id)
        running = run_until_signalled(settings, _tell_parent, parent_asks)
    else:
        running = run_until_signalled(settings, _announce)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(running)


def _announce(address: str) -> None:
    url = address if "://" in address else f"http://{address}"
    print_line(f"Event Router listens on {url}")
    sys.stdout.flush()
    print_note(f"try: event-router tail '>' --url {url}")


def _tell_parent(address: str) -> None:
    print_line(address)
    sys.stdout.flush()
