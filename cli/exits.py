"""The exit codes: part of the contract with scripts, listed in docs/cli.md."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command says to the script that called it."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4
    PARTIAL = 5
    INTERRUPTED = 130
    READER_GONE = 141
    """Nobody reads the output any more, as when ``head`` has enough; the code of a process ended by SIGPIPE."""
