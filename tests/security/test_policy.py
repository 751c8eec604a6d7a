"""Policies: what several of them allow together, and nothing else."""

from __future__ import annotations

import pytest

from router_node.security.policy import BUILT_IN, Grants, Policy

SHOP = Policy(name="shop", publish=("orders.>",), subscribe=("orders.*",), members=("key:shop-*",))


def test_nothing_is_allowed_without_a_policy() -> None:
    grants = Grants(())
    assert not grants.may_publish("orders.created")
    assert not grants.may_subscribe("orders.created")
    assert not grants.may_read_events("orders.created")
    assert not grants.may_handle_letters("orders.created")
    assert not grants.may_manage("read")


def test_each_right_is_its_own() -> None:
    grants = Grants([SHOP])
    assert grants.may_publish("orders.created.eu")
    assert not grants.may_publish("payments.made")
    assert grants.may_subscribe("orders.created")
    assert grants.may_subscribe("orders.*")
    assert not grants.may_subscribe("orders.>")
    assert not grants.may_read_events("orders.created")


def test_policies_add_up() -> None:
    grants = Grants([SHOP, Policy(name="audit", events=("payments.>",), manage="read")])
    assert grants.may_read_events("payments.made")
    assert grants.may_publish("orders.created")
    assert grants.may_manage("read")
    assert not grants.may_manage("write")


@pytest.mark.parametrize(("name", "member"), [("key:shop-1", True), ("key:shop", False), ("jwt:key:shop-1", False)])
def test_members_are_matched_by_the_whole_name(name: str, member: bool) -> None:
    assert SHOP.has_member(name) is member


def test_the_admin_may_do_everything_and_the_others_less() -> None:
    rights = {
        each.name: (
            Grants([each]).may_publish("a"),
            Grants([each]).may_subscribe(">"),
            Grants([each]).may_read_events(">"),
            Grants([each]).may_handle_letters(">"),
            Grants([each]).may_manage("write"),
        )
        for each in BUILT_IN
    }
    assert rights == {
        "admin": (True, True, True, True, True),
        "operator": (False, False, True, True, True),
        "observer": (False, False, False, False, False),
        "publisher": (True, False, False, False, False),
        "subscriber": (False, True, False, False, False),
        "reader": (False, False, True, False, False),
    }
