"""Tables: estimates with standard errors beneath, N, clusters, method and provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd

from evalkit.core.errors import OptionError
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Key
from evalkit.core.provenance import MEANING, Provenance, combine
from evalkit.inference.anderson_rubin import RatioSet
from evalkit.inference.covariance import Vcov
from evalkit.inference.infer import Inference, infer
from evalkit.show import register
from evalkit.show.claims import number


def show(
    frame: pd.DataFrame,
    *,
    name: str,
    title: str,
    note: str = "",
    digits: int | Mapping[str, int] = 2,
    provenance: Provenance | None = None,
    records: str | int | None = None,
) -> None:
    """Display a frame as a table with a title, a note and its provenance.

    Parameters
    ----------
    frame : pandas.DataFrame
        Plain columns; the index is not shown.
    name : str
        Identifier of the table in the page.
    title, note : str
        What the table answers, and how to read it.
    digits : int or mapping of column to int
        Decimals of float columns.
    provenance : {"real", "documented", "restricted", "synthetic"}, optional
        Default: that of the chapter, with which it is combined.
    records : str or int, optional
        Column that counts the records behind each row, or the least number behind any of them.
        Needed where the chapter's data are restricted; rows below the floor are then withheld.
    """
    from great_tables import GT, md
    from IPython.display import display

    book = register.current()
    tier = combine(provenance or book.provenance, book.provenance)
    frame, withheld = above_floor(frame, book, name, records)
    shown, numeric = _printed(frame, digits)
    table = (
        GT(shown, id=f"table-{name}")
        .tab_header(title=md(title))
        .tab_source_note(
            md(f"{f'{note} {withheld}'.strip()} *Evidence: {tier}. {MEANING[tier]}*".strip())
        )
        .cols_align("left")
        .cols_align("right", columns=numeric)
        .opt_table_font(font=["inherit"])
        .tab_options(
            table_font_size="0.9em",
            heading_align="left",
            heading_title_font_size="1.05em",
            heading_title_font_weight="bold",
            table_width="100%",
        )
    )
    html = f'<div class="evalkit-table tier-{tier}">{table.as_raw_html()}</div>'
    display({"text/html": html, "text/plain": shown.to_string(index=False)}, raw=True)


def above_floor(
    frame: pd.DataFrame, book: register.Register, name: str, records: str | int | None
) -> tuple[pd.DataFrame, str]:
    """The frame without the rows that too few restricted records stand behind, and a note.

    Parameters
    ----------
    frame : pandas.DataFrame
    book : Register
        Of the chapter; its floor decides.
    name : str
        Identifier of the table, for the error.
    records : str or int, optional
        As in :func:`show`.

    Raises
    ------
    RegisterError
        If ``records`` is a number below the floor, or says nothing where there is a floor.
    """
    if not isinstance(records, str) or not book.floor:
        book.enough(f"table {name!r}", None if isinstance(records, str) else records)
        return frame, ""
    kept = frame[frame[records] >= book.floor]
    left = len(frame) - len(kept)
    note = f"{left} rows withheld: fewer than {book.floor} records." if left else ""
    return kept.reset_index(drop=True), note


def folded(
    tables: Mapping[str, pd.DataFrame],
    *,
    name: str,
    digits: int | Mapping[str, int] = 2,
    provenance: Provenance | None = None,
) -> None:
    """Display long tables folded: one line for each, which opens the table.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        The line that stays visible, and what it opens.
    name : str
        Identifier of the tables in the page.
    digits, provenance
        As in :func:`show`.
    """
    from IPython.display import display

    book = register.current()
    book.enough(f"folded table {name!r}", None)
    tier = combine(provenance or book.provenance, book.provenance)
    parts, texts = [], []
    for line, frame in tables.items():
        shown, numeric = _printed(frame, digits)
        head = "".join(f'<th scope="col">{escape(str(column))}</th>' for column in shown.columns)
        sides = [' class="number"' if column in numeric else "" for column in shown.columns]
        rows = "\n".join(
            "<tr>"
            + "".join(
                f"<td{side}>{escape(str(value))}</td>"
                for side, value in zip(sides, row, strict=True)
            )
            + "</tr>"
            for row in shown.itertuples(index=False, name=None)
        )
        parts.append(
            f"<details><summary>{escape(line)}</summary>\n"
            f'<div class="folded" role="region" aria-label="{escape(line)}" tabindex="0">'
            f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
            "</details>"
        )
        texts.append(f"{line}\n{shown.to_string(index=False)}")
    html = f'<div class="evalkit-table tier-{tier}" id="table-{name}">{"".join(parts)}</div>'
    display({"text/html": html, "text/plain": "\n\n".join(texts)}, raw=True)


def _printed(
    frame: pd.DataFrame, digits: int | Mapping[str, int]
) -> tuple[pd.DataFrame, list[str]]:
    """The frame with its floats as text, and the columns that hold numbers."""
    shown = frame.copy()
    floats = [column for column in frame if pd.api.types.is_float_dtype(frame[column])]
    for column in floats:
        places = digits if isinstance(digits, int) else digits.get(str(column), 2)
        shown[column] = [
            "" if pd.isna(value) else number(float(value), places) for value in frame[column]
        ]
    numeric = [*floats, *frame.select_dtypes("number").columns.difference(floats)]
    return shown, [str(column) for column in numeric]


def regressions(results: Mapping[str, Inference], *, digits: int = 2) -> pd.DataFrame:
    """Set inferences side by side: estimate, standard error beneath, then counts and method.

    Parameters
    ----------
    results : mapping of str to Inference
        One column each; rows are the union of their coordinates.
    digits : int
        Decimals of estimates and standard errors.
    """
    if not results:
        raise OptionError("a regression table needs at least one column")
    keys = list(dict.fromkeys(key for result in results.values() for key in result.keys))
    rows: dict[str, list[str]] = {"": []}
    rows[""] = [part for key in keys for part in (" ".join(map(str, key)), "")]
    rows[""] += ["rows", "units", "clusters", "standard errors"]
    for name, result in results.items():
        where = {key: at for at, key in enumerate(result.keys)}
        cells = []
        for key in keys:
            at = where.get(key)
            cells += (
                ["", ""]
                if at is None
                else [
                    number(float(result.estimate[at]), digits),
                    f"({number(float(result.std_error[at]), digits)})",
                ]
            )
        counts = [result.meta.n_obs, result.n_units, result.n_clusters]
        rows[name] = [*cells, *(f"{count:,}" for count in counts), result.vcov_kind]
    return pd.DataFrame(rows)


def estimates(
    results: Mapping[Key, Inference],
    *,
    names: Sequence[str],
    sets: Mapping[Key, RatioSet] | None = None,
) -> pd.DataFrame:
    """One row per inference with one coordinate: its names, estimate, standard error, interval.

    Parameters
    ----------
    results : mapping of tuple of str to Inference
        Each key names its row, one part per column of ``names``.
    names : sequence of str
        Headings of the columns that hold the parts of the keys.
    sets : mapping of the same keys to RatioSet, optional
        Adds the outer ends of each Anderson-Rubin set, and the first-stage F.
    """
    rows = []
    for key, result in results.items():
        if len(result.estimate) != 1 or len(key) != len(names):
            raise OptionError(f"row {key} needs one coordinate, and one name for each of {names}")
        values = (result.estimate, result.std_error, result.conf_low, result.conf_high)
        rows.append((*key, *(float(value[0]) for value in values)))
    frame = pd.DataFrame(rows, columns=[*names, "estimate", "SE", "low", "high"])
    if sets is None:
        return frame
    found = [sets[key] for key in results]
    return frame.assign(
        **{
            "AR low": [one.intervals[0][0] for one in found],
            "AR high": [one.intervals[-1][1] for one in found],
            "first-stage F": [one.first_stage_f for one in found],
        }
    )


def standard_errors(
    results: Mapping[Key, Estimate],
    *,
    names: Sequence[str],
    kinds: Sequence[Vcov] = ("CR1S", "CR2", "CR3"),
) -> pd.DataFrame:
    """One row per estimate with one coordinate: its standard error of every kind, side by side.

    Degrees of freedom follow where a kind has its own; the p-value is that of the last kind.

    Parameters
    ----------
    results : mapping of tuple of str to Estimate
        As in :func:`estimates`.
    names : sequence of str
        Headings of the columns that hold the parts of the keys.
    kinds : sequence of str
        As ``vcov`` of :func:`evalkit.infer`.
    """
    judged = {kind: {key: infer(one, vcov=kind) for key, one in results.items()} for kind in kinds}
    frame = estimates(judged[kinds[-1]], names=names)[[*names, "estimate"]]
    for kind in kinds:
        frame[kind] = [float(one.std_error[0]) for one in judged[kind].values()]
    for kind in ("CR2", "CR3"):
        if kind in judged:
            frame[f"dof {kind}"] = [float(one.dof[0]) for one in judged[kind].values()]
    last = kinds[-1]
    frame[f"p {last}"] = [float(one.p_value[0]) for one in judged[last].values()]
    return frame
