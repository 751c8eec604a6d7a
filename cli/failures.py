"""From an exception to what the user reads: one line on stderr, the step to take next, and the exit code."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from cli.exits import ExitCode
from cli.output import report
from router_client.errors import (
    Conflict,
    ConnectionLost,
    EventRouterError,
    Forbidden,
    InvalidInput,
    NotFound,
    NotStored,
    Overloaded,
    QuotaReached,
    Unauthenticated,
    Unavailable,
)

_NODE_AWAY = "start a node with `event-router dev`, or say where one is with --url or ER_URL"


class Failure(Exception):
    """The end of a command: ``message`` and ``next_step`` are shown, ``code`` is the exit code."""

    def __init__(self, message: str, next_step: str = "", code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.code = code


class Commands(TyperGroup):
    """The root of the commands: every error of any of them ends here."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; raises Exit with the code of what went wrong, after saying it."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _abandon_stdout()
            raise typer.Exit(ExitCode.READER_GONE) from None
        except Exception as error:
            failure = explain(error)
            if failure is None:
                raise
            report(failure.message, failure.next_step)
            raise typer.Exit(failure.code) from None
        return result


def explain(error: BaseException) -> Failure | None:
    """Return what to tell the user of ``error``, or None when it is not one that a user can do something about."""
    if isinstance(error, BaseExceptionGroup):
        return explain(error.exceptions[0])
    if isinstance(error, Failure):
        return error
    if isinstance(error, EventRouterError):
        return Failure(str(error), _next_step(error), _exit_code(error))
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return Failure(f"the address is taken: {error.strerror}", "choose another with --listen or ER_LISTEN")
    if isinstance(error, OSError):
        return Failure(str(error), "check the path or address it names")
    return None


def _exit_code(error: EventRouterError) -> ExitCode:
    if isinstance(error, NotFound):
        return ExitCode.NOT_FOUND
    if isinstance(error, ConnectionLost):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED


def _next_step(error: EventRouterError) -> str:
    steps: dict[type[EventRouterError], str] = {
        ConnectionLost: _NODE_AWAY,
        Unavailable: "try again shortly; /readyz of the node says which part is away",
        Overloaded: "try again later, or publish more slowly",
        NotFound: "list what there is: `event-router events list`, and likewise dlq, nodes and partitions",
        NotStored: "what comes now: `event-router tail`; what failed: `event-router dlq list`",
        Unauthenticated: "set ER_TOKEN or --token-file; `event-router auth keys create --help` tells of the first key",
        QuotaReached: "delete what you no longer need (`event-router subscriptions list`), or ask for a higher limit",
        Forbidden: "see what you may do: `event-router auth me`",
        Conflict: "look at the present state first",
        InvalidInput: "correct what it names; `--help` shows examples",
    }
    return next((step for kind, step in steps.items() if isinstance(error, kind)), "the node's log may say more")


def _abandon_stdout() -> None:
    """Send what is still buffered nowhere, or Python itself would complain of the closed pipe at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
