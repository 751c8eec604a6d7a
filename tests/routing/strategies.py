"""Filters and documents of all kinds, small enough to meet often."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

texts = st.text(max_size=3) | st.sampled_from(["a", "ab", "10.0.0.1", "\ud800"])
finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers() | st.integers(-2, 2) | finite | texts
names = st.sampled_from(["a", "b", "0", "1", "payload"])
documents = st.dictionaries(
    names,
    st.recursive(
        scalars | st.just(float("inf")),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    ),
    max_size=4,
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2))
lists = st.lists(values, max_size=3)


def operator(name: str, operands: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: operands})


operators = st.one_of(
    *[operator(name, values) for name in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$exists")],
    *[operator(name, lists) for name in ("$in", "$nin", "$all")],
    operator("$size", st.integers(0, 4)),
    operator("$mod", st.sampled_from([[2, 0], [-3, 1], [1.5, 0]])),
    operator("$type", st.sampled_from(["string", "number", 3, 8, ["int", "double"], "long"])),
    operator("$prefix", texts),
    operator("$suffix", texts),
    operator("$cidr", st.sampled_from(["10.0.0.0/8", "::/0"])),
    st.fixed_dictionaries(
        {"$regex": st.sampled_from(["^a", "b$", ".", "[a-c]+"]), "$options": st.sampled_from(["", "i", "msx"])}
    ),
)
paths = st.lists(names, min_size=1, max_size=3).map(".".join)


def filters_of(conditions: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(paths, conditions, max_size=2)


combined = st.recursive(
    operators,
    lambda inner: (
        operator("$not", inner)
        | operator("$elemMatch", inner | filters_of(inner | values))
        | operator("$all", st.lists(operator("$elemMatch", inner), min_size=1, max_size=2))
        | st.tuples(inner, inner).map(lambda both: both[0] | both[1])
    ),
    max_leaves=4,
)
conditions = combined | values
filters = st.recursive(
    filters_of(conditions),
    lambda inner: st.tuples(
        st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner, min_size=1, max_size=3), filters_of(conditions)
    ).map(lambda parts: {parts[0]: parts[1], **parts[2]}),
    max_leaves=4,
)

narrow_scalars = st.sampled_from([None, True, False, 0, 1, 1.0, 2, 2.5, -1, "a", "b", "10.0.0.1", 2**53, 2**53 + 1])
narrow_paths = st.sampled_from(["a", "b", "a.b", "a.0", "b.a"])
comparisons = st.dictionaries(
    st.sampled_from(["$gt", "$gte", "$lt", "$lte", "$eq", "$ne"]), narrow_scalars, min_size=1, max_size=3
)
choices = operator("$in", st.lists(narrow_scalars, max_size=4))
indexable = st.dictionaries(narrow_paths, narrow_scalars | comparisons | choices, min_size=1, max_size=3)
conjunctions = st.recursive(
    indexable,
    lambda inner: st.tuples(st.lists(inner, min_size=1, max_size=3), indexable).map(
        lambda parts: {"$and": parts[0], **parts[1]}
    ),
    max_leaves=3,
)
narrow_values = st.recursive(
    narrow_scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "0"]), inner, max_size=2),
    max_leaves=6,
)
narrow_documents = st.dictionaries(st.sampled_from(["a", "b"]), narrow_values, max_size=2)
