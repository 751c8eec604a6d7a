"""The wheel holds all that the packages read, and every dependency has its reason on record."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

from tests.architecture.sources import PACKAGES, ROOT, name_of, source_files

DEPENDENCIES = ROOT / "docs" / "dependencies.md"


def wheel_files() -> set[str]:
    """Return what the wheel would hold, without building it."""
    return {Path(file.distribution_path).as_posix() for file in WheelBuilder(str(ROOT)).recurse_included_files()}


def requirements() -> set[str]:
    """Return the names of all dependencies in pyproject.toml, those of extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    listed = [*project["dependencies"], *itertools.chain.from_iterable(extras)]
    return {re.split(r"[\[<>=!~; ]", entry, maxsplit=1)[0] for entry in listed}


def test_the_wheel_holds_every_source_file() -> None:
    sources = {name_of(path) for path in source_files()}
    assert sources
    assert sorted(sources - wheel_files()) == []


def test_the_wheel_says_it_is_typed() -> None:
    assert {f"{package}/py.typed" for package in PACKAGES} <= wheel_files()


def test_the_wheel_holds_nothing_but_the_packages() -> None:
    assert {name.split("/")[0] for name in wheel_files()} == set(PACKAGES)


def test_every_dependency_has_its_reason() -> None:
    # The skeleton came before its documents: without the file there is nothing to compare.
    if not DEPENDENCIES.exists():
        return
    text = DEPENDENCIES.read_text(encoding="utf-8").lower()
    missing = sorted(name for name in requirements() if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text))
    assert not missing, f"docs/dependencies.md does not mention {', '.join(missing)}"
