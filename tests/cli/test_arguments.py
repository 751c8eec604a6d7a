"""Values of options: addresses, times, JSON objects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import typer

from cli.address import http_url, websocket_url
from cli.arguments import json_object, moment
from cli.output import clean, short_time


@pytest.mark.parametrize(
    ("given", "http", "websocket"),
    [
        ("http://a:8080", "http://a:8080", "ws://a:8080"),
        ("ws://a:8080/", "http://a:8080", "ws://a:8080"),
        ("https://a/router/", "https://a/router", "wss://a/router"),
        ("wss://[::1]:1", "https://[::1]:1", "wss://[::1]:1"),
    ],
)
def test_addresses(given: str, http: str, websocket: str) -> None:
    assert (http_url(given), websocket_url(given)) == (http, websocket)


@pytest.mark.parametrize("given", ["", "localhost:8080", "ftp://a", "http://", "redis://a"])
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(typer.BadParameter):
        http_url(given)


@pytest.mark.parametrize(("given", "ago"), [("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800)])
def test_how_long_ago(given: str, ago: int) -> None:
    read = moment(given, "--since")
    assert read is not None
    assert abs(datetime.now(UTC) - read - timedelta(seconds=ago)) < timedelta(seconds=10)


def test_times() -> None:
    assert moment(None, "--since") is None
    assert moment("2013-01-01T05:15:00+01:00", "--since") == datetime(2013, 1, 1, 4, 15, tzinfo=UTC)
    for wrong in ("now", "15", "2013-01-01", "9999999d"):
        with pytest.raises(typer.BadParameter):
            moment(wrong, "--since")


def test_objects() -> None:
    assert json_object('{"a": 1}', "--where") == {"a": 1}
    for wrong in ("", "1", "[]", "{", '{"a": NaN}'):
        with pytest.raises(typer.BadParameter):
            json_object(wrong, "--where")


def test_text_of_strangers_cannot_act_on_the_terminal() -> None:
    assert clean("a\x1b[2Jb\x9bc\u202ed\ne\tf") == "a�[2Jb�c�d\ne\tf"
    assert clean(None) == ""


def test_short_times() -> None:
    assert short_time("2013-01-01T05:15:00.123456+01:00") == "01-01 04:15:00.123"
    assert short_time("soon") == "soon"
