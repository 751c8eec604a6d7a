"""What the documents name exists: paths of this repository and settings of the node."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGES, ROOT, name_of

CONFIG = ROOT / "router_node" / "config.py"
TOP_FOLDERS = {*PACKAGES, "tests", "docs", "examples", "benchmarks", "helm", ".ci"}

_FENCED = re.compile(r"^\s*(```+|~~~+).*?^\s*\1\s*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_PATH = re.compile(r"[\w.*-]+(/[\w.*-]+)+/?|[\w.-]+/")
_SOURCE = re.compile(r"\.(py|lua|sql|md|toml|ya?ml)$")
_SETTING = re.compile(r"\bER_[A-Z0-9_]*[A-Z0-9]\b(?!_?\*)")


def documents() -> list[Path]:
    """Return README.md, CONTRIBUTING.md and everything under docs/."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md") if (ROOT / name).exists()]
    return [*top, *sorted((ROOT / "docs").rglob("*.md"))]


def repository_files() -> set[str]:
    """Return the paths of all files in the top folders, from the repository's root."""
    files = (path for folder in TOP_FOLDERS for path in (ROOT / folder).rglob("*"))
    return {name_of(path) for path in files if path.is_file()}


def paths_named(text: str) -> set[str]:
    """Return the words in inline code that name a path of this repository.

    That is one that begins in a top folder, or a source file with a folder before it (``flow/match.py``).
    """
    words = {word for _, code in _CODE.findall(_FENCED.sub("", text)) for word in code.split()}
    bare = {re.split(r"::|:\d", word, maxsplit=1)[0].strip("\"'(),;") for word in words}
    paths = {word.removeprefix("./") for word in bare if _PATH.fullmatch(word.removeprefix("./"))}
    return {path for path in paths if path.split("/")[0] in TOP_FOLDERS or _SOURCE.search(path)}


def is_there(path: str, files: Iterable[str]) -> bool:
    """Tell whether a file or folder fits ``path``, whose stars stand for anything and which may leave out its start."""
    pattern = re.escape(path.rstrip("/")).replace(r"\*", ".*")
    start = "" if path.split("/")[0] in TOP_FOLDERS else "(.*/)?"
    fits = re.compile(f"{start}{pattern}(/.*)?")
    return any(fits.fullmatch(file) for file in files)


def settings_defined(config: str) -> set[str]:
    """Return the ER_ variables that a settings module understands: by literal name, or as ``ER_`` and a field's."""
    fields = {
        node.target.id
        for node in ast.walk(ast.parse(config))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    return {*_SETTING.findall(config), *(f"ER_{field.upper()}" for field in fields)}


def settings_missing(text: str, defined: set[str]) -> set[str]:
    """Return the ER_ variables of a document that nothing defines; the parts of ``ER_A__B`` are fields each."""
    return {
        name
        for name in _SETTING.findall(text)
        if name not in defined and any(f"ER_{part}" not in defined for part in name.removeprefix("ER_").split("__"))
    }


def test_every_path_in_the_documents_exists() -> None:
    files = repository_files()
    missing = [
        f"{name_of(document)}: {path}"
        for document in documents()
        for path in sorted(paths_named(document.read_text(encoding="utf-8")))
        if not is_there(path, files)
    ]
    assert not missing, "\n".join(["documents name paths that do not exist:", *missing])


def test_every_setting_in_the_documents_exists() -> None:
    # The design comes before the node: until there is a config.py, any name may stand in a document.
    if not CONFIG.exists():
        return
    folders = [
        ROOT / "tests" / name for name in ("support", "delivery", "edges")
    ]  # where the tests' own variables are read
    support = "\n".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.glob("*.py"))
    defined = settings_defined(CONFIG.read_text(encoding="utf-8")) | set(_SETTING.findall(support))
    missing = [
        f"{name_of(document)}: {name}"
        for document in documents()
        for name in sorted(settings_missing(document.read_text(encoding="utf-8"), defined))
    ]
    assert not missing, "\n".join(["documents name settings that router_node/config.py does not have:", *missing])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see `docs/guarantees.md` and `router_node/flow/`", {"docs/guarantees.md", "router_node/flow/"}),
        ("`flow/match.py`, `./tests/support/ports.py:12`", {"flow/match.py", "tests/support/ports.py"}),
        ("`tests/chaos/test_a.py::test_b` and `docs/**/*.md`", {"tests/chaos/test_a.py", "docs/**/*.md"}),
        ("run `pytest tests/chaos -m slow`", {"tests/chaos"}),
        ("`/v1/events`, `application/json`, `redis://host/0`, `er:nodes`, `a/b`", set()),
        ("```\ncat docs/none.md\n`docs/none.md`\n```\n", set()),
        ("docs/none.md without backticks", set()),
    ],
)
def test_which_words_are_paths(text: str, expected: set[str]) -> None:
    assert paths_named(text) == expected


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("docs/a.md", True),
        ("docs/", True),
        ("docs/**/*.md", True),
        ("flow/match.py", True),
        ("docs/b.md", False),
        ("flow/none.py", False),
        ("docs/a.m", False),
        ("low/match.py", False),
    ],
)
def test_which_paths_are_there(path: str, there: bool) -> None:
    assert is_there(path, {"docs/a.md", "docs/deep/c.md", "router_node/flow/match.py"}) is there


def test_which_settings_are_missing() -> None:
    defined = settings_defined('class Node:\n    redis_url: str\n    webhook: W\n    timeout_s: int\nX = "ER_LISTEN"\n')
    text = "`ER_REDIS_URL`, `ER_LISTEN`, `ER_WEBHOOK__TIMEOUT_S`, `ER_*`, `ER_WEBHOOK_*`, `ER_NONE`, `ER_WEBHOOK__NONE`"
    assert settings_missing(text, defined) == {"ER_NONE", "ER_WEBHOOK__NONE"}
