"""Standard Webhooks signatures against fixed vectors and against the library's own check."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from router_client.errors import InvalidInput
from router_node.security.signatures import BadSignature, sign, verify
from tests.router_client.shared_cases import case_files, load

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = 1_700_000_000

ids = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)
bodies = st.text(st.characters(exclude_categories=["Cs"])).map(str.encode)


def complaint(case: Mapping[str, Any]) -> str | None:
    try:
        verify(case["secret"], case["headers"], case["payload"].encode(), now=case["now"])
    except BadSignature as error:
        if case["valid"]:
            return f"refused: {error}"
        return None if case.get("field", error.field) == error.field else f"blames {error.field}"
    return None if case["valid"] else "accepted"


@pytest.mark.parametrize("path", case_files("standard_webhooks.json"))
def test_vectors(path: Path) -> None:
    document = load(path)
    failures = [f"{case['id']} {case['name']}: {problem}" for case in document["cases"] if (problem := complaint(case))]
    assert failures == []
    assert len(document["cases"]) >= 20


@pytest.mark.parametrize("path", case_files("standard_webhooks.json"))
def test_unusable_secrets(path: Path) -> None:
    for secret in load(path)["rejected_secrets"]:
        with pytest.raises(InvalidInput) as caught:
            sign(secret, "msg_1", NOW, b"{}")
        assert caught.value.field == "secret"
        with pytest.raises(InvalidInput):
            verify(secret, sign(SECRET, "msg_1", NOW, b"{}"), b"{}", now=NOW)


def test_the_signature_of_the_specification() -> None:
    headers = sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@settings(deadline=None)
@given(ids, bodies, st.integers(-300, 300))
def test_what_is_signed_verifies(message_id: str, body: bytes, late: int) -> None:
    verify(SECRET, sign(SECRET, message_id, NOW, body), body, now=NOW + late)


@settings(deadline=None)
@given(ids, bodies)
def test_the_library_accepts_what_is_signed(message_id: str, body: bytes) -> None:
    Webhook(SECRET).verify(body, sign(SECRET, message_id, int(time.time()), body), json_parse=False)


@settings(deadline=None)
@given(ids, bodies, st.data())
def test_any_change_is_noticed(message_id: str, body: bytes, data: st.DataObject) -> None:
    headers = sign(SECRET, message_id, NOW, body)
    changed = data.draw(st.sampled_from(["webhook-id", "webhook-timestamp", "body", "secret"]))
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx" if changed == "secret" else SECRET
    sent = body + b" " if changed == "body" else body
    if changed == "webhook-id":
        headers["webhook-id"] += "x"
    elif changed == "webhook-timestamp":
        headers["webhook-timestamp"] = str(NOW + 1)
    with pytest.raises(BadSignature) as caught:
        verify(secret, headers, sent, now=NOW)
    assert caught.value.field == "webhook-signature"
    assert caught.value.problem()["status"] == 401


@pytest.mark.parametrize(
    ("message_id", "timestamp", "body", "field"),
    [
        ("", NOW, b"{}", "webhook-id"),
        ("a\r\nx: y", NOW, b"{}", "webhook-id"),
        ("msg", -1, b"{}", "webhook-timestamp"),
        ("msg", 10**11, b"{}", "webhook-timestamp"),
        ("msg", NOW, b"\xff", "body"),
    ],
)
def test_what_cannot_be_signed(message_id: str, timestamp: int, body: bytes, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        sign(SECRET, message_id, timestamp, body)
    assert caught.value.field == field
