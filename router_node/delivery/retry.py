"""When a failed delivery is tried again."""

from __future__ import annotations

from collections.abc import Callable

from router_client.spec import RetryPolicy


def backoff_s(policy: RetryPolicy, attempt: int, random: Callable[[], float]) -> float:
    """Return the seconds to wait after delivery number ``attempt`` (from 1) failed; ``random`` gives 0 <= x < 1.

    Exponential, capped at ``policy.max_s``, then spread by the jitter fraction either way, so that what failed
    together does not come back together.
    """
    try:
        delay = min(policy.base_s * policy.factor ** (attempt - 1), policy.max_s)
    except OverflowError:
        delay = policy.max_s
    return float(delay * (1 + policy.jitter * (2 * random() - 1)))
