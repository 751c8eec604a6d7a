"""The settings of a node, read for a command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cli.exits import ExitCode
from cli.failures import Failure

if TYPE_CHECKING:
    from router_node.config import Settings


def read_settings(path: Path | None, **overrides: str | int | None) -> Settings:
    """Read the settings as a node would. Raises Failure, a usage error, that lists all faults."""
    # Loaded here, so that publishing and subscribing need not wait for what checks settings.
    from router_node.config import ConfigError, load_settings

    try:
        return load_settings(path, **overrides)
    except ConfigError as error:
        faults = "".join(f"\n  {fault}" for fault in error.faults)
        raise Failure(f"the settings cannot be used:{faults}", "correct what is named", ExitCode.USAGE) from error
