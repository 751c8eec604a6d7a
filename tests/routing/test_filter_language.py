from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_client.errors import InvalidInput
from router_node.routing.filter_language import compile_filter

GOLDEN = Path(__file__).parents[1] / "golden"
SHARED = Path(__file__).parents[3] / "shared" / "cases"
FOLDERS = [folder for folder in (GOLDEN, SHARED) if (folder / "filters.json").is_file()]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_case_matches_as_expected(folder: Path) -> None:
    cases = json.loads((folder / "filters.json").read_text())
    wrong = [c["id"] for c in cases if compile_filter(c["filter"]).matches(c["document"]) is not c["expected"]]

    assert len(cases) >= 200
    assert wrong == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_bad_filter_is_refused_with_the_path_of_its_fault(folder: Path) -> None:
    cases = json.loads((folder / "filters_rejected.json").read_text())
    wrong = []
    for case in cases:
        try:
            compile_filter(case["filter"])
            wrong.append((case["id"], "accepted"))
        except InvalidInput as error:
            if not (error.field or "").startswith("filter") or error.field != case.get("field", error.field):
                wrong.append((case["id"], str(error.field)))

    assert len(cases) >= 30
    assert wrong == []


def test_nesting_lists_and_conditions_are_bounded() -> None:
    deep: dict[str, Any] = {"a": 1}
    for _ in range(40):
        deep = {"$or": [deep]}

    with pytest.raises(InvalidInput, match="deeper than 32"):
        compile_filter(deep)
    with pytest.raises(InvalidInput, match="more than 500 conditions"):
        compile_filter({f"f{n}": n for n in range(501)})
    with pytest.raises(InvalidInput, match="at most 1000"):
        compile_filter({"$or": [{"a": 1}] * 1001})


def test_a_catastrophic_pattern_is_harmless_because_re2_runs_it() -> None:
    hopeless = compile_filter({"payload.s": {"$regex": "(a|a)*(a|a)*(a+)+$"}})

    assert hopeless.matches({"payload": {"s": "a" * 100_000 + "b"}}) is False


def test_equalities_are_what_an_index_may_probe_by() -> None:
    spec = {"source": "eu", "payload.n": {"$eq": 3}, "payload.m": {"$gt": 1}, "payload.x": None, "$or": [{"a": 1}]}

    assert compile_filter(spec).equalities == {"source": "eu", "payload.n": 3}


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
names = st.sampled_from(["a", "b", "0", "1", "payload"])
documents = st.dictionaries(
    names,
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3)),
    max_size=4,
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2))
conditions = st.recursive(
    st.one_of(
        values,
        *[st.fixed_dictionaries({op: values}) for op in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$exists")],
        *[st.fixed_dictionaries({op: st.lists(values, max_size=3)}) for op in ("$in", "$nin", "$all")],
        st.fixed_dictionaries({"$size": st.integers(0, 4)}),
        st.fixed_dictionaries({"$type": st.sampled_from(["string", "number", 3, 8])}),
        st.fixed_dictionaries({"$regex": st.sampled_from(["^a", "b$", ".", "[a-c]+"])}),
    ),
    lambda inner: st.fixed_dictionaries({"$elemMatch": st.dictionaries(names, inner, max_size=2)}),
    max_leaves=4,
)
paths = st.lists(names, min_size=1, max_size=3).map(".".join)
filters = st.recursive(
    st.dictionaries(paths, conditions, max_size=3),
    lambda inner: st.fixed_dictionaries(
        {"_": st.sampled_from(["$and", "$or", "$nor"]), "parts": st.lists(inner, min_size=1, max_size=3)}
    ).map(lambda d: {d["_"]: d["parts"]}),
    max_leaves=4,
)


@given(filters, documents)
def test_a_valid_filter_never_fails_on_a_document(spec: dict[str, Any], document: dict[str, Any]) -> None:
    assert compile_filter(spec).matches(document) in (True, False)


@given(filters, documents)
def test_nor_is_the_opposite(spec: dict[str, Any], document: dict[str, Any]) -> None:
    assert compile_filter({"$nor": [spec]}).matches(document) is not compile_filter(spec).matches(document)
