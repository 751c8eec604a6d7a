"""Case files: the golden copies of this repository, and the shared ones beside the checkout where they are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[2]


def case_files(name: str) -> list[Any]:
    """Return one parameter for each existing file of that name."""
    candidates = {"golden": _ROOT / "tests" / "golden" / name, "shared": _ROOT.parent / "shared" / "cases" / name}
    return [pytest.param(path, id=where) for where, path in candidates.items() if where == "golden" or path.exists()]


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
