"""`dlq`: dead letters, to list, to look at, to deliver again and to remove."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, NamedTuple

import typer

from cli.address import DEFAULT_URL
from cli.api import Api
from cli.arguments import AsJson, Url, Yes, examples, moment
from cli.exits import ExitCode
from cli.failures import Failure
from cli.foreground import run
from cli.output import print_details, print_json, print_line, print_note, print_table, progress
from cli.rows import COUNT_COLUMNS, HISTORY_COLUMNS, LETTER_COLUMNS, count_row, history_row, letter_row

app = typer.Typer(no_args_is_help=True, help="Dead letters: list, counts, show, replay, purge.")

AT_ONCE = 100
PARTS_A_SECOND = 5
USUAL_RATE = 500

LIST_EXAMPLES = (
    "event-router dlq list",
    "event-router dlq list --subscription late --reason attempts --limit 1000",
    "event-router dlq list --type 'orders.>' --since 2h",
    "event-router dlq list --json | jq -r .event_id",
)
COUNTS_EXAMPLES = ("event-router dlq counts", "event-router dlq counts --json")
SHOW_EXAMPLES = ("event-router dlq show 17-1763909147000-0",)
REPLAY_EXAMPLES = (
    "event-router dlq replay 17-1763909147000-0",
    "event-router dlq replay --subscription late --type 'orders.>' --since 2h",
    "event-router dlq replay --all --rate 50 --yes",
)
PURGE_EXAMPLES = (
    "event-router dlq purge 17-1763909147000-0",
    "event-router dlq purge --subscription late --reason rejected",
    "event-router dlq purge --all --yes --json",
)

LetterId = Annotated[str, typer.Argument(metavar="ID", help="The id of the dead letter.")]
LetterIds = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids of dead letters.")]
Subscription = Annotated[str | None, typer.Option("--subscription", metavar="NAME", help="Those of this subscription.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Those with this reason, such as attempts or rejected.")]
Topic = Annotated[str | None, typer.Option("--type", metavar="PATTERN", help="Events of this topic or pattern.")]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Died then or later: RFC 3339, or so long ago (90s, 15m, 2h, 7d)."),
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Died before then.")]
Rate = Annotated[int, typer.Option("--rate", min=1, help="At most so many a second.")]
All = Annotated[bool, typer.Option("--all", help="All there are.")]


class _Act(NamedTuple):
    """What is done to dead letters: the verb, its past, and the call."""

    verb: str
    past: str
    call: Callable[[Api, Sequence[str]], Awaitable[int]]


REPLAY = _Act("replay", "replayed", Api.replay)
PURGE = _Act("purge", "purged", Api.purge)


class _Choice(NamedTuple):
    """Which letters a command is about: ids, or all that fit the conditions."""

    ids: list[str]
    conditions: dict[str, str | None]


@app.command("list", epilog=examples(*LIST_EXAMPLES))
def list_letters(
    subscription: Subscription = None,
    reason: Reason = None,
    topic: Topic = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 20,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List dead letters, oldest first.

    Each is an event that could not be delivered to a subscription. With --json:
    one dead letter a line, its event included.
    """
    letters = run(_letters(url, _conditions(subscription, reason, topic, since, until), limit))
    if as_json:
        for letter in letters:
            print_json(letter)
    elif letters:
        print_table(LETTER_COLUMNS, map(letter_row, letters))
    else:
        print_note("no dead letters")


