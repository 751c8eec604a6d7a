"""``event-router`` that kills itself, as a crash would, before or after the n-th time a step of the growth is taken.

ER_TEST_CRASH is ``<step>:<before|after>:<n>``, a step being a method of partitioning.growth.Growth. With ``refused``
the node lives, and finds Redis away the first n times: another node takes the step before it.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from cli.main import run
from partitioning.errors import RedisUnavailable
from partitioning.growth import Growth


def _crash_at(step: str, moment: str, number: int) -> None:
    real: Callable[..., Awaitable[Any]] = getattr(Growth, step)
    calls = count(1)

    @functools.wraps(real)
    async def crashing(*args: Any, **kwargs: Any) -> Any:
        call = next(calls)
        if moment == "refused" and call <= number:
            raise RedisUnavailable("refused by the test")
        here = call == number and moment != "refused"
        if here and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await real(*args, **kwargs)
        if here:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(Growth, step, crashing)


if __name__ == "__main__":
    _step, _moment, _number = os.environ["ER_TEST_CRASH"].split(":")
    _crash_at(_step, _moment, int(_number))
    run()
