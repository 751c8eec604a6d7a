"""What a node says of itself at /metrics."""

from __future__ import annotations

import aiohttp


async def metrics(http: aiohttp.ClientSession) -> dict[str, float]:
    """Return each metric without labels by its name, counters without their ending."""
    page = await (await http.get("/metrics")).text()
    lines = (line.split() for line in page.splitlines() if line and not line.startswith("#"))
    return {name.removesuffix("_total"): float(value) for name, value in lines if "{" not in name}
