"""Where the rules look: the repository and the files of its five packages."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("partitioning", "router_client", "stores", "router_node", "cli")
_SUFFIXES = {".py", ".lua", ".sql"}


def source_files() -> list[Path]:
    """Return every Python, Lua and SQL file of the packages."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.suffix in _SUFFIXES)


def name_of(path: Path) -> str:
    """Return the path as documents write it, from the repository's root."""
    return path.relative_to(ROOT).as_posix()
