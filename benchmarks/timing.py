"""Microseconds per call: the best of several rounds, since everything else on the machine only adds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

ROUNDS = 7


def micros_per_call(call: Callable[[T], object], inputs: Sequence[T]) -> float:
    """Call ``call`` with every input, several times over, and return the fastest round's microseconds a call."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for value in inputs:
            call(value)
        best = min(best, time.perf_counter() - began)
    return best / len(inputs) * 1e6
