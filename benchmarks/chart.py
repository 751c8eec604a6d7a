"""Draws what ``benchmarks.end_to_end`` measured as a bar chart: ``python -m benchmarks.chart``.

An SVG that is read in light and in dark: its colours follow the reader's preference. Bars are medians, the thin line on
each runs from the lowest round to the highest.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from textwrap import wrap
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import orjson

from benchmarks.report import RESULTS
from benchmarks.systems import LOOP, OURS, PRIORITIES

OUT = Path("docs") / "end_to_end.svg"
WIDTH, LEFT, RIGHT, TOP = 860, 250, 90, 62
ROW, BAR, LINE = 30, 18, 16
FOOTER_CHARS = 130
STORES = {OURS, PRIORITIES, LOOP}
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-size: 16px; font-weight: 600; }
  .small { font-size: 11px; fill: #59636e; }
  .bar { fill: #8c959f; } .stores { fill: #54789c; } .ours { fill: #0969da; }
  .spread { stroke: #1f2328; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .small { fill: #9198a1; }
    .bar { fill: #6e7681; } .stores { fill: #5f86ad; } .ours { fill: #4493f8; }
    .spread { stroke: #e6edf3; }
  }
"""


class Bar(NamedTuple):
    """Events a second of one system over all rounds."""

    system: str
    lowest: float
    middle: float
    highest: float


def bars(runs: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """Return a bar for each system, the fastest first."""
    rates: dict[str, list[float]] = {}
    for run in runs:
        rates.setdefault(run["system"], []).append(run["events_per_s"])
    found = [Bar(system, min(each), median(each), max(each)) for system, each in rates.items()]
    return sorted(found, key=lambda bar: -bar.middle)


def footer(result: Mapping[str, Any]) -> list[str]:
    """Say what was measured on, with what and when."""
    machine = result["machine"]
    on = f"{machine['cores']} cores, {machine['processor']}, Python {machine['python']}, {machine['date']}."
    used = ", ".join(f"{name}\N{NO-BREAK SPACE}{version}" for name, version in result["versions"].items())
    return wrap(f"{on} {used}", FOOTER_CHARS, break_on_hyphens=False)


def draw(result: Mapping[str, Any]) -> str:
    """Return the chart as SVG."""
    found = bars(result["runs"])
    rounds = len(result["runs"]) // len(found)
    below = footer(result)
    height = TOP + ROW * len(found) + LINE * len(below) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title">',
        '<title id="title">Events a second, end to end</title>',
        f"<style>{STYLE}</style>",
        _text(12, 24, "Events a second, from the first publish to the last acknowledgement", "title"),
        _text(12, 43, f"medians of {rounds} rounds, lowest to highest; in blue: every event stored in PostgreSQL"),
        *_rows(found),
        *(_text(12, TOP + ROW * len(found) + 14 + LINE * number, line) for number, line in enumerate(below)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _rows(found: Sequence[Bar]) -> Iterator[str]:
    scale = (WIDTH - LEFT - RIGHT) / max(bar.highest for bar in found)
    for number, bar in enumerate(found):
        top = TOP + ROW * number
        middle, width = top + BAR / 2, bar.middle * scale
        low, high = LEFT + bar.lowest * scale, LEFT + bar.highest * scale
        kind = "ours" if bar.system == OURS else "stores" if bar.system in STORES else "bar"
        yield f'<text x="{LEFT - 8}" y="{middle + 4.5:g}" text-anchor="end">{escape(bar.system)}</text>'
        yield f'<rect class="{kind}" x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR}" rx="2"/>'
        yield f'<line class="spread" x1="{low:.1f}" x2="{high:.1f}" y1="{middle:g}" y2="{middle:g}"/>'
        yield f'<text x="{max(high, LEFT + width) + 8:.1f}" y="{middle + 4.5:g}">{bar.middle:,.0f}</text>'


def _text(x: int, y: int, text: str, kind: str = "small") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>'


def main() -> None:
    """Read the JSON, write the SVG."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chart", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS / "end_to_end.json", help="JSON file (%(default)s)")
    parser.add_argument("--out", type=Path, default=OUT, help="SVG file (%(default)s)")
    chosen = parser.parse_args()
    chosen.out.write_text(draw(orjson.loads(chosen.results.read_bytes())), encoding="utf-8")
    print(f"{chosen.out} is drawn")


if __name__ == "__main__":
    main()
