"""Webhooks where it is easy to lose an event, or to deliver it again, for want of care."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook as PublicVerifier
from structlog.testing import capture_logs

from router_client.errors import Conflict, InvalidInput
from router_client.spec import SubscriptionSpec
from router_node.contract import Delivery
from router_node.destinations import breaker, webhook
from router_node.node import Node
from tests.destinations.endpoint import (
    SECRET,
    SELF_SIGNED,
    Got,
    attempts,
    endpoint,
    publish,
    raw_endpoint,
    router,
    subscribe,
)
from tests.support.ports import free_port
from tests.support.signals import wait_for

OTHER = "whsec_b3RoZXIgc2VjcmV0IG9mIDI0IGJ5dGVz"


def answering(status: int) -> Any:
    async def answer(got: Got) -> web.Response:
        return web.Response(status=status)

    return answer


async def backlog(node: Node) -> int:
    (found,) = await node.management.subscriptions()
    return int(found["backlog"])


async def until_settled(node: Node) -> None:
    async def settled() -> bool:
        return await backlog(node) == 0

    await wait_for(settled, 10, "all is settled")


async def test_a_status_counts_though_the_time_is_up_before_the_answer_ends() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with raw_endpoint(trickle) as url, router() as node:
        await subscribe(node, url, timeout_s=0.4)
        began = time.monotonic()
        await publish(node, 1)
        (logged,) = await attempts(node, 1)
        assert time.monotonic() - began < 2, "the timeout bounds the answer too"
    assert (logged.attempt.outcome, logged.attempt.status) == ("acked", 200)


@pytest.mark.parametrize("traceparent", ["a\r\nX-Evil: 1", "nonsense", "00-" + "é" * 32 + "-" + "b" * 16 + "-01"])
async def test_a_traceparent_that_is_none_is_not_sent(traceparent: str) -> None:
    async with endpoint() as hook, router() as node:
        await subscribe(node, hook.url)
        await publish(node, 1, metadata={"traceparent": traceparent})
        (logged,) = await attempts(node, 1)
    assert (logged.attempt.outcome, logged.attempt.status) == ("acked", 200)
    assert "traceparent" not in hook.got[0].headers
    assert "X-Evil" not in hook.got[0].headers


async def test_tracestate_goes_along_with_traceparent() -> None:
    parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    async with endpoint() as hook, router() as node:
        await subscribe(node, hook.url)
        await publish(node, 1, metadata={"traceparent": parent, "tracestate": "vendor=1"})
        await hook.has(1)
    assert (hook.got[0].headers["traceparent"], hook.got[0].headers["tracestate"]) == (parent, "vendor=1")


async def test_a_fault_of_the_router_costs_one_attempt_and_not_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = webhook.message_of, 0

    def broken_once(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise KeyError("a bug")
        return real(*args)

    monkeypatch.setattr(webhook, "message_of", broken_once)
    async with endpoint() as hook, router() as node:
        await subscribe(node, hook.url)
        await publish(node, 1)
        logged = [each.attempt for each in await attempts(node, 2)]
    assert [each.outcome for each in logged] == ["failed", "acked"]
    assert "KeyError" in logged[0].error


async def test_gone_at_the_last_attempt_makes_no_dead_letter() -> None:
    async with endpoint() as hook, router() as node:
        hook.answer = answering(410)
        await subscribe(node, hook.url, retry={"max_attempts": 1})
        await publish(node, 1)

        async def paused() -> bool:
            (found,) = await node.management.subscriptions()
            return bool(found["paused"])

        await wait_for(paused, 10, "the subscription is paused")
        await wait_for(lambda: node.destinations.counts.in_flight == 0, 5, "the call has ended")
        assert await backlog(node) == 1
        assert node.pipeline.registry.get("hook").dead_lettered == 0
        hook.answer = None
        await node.management.resume_subscription("hook")
        await until_settled(node)


async def test_an_endpoint_that_was_left_behind_pauses_nothing_by_answering_gone() -> None:
    async with endpoint() as old, endpoint() as new, router() as node:
        let_go = asyncio.Event()

        async def late(got: Got) -> web.Response:
            await let_go.wait()
            return web.Response(status=410)

        old.answer = late
        await subscribe(node, old.url)
        await publish(node, 1)
        await old.has(1)
        await subscribe(node, new.url)
        let_go.set()
        await new.has(1)
        (found,) = await node.management.subscriptions()
        assert not found["paused"]


async def test_an_endpoint_that_is_down_for_long_costs_no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(breaker, "LONGEST_PAUSE_S", 0.05)
    async with router() as node:
        port = free_port()
        await subscribe(node, f"http://127.0.0.1:{port}/hook", retry={"max_attempts": 3, "base_s": 0.2})
        await publish(node, 20)
        counts = node.destinations.counts
        await wait_for(lambda: counts.failed >= 60, 20, "it was tried for long")
        assert node.pipeline.registry.get("hook").dead_lettered == 0
        assert await backlog(node) == 20


async def test_a_mended_url_is_called_without_waiting_for_the_old_ones_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "FIRST_PAUSE_S", 60.0)
    async with endpoint() as down, endpoint() as hook, router() as node:
        down.answer = answering(500)
        await subscribe(node, down.url, retry={"max_attempts": 50})
        await publish(node, 20)
        await wait_for(lambda: node.destinations.counts.open_breakers == 1, 5, "the breaker is open")
        await subscribe(node, hook.url, retry={"max_attempts": 50})
        await until_settled(node)
        assert node.destinations.counts.open_breakers == 0


async def test_a_consumer_that_opens_the_subscription_does_not_take_the_webhooks_place() -> None:
    class Nobody:
        def push(self, deliveries: list[Delivery]) -> None:
            raise AssertionError("it takes what is the webhook's")

        def ended(self, error: Exception) -> None:
            pass

    async with endpoint() as hook, router() as node:
        await subscribe(node, hook.url)
        with pytest.raises(Conflict):
            await node.open(SubscriptionSpec.from_object("hook", {"topics": ["a.>"]}), Nobody(), 10)
        await publish(node, 1)
        await hook.has(1)


async def test_each_kind_of_failure_has_a_log_line_and_not_one_for_each_event() -> None:
    async with endpoint() as hook, router() as node:
        hook.answer = answering(422)
        await subscribe(node, hook.url + "?token=secret")
        with capture_logs() as logs:
            await publish(node, 10)
            await attempts(node, 10)
    (line,) = [each for each in logs if each["event"] == "a webhook did not take an event"]
    assert (line["subscription"], line["url"], line["error"]) == ("hook", hook.url, "the endpoint answered 422")
    assert "secret" not in str(logs)


async def test_answers_are_asked_for_unpacked() -> None:
    async with endpoint() as hook, router() as node:
        await subscribe(node, hook.url)
        await publish(node, 1)
        await hook.has(1)
    assert hook.got[0].headers["Accept-Encoding"] == "identity"


async def test_the_start_of_an_answer_that_is_no_text_is_no_longer_than_4_kib() -> None:
    async with endpoint() as hook, router() as node:

        async def noise(got: Got) -> web.Response:
            return web.Response(body=b"\xff\x00" * 10_000)

        hook.answer = noise
        await subscribe(node, hook.url)
        await publish(node, 1)
        (logged,) = await attempts(node, 1)
    assert 0 < len(logged.attempt.response.encode()) <= 4096
    assert "\0" not in logged.attempt.response


async def test_a_secret_is_added_without_telling_the_old_one_again() -> None:
    async with endpoint() as hook, router() as node:
        await subscribe(node, hook.url)
        await subscribe(node, hook.url, secret=[OTHER, "********"])
        (shown,) = await node.management.subscriptions()
        assert shown["destination"]["secret"] == ["********", "********"]
        await publish(node, 1)
        await hook.has(1)
        await subscribe(node, hook.url, secret=["********"])
        await publish(node, 1)
        await hook.has(2)
    for secret in (SECRET, OTHER):
        PublicVerifier(secret).verify(hook.got[0].body, dict(hook.got[0].headers))
    assert hook.got[1].headers["webhook-signature"].count("v1,") == 1
    PublicVerifier(OTHER).verify(hook.got[1].body, dict(hook.got[1].headers))


async def test_a_placeholder_with_nothing_behind_it_is_refused() -> None:
    async with router() as node:
        await node.management.put_subscription("hook", {"topics": ["a.>"]})
        for members, field in (
            ({"secret": "********"}, "destination.secret"),
            ({"secret": [SECRET, "********"]}, "destination.secret"),
            ({"headers": {"X-Key": "********"}}, "destination.headers.X-Key"),
        ):
            with pytest.raises(InvalidInput) as refused:
                await subscribe(node, "https://example.com/hook", **members)
            assert refused.value.field == field


async def test_a_headers_value_is_not_shown_and_not_sent_to_another_host() -> None:
    async with endpoint() as hook, endpoint() as elsewhere, router() as node:
        await subscribe(node, hook.url, headers={"Authorization": "Bearer t0p"})
        (shown,) = await node.management.subscriptions()
        assert shown["destination"]["headers"] == {"Authorization": "********"}
        await subscribe(node, hook.url + "/2", headers=shown["destination"]["headers"])
        await publish(node, 1)
        await hook.has(1)
        assert hook.got[0].headers["Authorization"] == "Bearer t0p"
        with pytest.raises(InvalidInput) as refused:
            await subscribe(node, elsewhere.url, headers=shown["destination"]["headers"])
        assert refused.value.field == "destination.headers.Authorization"


def test_a_certificate_of_an_authority_the_machine_trusts_is_good() -> None:
    program = """
        import asyncio
        from router_node.destinations.addresses import Addresses
        from router_node.destinations.webhook_call import calling
        from tests.destinations.endpoint import endpoint

        async def main():
            async with endpoint(tls=True) as hook, calling(Addresses(["127.0.0.0/8"])) as caller:
                for url in (hook.url, hook.url.replace("127.0.0.1", "127.0.0.2")):
                    answer = await caller.post(url, {}, b"{}", 5)
                    print(answer.status or answer.error)

        asyncio.run(main())
    """
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "SSL_CERT_FILE": str(SELF_SIGNED), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    trusted, another = found.stdout.splitlines()
    assert trusted == "200"
    assert "certificate" in another or "connect" in another.lower()
