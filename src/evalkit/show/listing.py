"""The catalogue as one HTML table that a reader can filter; without scripts it is a plain table."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from html import escape
from typing import Any

import pandas as pd

from evalkit.data.contracts import FAMILIES

DESIGNS = {
    "A": "staggered difference-in-differences",
    "B": "dose",
    "C": "triple difference",
    "D": "discontinuity, kink or boundary",
    "E": "value-added",
    "F": "event study around a date",
    "G": "context only",
}
HEADS = ("Row", "Where", "Family", "Levels", "What", "Dose", "Began", "State", "Designs")


def catalogue(measures: pd.DataFrame, *, name: str = "catalogue", script: str = "") -> str:
    """Write the catalogue as HTML.

    Parameters
    ----------
    measures : pandas.DataFrame
        The catalogue.
    name : str
        Identifier of the table; each row gets the anchor ``<name>-<row id>``.
    script : str
        Address of ``catalogue.js``, relative to the page; empty for a table without filters.

    Returns
    -------
    str
    """
    head = "".join(f'<th scope="col">{text}</th>' for text in HEADS)
    body = "\n".join(_row(row, name) for row in measures.to_dict("records"))
    caption = f"Catalogue: {len(measures)} measures and figures that the documents state"
    loading = f'<script src="{escape(script)}" defer></script>' if script else ""
    return f"""<div class="catalogue" id="{name}">
<style>{STYLE}</style>
<div class="catalogue-scroll" role="region" aria-label="{caption}" tabindex="0">
<table><caption>{caption}</caption>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody></table></div>
{loading}</div>"""


def _row(row: Mapping[Hashable, Any], name: str) -> str:
    place, family = f"{row['jurisdiction_zh']} {row['jurisdiction_en']}", str(row["measure_family"])
    levels = str(row["school_level"]).replace(";", ", ")
    cells = [
        escape(place),
        f"{escape(str(row['measure_family_zh']))} {FAMILIES[family]}",
        levels,
        escape(str(row["paraphrase_en"])),
        escape(_dose(row)),
        _window(row),
        str(row["target_or_realised"]),
        str(row["candidate_design"]).replace(";", " "),
    ]
    columns = "".join(f"<td>{cell}</td>" for cell in cells)
    return (
        f'<tr id="{name}-{row["id"]}" data-family="{family}" data-place="{escape(place)}">'
        f'<th scope="row">{row["id"]}</th>{columns}</tr>'
    )


def _dose(row: Mapping[Hashable, Any]) -> str:
    """The figures with their units, pair by pair where both are lists."""
    if pd.isna(row["value"]):
        return ""
    values, units = str(row["value"]).split(";"), [u.strip() for u in str(row["unit"]).split(";")]
    year = units == ["target year"]
    shown = [v if year else grouped(v) for v in values]
    if len(units) == len(shown):
        text = "; ".join(f"{value} {unit}" for value, unit in zip(shown, units, strict=True))
    else:
        text = f"{', '.join(shown)} {row['unit']}"
    before = row["value_prior"]
    return text if pd.isna(before) else f"{text} (before: {grouped(str(before))})"


def grouped(text: str) -> str:
    """A whole number with its thousands separated; any other text as it stands.

    Parameters
    ----------
    text : str
        A figure as the catalogue holds it.

    Examples
    --------
    >>> grouped("250000"), grouped("1-3"), grouped("0.15")
    ('250,000', '1-3', '0.15')
    """
    return f"{int(text):,}" if text.isdigit() else text


def _window(row: Mapping[Hashable, Any]) -> str:
    first, last = pd.Timestamp(str(row["start_earliest"])), pd.Timestamp(str(row["start_latest"]))
    if pd.isna(first):
        text = f"by {last:%Y-%m-%d}"
    else:
        text = f"{first:%Y-%m-%d}" if first == last else f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    due = pd.Timestamp(str(row["deadline"]))
    return text if pd.isna(due) else f"{text}; due {due:%Y-%m-%d}"


STYLE = """
.catalogue-scroll{max-height:34rem;overflow:auto;border:1px solid var(--pst-color-border,#c9d1da)}
.catalogue table{border-collapse:collapse;font-size:.82rem;width:100%;min-width:58rem;margin:0}
.catalogue caption{caption-side:top;text-align:left;padding:.4rem .5rem;font-weight:600;
color:var(--pst-color-text-base,#1f2933)}
.catalogue .catalogue-scroll th,.catalogue .catalogue-scroll td{padding:.3rem .5rem;
text-align:left;vertical-align:top;
border-bottom:1px solid var(--pst-color-border,#c9d1da)}
.catalogue thead th{position:sticky;top:0;background:var(--pst-color-surface,#f3f5f8);
color:var(--pst-color-text-base,#1f2933)}
.catalogue-tools{display:flex;flex-wrap:wrap;gap:.6rem 1rem;align-items:end;margin:.6rem 0}
.catalogue-tools label{display:flex;flex-direction:column;font-size:.82rem}
.catalogue-tools input,.catalogue-tools select{font:inherit;padding:.25rem .4rem;max-width:18rem;
background:var(--pst-color-background,#fff);color:var(--pst-color-text-base,#1f2933);
border:1px solid var(--pst-color-text-muted,#5f6c7b);border-radius:.25rem}
.catalogue-tools p{margin:0;font-size:.82rem}
"""
