"""Names of ephemeral subscriptions in the cluster: two live tails may have the same one, each on its own node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from router_client.spec import SubscriptionSpec

MARK = "@"  # no subscription's own name has one


def scoped(spec: SubscriptionSpec, node_id: str) -> SubscriptionSpec:
    """Return an ephemeral subscription under a name that is one in the cluster; a durable one as it is."""
    return spec if spec.durable else replace(spec, name=f"{spec.name}{MARK}{node_id}")


def read_scoped(name: str, body: Mapping[str, Any]) -> SubscriptionSpec:
    """Read the spec of a scoped subscription as another node sent it. Raises InvalidInput."""
    public = public_name(name)
    return replace(SubscriptionSpec.from_object(public, {**body, "name": public}), name=name)


def public_name(name: str) -> str:
    """Return the name that its subscriber gave a subscription."""
    return name.partition(MARK)[0]


def origin(name: str) -> str | None:
    """Return the node that a scoped subscription belongs to, None for another."""
    return name.partition(MARK)[2] or None
