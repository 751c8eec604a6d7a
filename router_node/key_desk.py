"""What operators ask of API keys; see access_contract.KeyDesk."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from router_client.errors import Conflict, InvalidInput, NotFound
from router_client.event import parse_time
from router_client.json_input import only
from router_node.access_contract import Asker
from router_node.audit_trail import AuditTrail, Deed
from router_node.policy_desk import check_cover
from router_node.replay_desk import moment_text
from router_node.security.api_key import ApiKey, digest_of, new_id, new_secret, text_of
from router_node.security.directory import MAX_KEYS, Directory
from router_node.security.directory_sync import DirectorySync
from router_node.security.policy_object import check_name
from router_node.security.principal import Principal
from router_node.store_calls import stored
from stores.access import KEY, AccessObject, AccessStore
from stores.moments import micros

MAX_POLICIES_OF_A_KEY = 50
LONGEST_S = 10 * 366 * 86_400
LONGEST_GRACE_S = 30 * 86_400
REVOKE_TRIES = 5


class KeyDesk:
    """API keys of the cluster; any node answers."""

    def __init__(self, store: AccessStore, directory: Directory, sync: DirectorySync, trail: AuditTrail) -> None:
        self._store = store
        self._directory = directory
        self._sync = sync
        self._trail = trail

    async def page(self, limit: int, after: str) -> tuple[list[dict[str, Any]], str | None]:
        """See access_contract.KeyDesk."""
        found = await stored(self._store.of_kind(KEY, limit + 1, after))
        shown = [self._shown(ApiKey.from_object(each.body)) for each in found[:limit] if each.body is not None]
        return shown, found[limit - 1].name if len(found) > limit else None

    async def create(self, by: Asker, body: object) -> dict[str, Any]:
        """See access_contract.KeyDesk."""
        name, policies, expires_at_us = self._wanted(body)
        await stored(self._sync.look())
        self._check_may_give(by, name, policies)
        if self._directory.keys >= MAX_KEYS:
            self._directory.outlived(self._trail.now_us())
        if self._directory.keys >= MAX_KEYS:
            raise Conflict(f"there are {MAX_KEYS} keys, as many as there may be; revoke some first")
        secret = new_secret()
        key = ApiKey(
            id=new_id(),
            name=name,
            digest=digest_of(secret),
            policies=policies,
            created_at_us=self._trail.now_us(),
            created_by=by.access.principal.name,
            expires_at_us=expires_at_us,
        )
        await self._change(by, "key.create", AccessObject(KEY, key.id, 0, None), key)
        return {**self._shown(key), "key": text_of(key.id, secret)}

    async def rotate(self, by: Asker, key_id: str, body: object) -> dict[str, Any]:
        """See access_contract.KeyDesk."""
        grace_s = _seconds(only(body, "grace_s"), "grace_s", 0, LONGEST_GRACE_S) or 0
        await stored(self._sync.look())
        there, key = await self._get(key_id)
        now_us, secret = self._trail.now_us(), new_secret()
        if key.state(now_us) != "live":
            raise Conflict(f"key {key_id} is {key.state(now_us)}; create another", field="id")
        self._check_may_give(by, key.name, key.policies)
        rotated = replace(
            key,
            digest=digest_of(secret),
            rotated_at_us=now_us,
            former_digest=key.digest,
            former_until_us=now_us + int(grace_s * 1e6),
        )
        await self._change(by, "key.rotate", there, rotated)
        return {**self._shown(rotated), "key": text_of(key_id, secret)}

    async def revoke(self, by: Asker, key_id: str) -> dict[str, Any]:
        """See access_contract.KeyDesk. Whatever else is done to the key meanwhile, it ends."""
        for attempt in range(REVOKE_TRIES):
            there, key = await self._get(key_id)
            if key.revoked_at_us is not None:
                return self._shown(key)
            revoked = replace(key, revoked_at_us=self._trail.now_us())
            try:
                await self._change(by, "key.revoke", there, revoked, key_id)
            except Conflict:
                if attempt == REVOKE_TRIES - 1:
                    raise
            else:
                return self._shown(revoked)
        raise AssertionError  # the last try returns or raises

    async def _get(self, key_id: str) -> tuple[AccessObject, ApiKey]:
        there = await stored(self._store.get(KEY, key_id))
        if there.body is None:
            raise NotFound(f"no key {key_id}; GET /v1/keys lists them", field="id")
        return there, ApiKey.from_object(there.body)

    async def _change(self, by: Asker, action: str, there: AccessObject, key: ApiKey, *revoked: str) -> None:
        told = {"name": key.name, "policies": list(key.policies)}
        deed = Deed(by.access.principal.name, action, key.id, peer=by.peer, details=told)
        changed = there._replace(body=key.to_object())
        revision = await stored(self._store.put(changed, key.ends_at_us(), self._trail.entry(deed)))
        if not revision:
            raise Conflict(f"key {key.id} was changed just now; look at it again", field="id")
        await self._sync.changed(revision, *revoked)

    def _wanted(self, body: object) -> tuple[str, tuple[str, ...], int | None]:
        given = only(body, "name", "policies", "expires_at", "expires_in_s")
        name, policies = check_name(given.get("name")), given.get("policies")
        if not isinstance(policies, list) or len(policies) > MAX_POLICIES_OF_A_KEY:
            raise InvalidInput(f"a list of at most {MAX_POLICIES_OF_A_KEY} names of policies", field="policies")
        names = tuple(dict.fromkeys(check_name(each, "policies") for each in policies))
        now_us = self._trail.now_us()
        seconds = _seconds(given, "expires_in_s", 1, LONGEST_S)
        if given.get("expires_at") is None:
            return name, names, None if seconds is None else now_us + int(seconds * 1e6)
        expires_at_us = micros(parse_time(given["expires_at"], "expires_at"))
        if seconds is not None or expires_at_us <= now_us:
            raise InvalidInput("a time to come, and not with expires_in_s", field="expires_at")
        return name, names, expires_at_us

    def _check_may_give(self, by: Asker, name: str, policies: tuple[str, ...]) -> None:
        """Check what a key of this name would be allowed: by the policies it names, and by those that name it."""
        for each in policies:
            if self._directory.policy(each) is None:
                raise InvalidInput(f"no policy is named {each}; GET /v1/policies lists them", field="policies")
        check_cover(by.access, self._directory.rights_of(Principal(f"key:{name}", policies))[0].policies)

    def _shown(self, key: ApiKey) -> dict[str, Any]:
        now_us = self._trail.now_us()
        return {
            "id": key.id,
            "name": key.name,
            "policies": list(key.policies),
            "state": key.state(now_us),
            "created_at": _moment(key.created_at_us),
            "created_by": key.created_by,
            "expires_at": _moment(key.expires_at_us),
            "revoked_at": _moment(key.revoked_at_us),
            "rotated_at": _moment(key.rotated_at_us),
            "former_until": _moment(key.former_until_us if key.former_until_us > now_us else None),
        }


def _seconds(body: dict[str, Any], name: str, low: float, high: float) -> float | None:
    value = body.get(name)
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high
    ):
        raise InvalidInput(f"a number from {low} to {high}, in seconds", field=name)
    return value


def _moment(time_us: int | None) -> str | None:
    return None if time_us is None else moment_text(time_us)
