"""JSON Web Tokens: those of the issuer are taken, and every forgery known to us is not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from router_client.errors import Unavailable
from router_node.security import key_set
from router_node.security.directory import refused
from tests.security.desk import START_S, Site, is_over, site

ISSUER, AUDIENCE = "https://id.example.org/", "event-router"
REFUSED = refused().detail
RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec", "alg": "ES256"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
OCT = OctKey.generate_key(256, {"kid": "oct"})
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa"})
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519", "HS256")


def jwks(*keys: Key, private: bool = False) -> bytes:
    """Return a key set; secrets are written out whatever is asked."""
    return orjson.dumps({"keys": [key.as_dict(private=private or key.key_type == "oct") for key in keys]})


def claims(**more: Any) -> dict[str, Any]:
    whole = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "exp": int(START_S) + 600,
        "nbf": int(START_S) - 10,
        "iat": int(START_S) - 10,
        "roles": ["publisher"],
        **more,
    }
    return {name: value for name, value in whole.items() if value is not None}


def token(key: Key = RSA, algorithm: str = "RS256", header: dict[str, Any] | None = None, **more: Any) -> str:
    return jwt.encode({"alg": algorithm, "kid": key.kid, **(header or {})}, claims(**more), key, [algorithm])


def raw(header: dict[str, Any], payload: bytes, sign: Callable[[bytes], bytes]) -> str:
    """Return a token as no library would make it."""
    head = _b64(orjson.dumps(header)) + b"." + _b64(payload)
    return (head + b"." + _b64(sign(head))).decode()


def _rsa(key: RSAKey, signed: bytes) -> bytes:
    return JWSRegistry.algorithms["RS256"].sign(signed, key)


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(RSA, EC, ED, OCT))
    return path


def settings(file: Path, **more: Any) -> dict[str, Any]:
    keys = {"jwt_keys": str(file), "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
    return {**keys, "jwt_algorithms": ALGORITHMS, **more}


@pytest.fixture
async def gate(file: Path) -> AsyncIterator[Site]:
    async with site(**settings(file)) as made:
        yield made


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256"), (ED, "EdDSA"), (ED, "Ed25519"), (OCT, "HS256")],
)
async def test_a_token_of_the_issuer_lets_in_whom_it_names(
    gate: Site, key: Key, algorithm: str, recwarn: pytest.WarningsRecorder
) -> None:
    access = await gate.admit(token(key, algorithm))

    assert access.principal.name == "jwt:alice"
    assert access.grants.may_publish("a")
    assert not access.grants.may_subscribe("a")
    assert access.principal.expires_at == START_S + 630
    assert not recwarn.list or algorithm in ("EdDSA", "PS256")  # of joserfc's, while the test signs


async def test_a_token_without_key_id_is_checked_by_the_only_key_that_fits(gate: Site, file: Path) -> None:
    signed = jwt.encode({"alg": "ES256"}, claims(), EC, ["ES256"])
    await gate.admit(signed)

    file.write_bytes(jwks(EC, ECKey.generate_key("P-256", {"kid": "other"})))
    keys = gate.secured.tokens
    assert keys is not None
    await keys.keys.refresh()
    await gate.refused(jwt.encode({"alg": "ES256"}, claims(sub="bob"), EC, ["ES256"]))


def forgeries() -> dict[str, str]:
    """Return tokens that nobody may be let in with, by the attack."""
    public = RSA.as_pem(private=False)
    modulus = orjson.dumps(RSA.as_dict(private=False))
    good = token()
    head, body, signature = good.split(".")
    admin = _b64(orjson.dumps(claims(roles=["admin"]))).decode()
    listed = _b64(orjson.dumps(["alg"])).decode()

    def hs256(secret: bytes) -> Callable[[bytes], bytes]:
        return lambda signed: hmac.new(secret, signed, hashlib.sha256).digest()

    def nothing(_: bytes) -> bytes:
        return b""

    def none(name: str) -> str:
        return raw({"alg": name, "kid": "rsa"}, orjson.dumps(claims()), nothing)

    def confused(kid: str, secret: bytes) -> str:
        return raw({"alg": "HS256", "kid": kid}, orjson.dumps(claims()), hs256(secret))

    other = jwt.encode({"alg": "RS256", "kid": "rsa"}, claims(), STRANGER, ["RS256"])
    own_header = {"alg": "RS256", "kid": "rsa", "jwk": STRANGER.as_dict(private=False)}
    own = raw(own_header, orjson.dumps(claims()), lambda signed: _rsa(STRANGER, signed))
    return {
        **{f"alg {name}": none(name) for name in ("none", "None", "NONE", "nOnE", "")},
        "HS256 with the RSA public key as PEM": confused("rsa", public),
        "HS256 with the RSA public key as PEM, no kid": raw({"alg": "HS256"}, orjson.dumps(claims()), hs256(public)),
        "HS256 with the RSA public key as JWK": confused("rsa", modulus),
        "HS256 with an empty secret": confused("oct", b""),
        "RS256 with the secret's id": token(RSA, header={"kid": "oct"}),
        "PS384, which is not on the list": jwt.encode({"alg": "PS384", "kid": "rsa"}, claims(), RSA, ["PS384"]),
        "ES256 key, other algorithm": raw({"alg": "ES384", "kid": "ec"}, orjson.dumps(claims()), lambda _: b"0" * 96),
        "an ECDSA signature of zeros": raw({"alg": "ES256", "kid": "ec"}, orjson.dumps(claims()), lambda _: b"\0" * 64),
        "another's key under our id": other,
        "its own key in the header": own,
        "a key to fetch": raw(
            {"alg": "RS256", "kid": "x", "jku": "https://evil.example/jwks", "x5u": "https://evil.example/x"},
            orjson.dumps(claims()),
            lambda signed: b"0" * 256,
        ),
        "unknown key id": token(header={"kid": "nobody"}),
        "a path as key id": token(header={"kid": "../../../../dev/null"}),
        "SQL as key id": token(header={"kid": "x' UNION SELECT 'aa"}),
        "a list as key id": raw({"alg": "RS256", "kid": ["rsa"]}, b"{}", nothing),
        "a list as algorithm": raw({"alg": ["RS256"], "kid": "rsa"}, b"{}", nothing),
        "a header that is a list": f"{_b64(b'[1]').decode()}.{body}.{signature}",
        "a header that is a list of alg": f"{listed}.{body}.{signature}",
        "critical extensions": raw(
            {"alg": "HS256", "kid": "oct", "crit": ["exp"], "exp": 1}, orjson.dumps(claims()), hs256(OCT.raw_value)
        ),
        "an unencoded payload": raw({"alg": "HS256", "kid": "oct", "b64": False}, b"{}", hs256(OCT.raw_value)),
        "other claims": f"{head}.{admin}.{signature}",
        "no signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "four parts": f"{good}.x",
        "encrypted": f"{good}.a.b",
        "nothing but dots": "..",
        "no base64": "ä.ö.ü",
        "nested too deep": raw({"alg": "RS256", "kid": "rsa"}, b"[" * 4000, nothing),
        "a payload that is a list": raw({"alg": "HS256", "kid": "oct"}, b"[]", hs256(OCT.raw_value)),
        "a payload that is no JSON": raw({"alg": "HS256", "kid": "oct"}, b"{", hs256(OCT.raw_value)),
        "a time that is no number": raw(
            {"alg": "HS256", "kid": "oct"}, orjson.dumps(claims()).replace(b"1700000600", b"NaN"), hs256(OCT.raw_value)
        ),
    }


@pytest.mark.parametrize("attack", forgeries())
async def test_a_forgery_is_refused_and_not_told_why(gate: Site, attack: str) -> None:
    await gate.admit(token())  # the keys are read
    assert await gate.refused(forgeries()[attack]) == REFUSED


CLAIMS: dict[str, dict[str, Any]] = {
    "expired": {"exp": int(START_S) - 31},
    "never expires": {"exp": None},
    "expires as text": {"exp": "2100-01-01"},
    "expires as truth": {"exp": True},
    "not yet valid": {"nbf": int(START_S) + 31},
    "issued in the future": {"iat": int(START_S) + 31},
    "another issuer": {"iss": "https://id.example.org"},
    "no issuer": {"iss": None},
    "a list of issuers": {"iss": [ISSUER]},
    "another audience": {"aud": "event-router-staging"},
    "other audiences": {"aud": ["a", "b"]},
    "no audience": {"aud": None},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that is a number": {"sub": 7},
    "a subject of two lines": {"sub": "a\nkey:root"},
    "a long subject": {"sub": "a" * 257},
}


@pytest.mark.parametrize("fault", CLAIMS)
async def test_claims_that_do_not_hold_are_refused(gate: Site, fault: str) -> None:
    told = await gate.refused(token(**CLAIMS[fault]))
    assert told == ("the token has expired" if fault == "expired" else REFUSED)


async def test_clocks_may_differ_by_the_leeway(gate: Site) -> None:
    await gate.admit(token(exp=int(START_S) - 29))
    await gate.admit(token(nbf=int(START_S) + 29))
    await gate.admit(token(aud=["other", AUDIENCE]))


async def test_a_token_that_never_seems_to_end_can_be_shown(gate: Site) -> None:
    access = await gate.admit(token(exp=10**15))
    assert gate.secured.desk.me(access)["expires_at"] == "9999-12-31T23:59:59.000000Z"


async def test_a_huge_token_is_refused_before_it_is_read(gate: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joserfc.jws.extract_compact", None)
    assert "at most" in await gate.refused(token(pad="x" * 8192))


async def test_the_right_ends_when_the_token_does(gate: Site) -> None:
    access = await gate.admit(token())
    gate.clock.advance(629)
    assert not is_over(access)
    assert (await gate.admit(token())).principal == access.principal

    gate.clock.advance(1.1)

    assert is_over(access)
    await gate.refused(token())


async def test_a_token_is_verified_once_and_remembered_within_bounds(
    gate: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from joserfc import jws

    from router_node.security import token_check

    verified: list[int] = []
    real = jws.validate_compact
    monkeypatch.setattr(jws, "validate_compact", lambda *a, **k: verified.append(1) or real(*a, **k))
    monkeypatch.setattr(token_check, "REMEMBERED", 2)
    tokens = [token(OCT, "HS256", sub=f"s{n}") for n in range(3)]
    for each in (tokens[0], tokens[0], tokens[1], tokens[2], tokens[2], tokens[0]):
        await gate.admit(each)

    assert len(verified) == 4
    assert gate.secured.tokens is not None
    assert len(gate.secured.tokens._remembered) == 2


@pytest.mark.parametrize(
    ("claim", "value", "policies"),
    [
        ("roles", ["publisher", "reader", 7, "unknown"], ["publisher", "reader"]),
        ("roles", "publisher reader", ["publisher", "reader"]),
        ("roles", {"publisher": 1}, []),
        ("roles", None, []),
        ("realm_access.roles", None, ["observer"]),
        ("https://example.org/roles", None, ["subscriber"]),
    ],
)
async def test_a_claim_names_policies(file: Path, claim: str, value: Any, policies: list[str]) -> None:
    more = {"realm_access": {"roles": ["observer"]}, "https://example.org/roles": ["subscriber"]}
    async with site(**settings(file, jwt_policies_claim=claim)) as gate:
        access = await gate.admit(token(roles=value, **more))
        assert [policy.name for policy in access.grants.policies] == policies


# -- keys come and go


class Rereading:
    """A gate's keys, with a clock for how often they are read."""

    def __init__(self, gate: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        assert gate.secured.tokens is not None
        self.keys = gate.secured.tokens.keys
        self.now = 0.0
        self.reads = 0
        monkeypatch.setattr(self.keys, "_monotonic", lambda: self.now)
        read = self.keys._source.read

        async def counted() -> bytes:
            self.reads += 1
            return await read()

        monkeypatch.setattr(self.keys, "_source", self.keys._source._replace(read=counted))


async def test_an_unknown_key_id_has_the_set_read_but_not_all_the_time(
    gate: Site, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rereading = Rereading(gate, monkeypatch)
    await gate.admit(token())
    newer = RSAKey.generate_key(2048, {"kid": "newer"})
    file.write_bytes(jwks(RSA, newer))

    for n in range(20):
        await gate.refused(token(RSA, header={"kid": f"x{n}"}))
    await gate.refused(token(newer))  # it was read less than ten seconds ago
    assert rereading.reads == 1
    rereading.now += key_set.EARLIEST_S

    assert (await gate.admit(token(newer))).principal.name == "jwt:alice"
    assert rereading.reads == 2


async def test_a_key_that_is_gone_ends_what_its_tokens_opened(gate: Site, file: Path) -> None:
    access, kept = await gate.admit(token()), await gate.admit(token(EC, "ES256"))
    file.write_bytes(jwks(EC, STRANGER))  # under the same id there is another key now
    assert gate.secured.tokens is not None

    await gate.secured.tokens.keys.refresh()

    assert is_over(access)
    assert not is_over(kept)
    await gate.refused(token())


@pytest.mark.parametrize("broken", [b"", b"[]", b'{"keys": 1}', b"\xff", b"x" * (key_set.MAX_BYTES + 1), None])
async def test_what_cannot_be_read_leaves_the_keys_as_they_were(gate: Site, file: Path, broken: bytes | None) -> None:
    access = await gate.admit(token())
    if broken is None:
        file.unlink()
    else:
        file.write_bytes(broken)
    assert gate.secured.tokens is not None

    await gate.secured.tokens.keys.refresh()

    assert not is_over(access)
    await gate.admit(token(sub="bob"))
    assert gate.secured.tokens.keys.failed_reads == 1


async def test_before_any_keys_were_read_nobody_is_refused_for_good(tmp_path: Path) -> None:
    async with site(**settings(tmp_path / "none.json")) as gate:
        with pytest.raises(Unavailable):
            await gate.admit(token())
        made = await gate.made("billing", "publisher")
        await gate.admit(made["key"])


async def test_keys_that_sign_nothing_are_left_out(gate: Site, file: Path) -> None:
    odd = [
        {"kty": "RSA", "kid": "broken"},
        {"kty": "AKP", "kid": "new"},
        7,
        {**RSA.as_dict(), "use": "enc", "kid": "e"},
    ]
    file.write_bytes(orjson.dumps({"keys": [*odd, EC.as_dict(private=False)]}))
    await gate.admit(token(EC, "ES256"))
    await gate.refused(token(RSA, header={"kid": "e"}))


@pytest.mark.filterwarnings("ignore:Key size")
@pytest.mark.parametrize("length", [1, 31])
async def test_a_short_secret_is_no_key(file: Path, length: int) -> None:
    file.write_bytes(jwks(OctKey.import_key(b"k" * length, {"kid": "oct"})))
    with pytest.raises(key_set.KeySetUnreadable):
        key_set.keys_of(file.read_bytes(), key_set.ALL)


def test_a_secret_that_is_published_is_none() -> None:
    assert [each.kid for each in key_set.keys_of(jwks(OCT, EC), key_set.PUBLIC)] == ["ec"]


async def test_no_token_is_in_the_log(
    gate: Site, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "aiosqlite")
    good = token()
    await gate.admit(good)
    for forged in forgeries().values():
        await gate.refused(forged)

    out, err = capsys.readouterr()
    written = f"{caplog.text}{out}{err}"
    assert [part for part in good.split(".") if part in written] == []
