"""A forest as SVG: labels, intervals, hollow marks of what was assumed, and the stamp of the tier.

Colours and fonts come from the page's style sheet, so that one drawing serves light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from evalkit.show.style import STAMPS

from . import register, tiers

WIDTH, EDGE = 380, 10  # units of the drawing: pixels on a phone
TOP, ROW, FOOT = 34, 50, 90
NUMBERS = 118  # room for an interval, right of its effect


@dataclass(frozen=True)
class Row:
    label: str
    claim: register.Claim
    low: float
    high: float
    truth: register.Claim | None

    def __str__(self) -> str:
        assumed = f", assumed {self.truth.display}" if self.truth else ""
        return f"{self.label}: {self.claim.display} ({self.claim.interval}){assumed}"


def finding(rows: Sequence[Row]) -> str:
    """What the intervals say of zero."""
    below, above = sum(row.high < 0 for row in rows), sum(row.low > 0 for row in rows)
    if not below + above:
        return "Every interval holds zero"
    return f"Intervals below zero: {below} of {len(rows)}; above: {above}"


def draw(rows: Sequence[Row], links: Sequence[str], left: str, right: str) -> str:
    """The drawing is one image with a text of its own; the numbers in it are links beside it."""
    tier = rows[0].claim.provenance
    told = f"{finding(rows)}. {'; '.join(map(str, rows))}. {rows[0].claim.unit}, {STAMPS[tier]}."
    height = TOP + ROW * len(rows) + FOOT
    marks = [*_watermark(rows), *_axis(rows), *_effects(rows), *_words(rows, left, right)]
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}">'
        f'<g role="img" aria-label="{escape(told)}">{"".join(marks)}</g>'
        f"{''.join(_numbers(rows, links))}</svg>"
    )


def _text(x: float, y: float, words: str, kind: str = "", more: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{more}>{escape(words)}</text>'


def _line(kind: str, x1: float, x2: float, y1: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>'


def _range(rows: Sequence[Row]) -> tuple[float, float]:
    """From the least to the greatest of what is drawn, zero too, and a little more."""
    truths = [row.truth.value for row in rows if row.truth]
    points = [0.0, *truths, *(end for row in rows for end in (row.low, row.high))]
    margin = 0.04 * (max(points) - min(points))
    return min(points) - margin, max(points) + margin


def _at(x: float, rows: Sequence[Row]) -> float:
    low, high = _range(rows)
    return EDGE + (WIDTH - 2 * EDGE) * (x - low) / (high - low)


def ticks(low: float, high: float) -> list[str]:
    """Five round numbers at the most, with zero among them where it lies between the two."""
    size = 10 ** math.floor(math.log10((high - low) / 5))
    step = next(k * size for k in (1, 2, 5, 10) if (high - low) / (k * size) <= 5)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    steps = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [f"{i * step:.{digits}f}" for i in steps]


def _axis(rows: Sequence[Row]) -> Iterator[str]:
    floor = TOP + ROW * len(rows)
    yield _line("zero", _at(0, rows), _at(0, rows), TOP - 8, floor)
    yield _line("axis", EDGE, WIDTH - EDGE, floor, floor)
    for tick in ticks(*_range(rows)):
        x = _at(float(tick), rows)
        yield _line("axis", x, x, floor, floor + 4)
        yield _text(x, floor + 17, tick.replace("-", "−"), "middle quiet")


def _effects(rows: Sequence[Row]) -> Iterator[str]:
    for i, row in enumerate(rows):
        y = TOP + ROW * i + 33
        yield _text(EDGE, y - 15, row.label)
        yield _line("interval", _at(row.low, rows), _at(row.high, rows), y, y)
        yield f'<circle class="effect" cx="{_at(row.claim.value, rows):.1f}" cy="{y}" r="5"/>'
        if row.truth:
            yield f'<circle class="truth" cx="{_at(row.truth.value, rows):.1f}" cy="{y}" r="5"/>'


def _words(rows: Sequence[Row], left: str, right: str) -> Iterator[str]:
    floor, tier, unit = TOP + ROW * len(rows), rows[0].claim.provenance, rows[0].claim.unit
    hollow = "; hollow: assumed" if any(row.truth for row in rows) else ""
    yield _text(EDGE, 14, finding(rows), "finding")
    yield _text(EDGE, floor + 37, f"← {left}" if left else "", "quiet")
    yield _text(WIDTH - EDGE, floor + 37, f"{right} →" if right else "", "end quiet")
    yield _text(EDGE, floor + 58, f"{unit}, 95% intervals{hollow}", "quiet")
    yield _text(EDGE, floor + 78, STAMPS[tier], "stamp")


def _watermark(rows: Sequence[Row]) -> Iterator[str]:
    if rows[0].claim.provenance == "synthetic":
        x, y = WIDTH / 2, TOP + ROW * len(rows) / 2 + 18
        yield _text(x, y, "SYNTHETIC", "watermark", f' transform="rotate(-16 {x:.1f} {y:.1f})"')


def _numbers(rows: Sequence[Row], links: Sequence[str]) -> Iterator[str]:
    for i, (row, link) in enumerate(zip(rows, links, strict=True)):
        made = f"{tiers.TIERS[row.claim.provenance].label}; made in {row.claim.notebook}"
        y, interval = TOP + ROW * i + 18, str(row.claim.interval)
        yield (
            f'<a href="{escape(link)}"><title>{escape(f"{row}. {made}")}</title>'
            f"{_text(WIDTH - EDGE - NUMBERS, y, row.claim.display, 'end claim-value')}"
            f"{_text(WIDTH - EDGE, y, interval, 'end claim-value')}</a>"
        )
