"""Which addresses may be called, and that a name is judged by what it resolves to each time."""

from __future__ import annotations

import socket

import pytest
from aiohttp.abc import ResolveResult

from router_node.destinations.addresses import Addresses, AddressRefused, GuardedResolver
from router_node.destinations.webhook_call import calling
from tests.destinations.endpoint import endpoint

REFUSED = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.1.2.3",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a00:1",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1%eth0",
    "ff02::1",
    "fec0::1",
    "::127.0.0.1",
    "168.63.129.16",
    "64:ff9b::a9fe:a9fe",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not Addresses().may_be_called(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_may_be_called(address: str) -> None:
    assert Addresses().may_be_called(address)


def test_what_is_allowed_may_be_called_and_nothing_beside_it() -> None:
    addresses = Addresses(["10.0.0.0/8", "fd00::/8"])
    assert addresses.may_be_called("10.9.9.9")
    assert addresses.may_be_called("::ffff:10.9.9.9")
    assert addresses.may_be_called("fd00::1")
    assert not addresses.may_be_called("192.168.1.1")
    assert not addresses.is_allowed("1.1.1.1"), "plain http:// is for allowed networks only"


class Names:
    """A resolver whose answer changes: the second one is another address."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            ResolveResult(hostname=host, host=each, port=port, family=socket.AF_INET, proto=0, flags=0)
            for each in found
        ]

    async def close(self) -> None:
        pass


async def test_only_the_addresses_that_pass_are_left() -> None:
    resolver = GuardedResolver(Names(["10.0.0.1", "1.1.1.1"]), Addresses().may_be_called)
    assert [each["host"] for each in await resolver.resolve("example.com", 443)] == ["1.1.1.1"]


async def test_a_name_with_no_address_that_passes_is_refused() -> None:
    resolver = GuardedResolver(Names(["10.0.0.1"]), Addresses().may_be_called)
    with pytest.raises(AddressRefused):
        await resolver.resolve("example.com", 443)


async def test_a_name_that_turns_private_after_it_was_looked_at_gains_nothing() -> None:
    async with endpoint() as hook:
        port = hook.url.rpartition(":")[2].partition("/")[0]
        addresses = Addresses(["127.0.0.2/32"])
        async with calling(addresses, lambda: Names(["127.0.0.2"], ["127.0.0.1"])) as caller:
            for _ in range(3):
                answer = await caller.post(f"http://rebind.example:{port}/", {}, b"{}", 5)
        assert answer.kind == "refused"
        assert hook.got == []
