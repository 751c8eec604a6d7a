"""The seed of a run's random choices."""

from __future__ import annotations

import os
import secrets

SEED = int(os.environ.get("ER_TEST_SEED") or secrets.randbits(32))
"""ER_TEST_SEED, else a new one for each session of pytest."""
