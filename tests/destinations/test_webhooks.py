"""Webhooks of an embedded node against real endpoints, good and bad."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
import pytest
from aiohttp import web
from standardwebhooks import Webhook as PublicVerifier

from router_client.cloudevents import read_binary, read_structured
from router_client.errors import Conflict, EventRouterError, InvalidInput
from router_node.contract import Delivery
from router_node.destinations import breaker, webhook_call
from tests.destinations.endpoint import (
    SECRET,
    Got,
    attempts,
    endpoint,
    publish,
    raw_endpoint,
    router,
    subscribe,
)
from tests.support.signals import wait_for


async def test_an_event_arrives_signed_as_a_structured_cloudevent() -> None:
    async with endpoint() as hook, router() as node:
        await subscribe(node, hook.url, headers={"X-Team": "blue"})
        (event_id,) = await publish(node, 1, metadata={"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"})
        await hook.has(1)
        (logged,) = await attempts(node, 1)
    got = hook.got[0]
    PublicVerifier(SECRET).verify(got.body, dict(got.headers))
    event = read_structured(got.body)
    assert (event.id, event.type, event.payload) == (event_id, "a.b", {"n": 0})
    assert got.headers["Content-Type"].startswith("application/cloudevents+json")
    assert got.headers["X-Team"] == "blue"
    assert got.headers["traceparent"].startswith("00-aaaa")
    assert got.headers["User-Agent"] == "event-router"
    assert (logged.attempt.outcome, logged.attempt.status, logged.attempt.response) == ("acked", 200, "fine")


async def test_binary_mode_has_the_attributes_in_headers() -> None:
    async with endpoint() as hook, router() as node:
        await subscribe(node, hook.url, mode="binary")
        (event_id,) = await publish(node, 1)
        await hook.has(1)
    got = hook.got[0]
    PublicVerifier(SECRET).verify(got.body, dict(got.headers))
    assert orjson.loads(got.body) == {"n": 0}
    assert read_binary(got.headers, got.body).id == event_id


async def test_data_that_is_no_text_goes_structured_since_it_could_not_be_signed() -> None:
    async with endpoint() as hook, router() as node:
        await subscribe(node, hook.url, mode="binary")
        blob = read_structured(b'{"specversion":"1.0","id":"b","source":"s","type":"a.b","data_base64":"/w=="}')
        await node.engine.publish_events([blob])
        await hook.has(1)
    PublicVerifier(SECRET).verify(hook.got[0].body, dict(hook.got[0].headers))
    assert orjson.loads(hook.got[0].body)["data_base64"] == "/w=="


async def test_while_secrets_are_rotated_both_sign() -> None:
    other = "whsec_" + "b3RoZXIgc2VjcmV0IG9mIDI0IGJ5dGVz"
    async with endpoint() as hook, router() as node:
        await subscribe(node, hook.url, secret=[SECRET, other])
        await publish(node, 1)
        await hook.has(1)
    for secret in (SECRET, other):
        PublicVerifier(secret).verify(hook.got[0].body, dict(hook.got[0].headers))


async def test_a_failed_call_is_tried_again_with_the_same_message_id_and_each_attempt_is_logged() -> None:
    async with endpoint() as hook, router() as node:

        async def answer(got: Got) -> web.Response:
            return web.Response(status=[503, 429, 408, 200][len(hook.got) - 1], text="x" * 10_000)

        hook.answer = answer
        await subscribe(node, hook.url)
        await publish(node, 1)
        logged = [each.attempt for each in await attempts(node, 4)]
    assert [(each.attempt, each.outcome, each.status) for each in logged] == [
        (1, "failed", 503),
        (2, "failed", 429),
        (3, "failed", 408),
        (4, "acked", 200),
    ]
    assert logged[0].error == "the endpoint answered 503"
    assert logged[0].response == "x" * 4096, "cut to 4 KiB"
    assert len({got.headers["webhook-id"] for got in hook.got}) == 1


async def test_other_refusals_are_dead_letters_at_once_unless_said_otherwise() -> None:
    async with endpoint() as hook, router() as node:

        async def answer(got: Got) -> web.Response:
            return web.Response(status=422 if orjson.loads(got.body)["data"]["n"] == 0 else 404, text="no")

        hook.answer = answer
        await subscribe(node, hook.url, retry_on=[404], retry={"max_attempts": 2})
        await publish(node, 2)
        logged = [each.attempt for each in await attempts(node, 3)]
    assert sorted((each.outcome, each.status, each.attempt, each.dead) for each in logged) == [
        ("failed", 404, 1, False),
        ("failed", 404, 2, True),
        ("rejected", 422, 1, True),
    ]


async def test_retry_after_is_honoured() -> None:
    async with endpoint() as hook, router() as node:
        times: list[float] = []

        async def answer(got: Got) -> web.Response:
            times.append(time.monotonic())
            return web.Response(status=429 if len(times) == 1 else 200, headers={"Retry-After": "1"})

        hook.answer = answer
        await subscribe(node, hook.url)
        await publish(node, 1)
        await hook.has(2)
    assert 0.95 <= times[1] - times[0] < 3


async def test_gone_pauses_the_subscription_and_loses_nothing() -> None:
    async with endpoint() as hook, router() as node:

        async def gone(got: Got) -> web.Response:
            return web.Response(status=410)

        hook.answer = gone
        await subscribe(node, hook.url, concurrency=1)
        await publish(node, 3)

        async def paused() -> bool:
            (found,) = await node.management.subscriptions()
            return bool(found["paused"])

        await wait_for(paused, 10, "the subscription is paused")
        (found,) = await node.management.subscriptions()
        assert found["paused_reason"] == f"{hook.url} answered 410 Gone"
        calls = len(hook.got)
        assert found["backlog"] == 3
        hook.answer = None
        await node.management.resume_subscription("hook")
        await hook.has(calls + 3)


async def test_redirects_are_not_followed() -> None:
    async with endpoint() as hook, endpoint() as elsewhere, router() as node:

        async def redirect(got: Got) -> web.Response:
            return web.Response(status=307, headers={"Location": elsewhere.url})

        hook.answer = redirect
        await subscribe(node, hook.url)
        await publish(node, 1)
        (logged,) = await attempts(node, 1)
    assert (logged.attempt.outcome, logged.attempt.status) == ("rejected", 307)
    assert elsewhere.got == []


@pytest.mark.parametrize("networks", [(), ("10.0.0.0/8",)])
async def test_private_addresses_are_refused(networks: tuple[str, ...]) -> None:
    async with endpoint() as hook, router(networks) as node:
        await subscribe(node, hook.url, retry={"max_attempts": 1})
        await publish(node, 1)
        (logged,) = await attempts(node, 1)
        assert node.destinations.counts.failures["refused"] == 1
    assert hook.got == []
    assert "no address that may be called" in logged.attempt.error


async def test_a_name_at_a_private_address_is_refused() -> None:
    async with endpoint() as hook, router(()) as node:
        await subscribe(node, hook.url.replace("127.0.0.1", "localhost"), retry={"max_attempts": 1})
        await publish(node, 1)
        (logged,) = await attempts(node, 1)
    assert hook.got == []
    assert "localhost is at no address that may be called" in logged.attempt.error


async def test_no_more_calls_at_once_than_allowed() -> None:
    async with endpoint() as hook, router() as node:

        async def slow(got: Got) -> web.Response:
            await asyncio.sleep(0.02)
            return web.Response()

        hook.answer = slow
        await subscribe(node, hook.url, concurrency=3)
        await publish(node, 30)
        await hook.has(30)
        assert hook.most_open == 3


async def test_no_more_calls_a_second_than_allowed() -> None:
    async with endpoint() as hook, router() as node:
        await subscribe(node, hook.url, concurrency=50, rate=20)
        began = time.monotonic()
        await publish(node, 60)
        await hook.has(60)
        assert time.monotonic() - began >= (60 - 20) / 20 * 0.95, "a burst of a second's worth, then the rate"


async def test_one_that_keeps_failing_is_left_alone_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "FIRST_PAUSE_S", 0.4)
    async with endpoint() as hook, router() as node:

        async def down(got: Got) -> web.Response:
            return web.Response(status=500)

        hook.answer = down
        await subscribe(node, hook.url, concurrency=1, retry={"max_attempts": 50})
        await publish(node, 20)
        await hook.has(breaker.FAILURES)
        await wait_for(lambda: node.destinations.counts.open_breakers == 1, 5, "the breaker is open")
        calls = len(hook.got)
        assert calls == breaker.FAILURES
        await hook.has(calls + 1)
        assert len(hook.got) == calls + 1, "one attempt to see"
        hook.answer = None
        await hook.has(calls + 21)
        await wait_for(lambda: node.destinations.counts.open_breakers == 0, 5, "the breaker is closed")
        await wait_for(lambda: node.pipeline.registry.get("hook").window.backlog == 0, 5, "all is delivered")
        assert node.pipeline.registry.get("hook").dead_lettered == 0


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def trickle_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-Slow: 1\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def close_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200")


async def talk_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\xff this is no HTTP\r\n\r\n")
    await writer.drain()


async def promise_more_than_it_sends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()


BAD = {
    "hangs": (hang, "no answer within 0.5 s"),
    "trickles its head": (trickle_head, "no answer within 0.5 s"),
    "closes early": (close_early, "the call failed"),
    "talks nonsense": (talk_nonsense, "the call failed"),
    "sends less than promised": (promise_more_than_it_sends, "the endpoint answered 500"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_endpoint_costs_a_bounded_time_and_is_named(case: str) -> None:
    talk, error = BAD[case]
    async with raw_endpoint(talk) as url, router() as node:
        await subscribe(node, url, timeout_s=0.5, retry={"max_attempts": 2})
        began = time.monotonic()
        await publish(node, 1)
        logged = [each.attempt for each in await attempts(node, 2)]
        assert time.monotonic() - began < 5
    assert all(error in each.error for each in logged), logged
    assert [each.dead for each in logged] == [False, True]


async def test_an_answer_that_trickles_is_cut_and_its_status_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_call, "RESPONSE_S", 0.3)

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with raw_endpoint(trickle) as url, router() as node:
        await subscribe(node, url)
        await publish(node, 1)
        (logged,) = await attempts(node, 1)
    assert (logged.attempt.outcome, logged.attempt.status) == ("acked", 200)
    assert 1 <= len(logged.attempt.response) < 50


async def test_a_huge_answer_is_not_read() -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
        while sent < 10_000_000:
            writer.write(b"y" * 10_000)
            await writer.drain()
            sent += 10_000

    async with raw_endpoint(flood) as url, router() as node:
        await subscribe(node, url)
        await publish(node, 1)
        (logged,) = await attempts(node, 1)
    assert logged.attempt.response == "y" * 4096
    assert sent < 10_000_000


async def test_a_compressed_answer_is_not_unpacked() -> None:
    async with endpoint() as hook, router() as node:

        async def bomb(got: Got) -> web.Response:
            return web.Response(body=b"\x1f\x8b\x08\x00", headers={"Content-Encoding": "gzip"})

        hook.answer = bomb
        await subscribe(node, hook.url)
        await publish(node, 1)
        (logged,) = await attempts(node, 1)
    assert logged.attempt.outcome == "acked"


async def test_a_bad_certificate_is_no_endpoint() -> None:
    async with endpoint(tls=True) as hook, router() as node:
        await subscribe(node, hook.url, retry={"max_attempts": 1})
        await publish(node, 1)
        (logged,) = await attempts(node, 1)
    assert hook.got == []
    assert "certificate" in logged.attempt.error.lower()


async def test_the_secret_is_never_shown_and_a_placeholder_keeps_it() -> None:
    async with endpoint() as hook, router() as node:
        await subscribe(node, hook.url)
        (shown,) = await node.management.subscriptions()
        assert SECRET not in str(shown)
        body: dict[str, Any] = {"topics": ["a.>"], "destination": shown["destination"]}
        _, answered = await node.management.put_subscription("hook", body)
        assert answered["destination"]["secret"] == "********"
        await publish(node, 1)
        await hook.has(1)
    PublicVerifier(SECRET).verify(hook.got[0].body, dict(hook.got[0].headers))


async def test_changing_the_url_takes_effect_and_deleting_ends_the_calls() -> None:
    async with endpoint() as first, endpoint() as second, router() as node:
        await subscribe(node, first.url)
        await publish(node, 1)
        await first.has(1)
        await subscribe(node, second.url)
        await publish(node, 1)
        await second.has(1)
        await node.management.delete_subscription("hook", discard_backlog=True)
        await publish(node, 1)
        assert (len(first.got), len(second.got)) == (1, 1)
        assert node.destinations.counts.in_flight == 0


class Nobody:
    def push(self, deliveries: list[Delivery]) -> None:
        raise AssertionError("nothing is delivered here")

    def ended(self, error: EventRouterError) -> None:
        pass


async def test_nobody_else_takes_what_goes_to_a_webhook() -> None:
    async with router() as node:
        await subscribe(node, "https://example.com/hook")
        with pytest.raises(Conflict, match="go to a webhook"):
            node.engine.attach("hook", Nobody(), 1)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no url": ({"url": None}, "destination.url"),
    "another scheme": ({"url": "ftp://example.com"}, "destination.url"),
    "a user": ({"url": "https://u:p@example.com"}, "destination.url"),
    "no host": ({"url": "https:///x"}, "destination.url"),
    "a port that is none": ({"url": "https://example.com:99999/"}, "destination.url"),
    "a short secret": ({"secret": "whsec_AAAA"}, "destination.secret"),
    "four secrets": ({"secret": [SECRET] * 4}, "destination.secret"),
    "mode": ({"mode": "xml"}, "destination.mode"),
    "concurrency": ({"concurrency": 101}, "destination.concurrency"),
    "rate": ({"rate": 0}, "destination.rate"),
    "timeout": ({"timeout_s": 500}, "destination.timeout_s"),
    "timeout beyond the ack's": ({"timeout_s": 60}, "destination.timeout_s"),
    "a reserved header": ({"headers": {"Webhook-Id": "x"}}, "destination.headers.Webhook-Id"),
    "a broken header": ({"headers": {"X": "a\r\nb"}}, "destination.headers.X"),
    "statuses": ({"retry_on": [200]}, "destination.retry_on"),
    "unknown": ({"colour": "red"}, "destination.colour"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cannot_work_is_refused_by_name(case: str) -> None:
    members, field = REFUSED[case]
    async with router() as node:
        with pytest.raises(InvalidInput) as refused:
            await subscribe(node, **{"url": "https://example.com/hook", **members})
    assert refused.value.field == field
