"""Whether the cluster's events are stored: what the setting ``persist`` means to those who ask."""

from __future__ import annotations

from collections.abc import Mapping

from router_client.errors import NotStored

SETTING = 'persist = "all" (ER_PERSIST) on every node of the cluster'


class Storing:
    """Every event, with ``persist`` "all"; with "none" those alone that were promised to be."""

    def __init__(self, persist: str = "all") -> None:
        self.persist = persist

    @property
    def everything(self) -> bool:
        """Every event goes to the store."""
        return self.persist == "all"

    @property
    def refused_levels(self) -> Mapping[str, str]:
        """The levels of ``ack`` that cannot be had, each with the reason."""
        if self.everything:
            return {}
        return {"stored": f"stored is not offered: events are not stored here; ask for another level, or set {SETTING}"}

    def check(self) -> None:
        """Raise NotStored when there are no stored events to ask for."""
        if not self.everything:
            raise NotStored(f"events are not stored here; to have those to come stored, set {SETTING}")
