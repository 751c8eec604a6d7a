"""What commands show: tables for people, JSON for programs, problems and progress on stderr."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple, NoReturn

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

# What events carry is strangers' text: it may not move the cursor, recolour the terminal or reorder a line.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_STATES = {"ok": "green", "warn": "yellow", "fail": "red"}


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """Leave the error to the commands' own handling; rich would exit with 1 on the spot."""
        raise BrokenPipeError


# Colour and width follow the terminal, and NO_COLOR is honoured, all by rich.
OUT = _Console(highlight=False)
ERR = _Console(stderr=True, highlight=False)


class Column(NamedTuple):
    """A column of a table; a ``whole`` one is never cut or broken, for what is copied into the next command."""

    header: str
    whole: bool = False
    style: str = ""


def clean(value: object) -> str:
    """Return ``value`` as text whose control characters cannot act on a terminal; line breaks and tabs stay."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", "" if value is None else str(value))


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Print rows below their headers, as wide as the terminal at most (80 columns when there is none)."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column.header, no_wrap=column.whole, overflow="fold", style=column.style)
    for row in rows:
        table.add_row(*(Text(" ".join(clean(cell).split()), style=_STATES.get(str(cell), "")) for cell in row))
    OUT.print(table)


def print_details(pairs: Iterable[tuple[str, object]]) -> None:
    """Print one thing, a member a line; objects as indented JSON below their name."""
    for name, value in pairs:
        if isinstance(value, (dict, list)):
            value = "\n" + orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
        OUT.print(Text.assemble((f"{name}: ", "bold"), clean(value)), soft_wrap=True)


def print_line(text: str, style: str = "") -> None:
    """Print one line as it is, without folding it at the terminal's width."""
    OUT.print(Text(clean(text), style=style), soft_wrap=True)


def print_mark(text: str, depth: int, *, holds: bool) -> None:
    """Print one line of a tree behind a check mark or a cross."""
    mark = ("✓", "green") if holds else ("✗", "red")
    OUT.print(Text.assemble("  " * depth, mark, " ", clean(text)), soft_wrap=True)


def print_note(text: str) -> None:
    """Print one line to stderr: what people want to know and programs do not."""
    ERR.print(Text(clean(text), style="dim"), soft_wrap=True)


def print_json(value: object) -> None:
    """Write one JSON document on a line of its own."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_UTC_Z).decode() + "\n")


def report(message: str, next_step: str = "") -> None:
    """Say on stderr what went wrong, and what to do next."""
    ERR.print(Text.assemble(("error: ", "bold red"), clean(message)), soft_wrap=True)
    if next_step:
        ERR.print(Text.assemble(("next:  ", "bold"), clean(next_step)), soft_wrap=True)


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr while the block runs, when that is a terminal; yields the function that advances it.

    Without a ``total`` the bar only shows that there is life.
    """
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}")]
    if total is not None:
        columns[-1] = MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), console=ERR, transient=True, disable=not ERR.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda amount: bar.advance(task, amount)


def short_time(value: object) -> str:
    """Return an RFC 3339 time in UTC without year and zone, to the millisecond; what is no time, as it is."""
    try:
        moment = datetime.fromisoformat(str(value)).astimezone(UTC)
    except ValueError:
        return str(value or "")
    return f"{moment:%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"
