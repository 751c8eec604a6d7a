"""Where the brokers that the router is measured beside are installed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

# Where packages put servers, and what is not on everybody's PATH.
_MORE = ("/usr/local/sbin", "/usr/sbin")


def server_on_path(name: str) -> Path | None:
    """Return a server's command, None when it is not installed."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_MORE]))
    return Path(found) if found else None
