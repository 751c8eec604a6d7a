"""`doctor`: looks at everything a node needs, and says what to do about each finding."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from cli.arguments import AsJson, Config, examples
from cli.exits import ExitCode
from cli.findings import Finding
from cli.foreground import run
from cli.output import Column, print_json, print_line, print_table
from cli.settings import read_settings

if TYPE_CHECKING:
    from router_node.config import Settings

DOCTOR_EXAMPLES = (
    "event-router doctor",
    "event-router doctor --config /etc/event-router.toml",
    "event-router doctor --json | jq -r 'select(.state == \"fail\") | .todo'",
)
DOCTOR_EPILOG = examples(*DOCTOR_EXAMPLES)


def doctor(config: Config = None, as_json: AsJson = False) -> None:
    """Look at Redis, PostgreSQL and the clock, and say what to do.

    The exit code is 1 when something would keep a node from its promises. With
    --json: one finding a line, with check, state (ok, warn or fail), found and
    todo.
    """
    findings = run(_findings(read_settings(config)))
    if as_json:
        for finding in findings:
            print_json(finding._asdict())
    else:
        print_table((Column("CHECK", whole=True), Column("STATE"), Column("FOUND")), (f[:3] for f in findings))
        for finding in findings:
            if finding.todo:
                print_line(f"\n{finding.check}: {finding.todo}")
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(ExitCode.FAILED)


async def _findings(settings: Settings) -> list[Finding]:
    async with asyncio.TaskGroup() as tasks:
        looks = [tasks.create_task(_redis(settings.redis_url)), tasks.create_task(_database(settings.database_url))]
    return [finding for look in looks for finding in look.result()]


async def _redis(url: str | None) -> list[Finding]:
    if url is not None:
        from cli.inspection import look_at_redis

        return await look_at_redis(url)
    return [Finding("redis", "warn", "ER_REDIS_URL is not set", "set it for `serve`; `dev` needs no Redis")]


async def _database(url: str) -> list[Finding]:
    if not url.startswith("sqlite:"):
        from cli.inspection import look_at_postgres

        return await look_at_postgres(url)
    todo = "set ER_DATABASE_URL to a postgresql:// URL for `serve`; `dev` is fine with SQLite"
    return [Finding("postgresql", "warn", f"not used: {url}", todo)]
