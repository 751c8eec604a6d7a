"""W3C Trace Context: the standard's own cases, and what a router adds: children and restarts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router_client.trace_context import RANDOM, SAMPLED, TraceContext, child, extract, outgoing, start
from tests.router_client.shared_cases import case_files, load

hexadecimal = "0123456789abcdef"
contexts = st.builds(
    TraceContext,
    st.text(hexadecimal, min_size=32, max_size=32).filter(lambda digits: set(digits) != {"0"}),
    st.text(hexadecimal, min_size=16, max_size=16).filter(lambda digits: set(digits) != {"0"}),
    st.integers(0, 3),
    st.dictionaries(
        st.from_regex(r"[a-z0-9][a-z0-9_\-*/@]{0,20}", fullmatch=True),
        st.from_regex(r"[ -+\--<>-~]{0,20}[!-+\--<>-~]", fullmatch=True),
        max_size=32,
    ).map(lambda members: tuple(members.items())),
)


def complaint(case: Mapping[str, Any]) -> str | None:
    headers = [(name, value) for name, value in case["headers"]]
    received = extract(headers)
    sent = [dict(outgoing(child(extract(headers)))) for _ in range(case["requests"])]
    parents = [re.fullmatch("00-([0-9a-f]{32})-([0-9a-f]{16})-0[0-3]", each["traceparent"]) for each in sent]
    if not all(parents):
        return f"sends {sent}"
    traces = {match[1] for match in parents if match}
    if len({match[2] for match in parents if match}) != case["requests"]:
        return "parent ids repeat"
    if case["traceparent"] == "continue" and (received is None or traces != {case["trace_id"]}):
        return "does not continue"
    if case["traceparent"] == "restart" and (received is not None or len(traces) != case["requests"]):
        return "does not restart"
    if "flags" in case and {each["traceparent"][-2:] for each in sent} != {case["flags"]}:
        return f"flags in {sent}"
    want = ",".join(f"{key}={value}" for key, value in case["tracestate"])
    return None if sent[0].get("tracestate", "") == want else f"tracestate {sent[0].get('tracestate')!r}"


@pytest.mark.parametrize("path", case_files("trace_context.json"))
def test_standard_cases(path: Path) -> None:
    cases = load(path)["cases"]
    failures = [f"{case['id']} {case['test']}: {problem}" for case in cases if (problem := complaint(case))]
    assert failures == []
    assert len(cases) >= 30


@settings(deadline=None)
@given(contexts)
def test_a_context_survives_the_wire(context: TraceContext) -> None:
    assert extract(outgoing(context)) == context


@settings(deadline=None)
@given(contexts)
def test_a_child_stays_in_the_trace_with_an_id_of_its_own(context: TraceContext) -> None:
    offspring = child(context)
    assert (offspring.trace_id, offspring.flags, offspring.tracestate) == (
        context.trace_id,
        context.flags,
        context.tracestate,
    )
    assert offspring.parent_id != context.parent_id


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["traceparent", "tracestate"]), st.text(max_size=70)), max_size=4))
def test_whatever_comes_in_what_goes_out_is_valid(headers: list[tuple[str, str]]) -> None:
    context = child(extract(headers))
    assert extract(outgoing(context)) == context


def test_a_new_trace_says_that_its_id_is_random_and_nothing_was_sampled() -> None:
    assert start().flags == RANDOM
    assert start().flags & SAMPLED == 0
    assert start().trace_id != start().trace_id
