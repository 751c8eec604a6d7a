"""The numbered .sql files of a database, in the order they are applied."""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple


class Migration(NamedTuple):
    """One step of the schema."""

    name: str
    sql: str


def migrations_of(package: str) -> list[Migration]:
    """Return the migrations in ``<package>/migrations``, by name."""
    folder = files(package) / "migrations"
    found = [Migration(f.name.removesuffix(".sql"), f.read_text()) for f in folder.iterdir() if f.name.endswith(".sql")]
    return sorted(found)
