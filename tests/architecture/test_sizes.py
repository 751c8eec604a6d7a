"""Files, functions and Protocols stay small enough to hold in one's head."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.exceptions import ALLOWED
from tests.architecture.sources import name_of, source_files

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_PROTOCOL_METHODS = 8

Function = ast.FunctionDef | ast.AsyncFunctionDef


def offenders(name: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield each thing in a source file that is too large: what it is called, and its size against the limit."""
    lines = len(text.splitlines())
    if lines > MAX_FILE_LINES:
        yield name, f"{lines} lines, at most {MAX_FILE_LINES}"
    if name.endswith(".py"):
        for qualified, node in definitions(ast.parse(text, name)):
            if problem := _problem(node):
                yield f"{name}::{qualified}", problem


def definitions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """Yield every function and class below ``tree`` with its dotted name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function | ast.ClassDef):
            yield f"{prefix}{node.name}", node
            yield from definitions(node, f"{prefix}{node.name}.")
        else:
            yield from definitions(node, prefix)


def _problem(node: Function | ast.ClassDef) -> str | None:
    if isinstance(node, ast.ClassDef):
        methods = sum(isinstance(member, Function) for member in node.body)
        if _is_protocol(node) and methods > MAX_PROTOCOL_METHODS:
            return f"{methods} methods, at most {MAX_PROTOCOL_METHODS}"
        return None
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    return f"{lines} lines, at most {MAX_FUNCTION_LINES}" if lines > MAX_FUNCTION_LINES else None


def _is_protocol(node: ast.ClassDef) -> bool:
    bases = (base.value if isinstance(base, ast.Subscript) else base for base in node.bases)
    return any(ast.unparse(base).rpartition(".")[2] == "Protocol" for base in bases)


def found() -> dict[str, str]:
    return {name: problem for path in source_files() for name, problem in offenders(name_of(path), read(path))}


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_nothing_is_too_large() -> None:
    problems = [f"{name}: {problem}" for name, problem in found().items() if name not in ALLOWED]
    assert not problems, "\n".join(["too large:", *problems])


def test_every_exception_is_still_needed() -> None:
    assert sorted(ALLOWED.keys() - found().keys()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\n" * 400, {}),
        ("x = 1\n" * 401, {"a.py": "401 lines, at most 400"}),
        ("def f():\n" + "    x\n" * 59, {}),
        ("class C:\n  async def f(self):\n" + "    x\n" * 60, {"a.py::C.f": "61 lines, at most 60"}),
        ("if x:\n  def f():\n" + "    x\n" * 60, {"a.py::f": "61 lines, at most 60"}),
        ("class P(Protocol[T]):\n" + "  def f(self): ...\n" * 9, {"a.py::P": "9 methods, at most 8"}),
        ("class P(typing.Protocol):\n" + "  async def f(self): ...\n" * 9, {"a.py::P": "9 methods, at most 8"}),
        ("class P(Protocol):\n" + "  def f(self): ...\n" * 8, {}),
        ("class C:\n" + "  def f(self): ...\n" * 9, {}),
    ],
)
def test_what_counts_as_too_large(text: str, expected: dict[str, str]) -> None:
    assert dict(offenders("a.py", text)) == expected


def test_lua_and_sql_count_by_lines_only() -> None:
    assert dict(offenders("a.lua", "-- x\n" * 401)) == {"a.lua": "401 lines, at most 400"}
