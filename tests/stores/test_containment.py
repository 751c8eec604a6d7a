"""Containment in Python against PostgreSQL's own."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stores.containment import contains

# The wide ones are where a double and an integer are the same to Python and different numbers as written.
WIDE = [2**53, 2**53 + 1, float(2**53), 2**63, float(2**63), 9223372036854776000, 2**64 - 1, 1e16, 10**16, -0.0, 1e300]
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, 1.0, 1.5])
    | st.sampled_from(WIDE)
    | st.sampled_from(["", "a", "b"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=6,
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(values, values), min_size=1, max_size=60))
async def test_it_means_what_postgresql_means(database_url: str, pairs: list[tuple[Any, Any]]) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(
            "SELECT w::jsonb @> p::jsonb AS answer FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS t(w, p, n)"
            " ORDER BY n",
            [json.dumps(whole) for whole, _ in pairs],
            [json.dumps(part) for _, part in pairs],
        )
    finally:
        await connection.close()

    wrong = [pair for pair, row in zip(pairs, rows, strict=True) if contains(*pair) is not row["answer"]]
    assert wrong == []