@app.command("counts", epilog=examples(*COUNTS_EXAMPLES))
def count_letters(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Count dead letters by subscription and reason.

    With --json: one count a line.
    """
    found = run(_counts(url))
    if as_json:
        for count in found["counts"]:
            print_json(count)
    elif found["counts"]:
        print_table(COUNT_COLUMNS, map(count_row, found["counts"]))
    else:
        print_note("no dead letters")
    if not found["complete"]:
        print_note("there are too many to look at all: the counts are too low")


@app.command("show", epilog=examples(*SHOW_EXAMPLES))
def show_letter(letter_id: LetterId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show one dead letter: why, its event and its history.

    The history is of the delivery log, oldest first. With --json: the dead
    letter, one document.
    """
    letter = run(_letter(url, letter_id))
    if as_json:
        print_json(letter)
        return
    history = letter.pop("history")
    print_details(letter.items())
    if history:
        print_line("\nattempts", "bold")
        print_table(HISTORY_COLUMNS, map(history_row, history))
    else:
        print_note("the delivery log cannot be read now" if history is None else "no attempt is in the delivery log")


@app.command("replay", epilog=examples(*REPLAY_EXAMPLES))
def replay_letters(
    ids: LetterIds = None,
    subscription: Subscription = None,
    reason: Reason = None,
    topic: Topic = None,
    since: Since = None,
    until: Until = None,
    all_letters: All = False,
    rate: Rate = USUAL_RATE,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Deliver dead letters again, and remove them here.

    Each goes to the subscription it failed in. Name them by id, or choose by
    conditions or --all, which asks first. Interrupted, it goes on where it was
    when run again. With --json: {"replayed": n}.
    """
    conditions = _conditions(subscription, reason, topic, since, until)
    _act(REPLAY, _choice(ids or [], conditions, all_letters), url, rate, yes, as_json)


@app.command("purge", epilog=examples(*PURGE_EXAMPLES))
def purge_letters(
    ids: LetterIds = None,
    subscription: Subscription = None,
    reason: Reason = None,
    topic: Topic = None,
    since: Since = None,
    until: Until = None,
    all_letters: All = False,
    rate: Rate = USUAL_RATE,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Remove dead letters for good; the stored events stay.

    Name them by id, or choose by conditions or --all, which asks first. With
    --json: {"purged": n}.
    """
    conditions = _conditions(subscription, reason, topic, since, until)
    _act(PURGE, _choice(ids or [], conditions, all_letters), url, rate, yes, as_json)


def _conditions(
    subscription: str | None, reason: str | None, topic: str | None, since: str | None, until: str | None
) -> dict[str, str | None]:
    start, end = moment(since, "--since"), moment(until, "--until")
    return {
        "subscription": subscription,
        "reason": reason,
        "type": topic,
        "from": start.isoformat() if start else None,
        "to": end.isoformat() if end else None,
    }


def _choice(ids: list[str], conditions: dict[str, str | None], all_letters: bool) -> _Choice:
    chosen = [bool(ids), any(value is not None for value in conditions.values()), all_letters]
    if sum(chosen) != 1:
        raise typer.BadParameter("name dead letters by id, or choose by conditions such as --subscription, or --all")
    return _Choice(list(dict.fromkeys(ids)), conditions)


def _act(act: _Act, choice: _Choice, url: str, rate: int, yes: bool, as_json: bool) -> None:
    ids = choice.ids or run(_ids(url, choice.conditions))
    if ids and not choice.ids and not yes:
        _confirm(act, len(ids))
    done = run(_in_parts(act, url, ids, rate))
    if as_json:
        print_json({act.past: done})
    else:
        print_line(f"{act.past} {done} of {len(ids)} dead letters")
    if choice.ids and done == 0:
        raise Failure("none of these dead letters exists", "see `event-router dlq list`", ExitCode.NOT_FOUND)
    if done < len(ids):
        raise Failure(
            f"{len(ids) - done} dead letters were gone already", "see `event-router dlq list`", ExitCode.PARTIAL
        )


def _confirm(act: _Act, count: int) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"would {act.verb} {count} dead letters; add --yes to do it without being asked")
    if not typer.confirm(f"{act.verb} {count} dead letters?", err=True):
        raise Failure(f"nothing was {act.past}", "answer y, or add --yes")


async def _in_parts(act: _Act, url: str, ids: Sequence[str], rate: int) -> int:
    done, size = 0, max(1, min(AT_ONCE, rate // PARTS_A_SECOND))
    clock = asyncio.get_running_loop().time
    due = clock()
    try:
        async with Api(url) as api:
            with progress(act.verb, len(ids)) as advance:
                for start in range(0, len(ids), size):
                    part = ids[start : start + size]
                    await asyncio.sleep(due - clock())
                    due = max(due, clock()) + len(part) / rate  # a slow node is not made up for by a burst
                    done += await act.call(api, part)
                    advance(len(part))
    except asyncio.CancelledError:
        print_note(f"{act.past} {done} of {len(ids)} dead letters; run it again to go on")
        raise
    return done


async def _letters(url: str, conditions: dict[str, str | None], limit: int) -> list[dict[str, Any]]:
    async with Api(url) as api:
        return [letter async for letter in api.dead_letters(conditions, limit)]


async def _ids(url: str, conditions: dict[str, str | None]) -> list[str]:
    async with Api(url) as api:
        return [letter["id"] async for letter in api.dead_letters(conditions, None)]


async def _letter(url: str, letter_id: str) -> Any:
    async with Api(url) as api:
        return await api.dead_letter(letter_id)


async def _counts(url: str) -> dict[str, Any]:
    async with Api(url) as api:
        return await api.dead_letter_counts()
