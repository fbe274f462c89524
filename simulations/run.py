"""From draws to rows: run a method on the worlds of a cell and score its answers."""

from __future__ import annotations

import copy
import re
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from evalkit.core.errors import DoubtWarning, EvalkitError
from simulations.study import LEVEL, Answer, Cell, Judge, Method, Study, Value

Key: TypeAlias = tuple[str, str, str]  # inference, target, truth
SCORES = ("estimate", "truth", "squared", "std_error", "covered", "rejected", "warned", "seconds")
ROUNDING = 1e-9  # a p-value counted from draws may be the level itself: it rejects
FIRST = 2  # draws of each cell whose answers are stored, so that a test can draw them again


@dataclass(frozen=True, slots=True)
class Chunk:
    """Scores ``(draws, 8)`` of consecutive draws, NaN where a draw failed, and why they did."""

    draws: int
    scores: Mapping[Key, np.ndarray[Any, Any]]
    reasons: tuple[str, ...]


def chunk(study: Study, cell: Cell, first: int, stop: int) -> Chunk:
    """Score the draws ``first`` to ``stop - 1`` of a cell."""
    found: dict[Key, dict[int, list[float]]] = {}
    reasons: list[str] = []
    method = study.methods[cell.method]
    judges = method.judging(cell.design)
    for draw in range(first, stop):
        world = study.world(cell, draw)
        answers, why = _answers(method, judges, world.data)
        reasons += why
        if world.null is world.data:
            null = answers
        else:
            null = {} if world.null is None else _answers(method, judges, world.null)[0]
        for (inference, target), (answer, warned, seconds) in answers.items():
            for sense in method.truths:
                truth = world.truth.get(target, {}).get(sense)
                if truth is None:
                    continue
                about_null = null.get((inference, target))
                p_value = np.nan if about_null is None else about_null[0].p_value
                row = [*_score(answer, truth, p_value), float(warned), seconds]
                found.setdefault((inference, target, sense), {})[draw - first] = row
    scores = {}
    for key, rows in found.items():
        values = np.full((stop - first, len(SCORES)), np.nan)
        values[list(rows)] = list(rows.values())
        scores[key] = values
    return Chunk(stop - first, scores, tuple(reasons))


def _answers(
    method: Method, judges: Mapping[str, Judge], data: Any
) -> tuple[dict[tuple[str, str], tuple[Answer, bool, float]], list[str]]:
    """By inference and target: the answer, whether evalkit voiced doubt, processor seconds."""
    out: dict[tuple[str, str], tuple[Answer, bool, float]] = {}
    data = copy.copy(data)  # so that no pass over the data is remembered from another method
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", DoubtWarning)
        start = time.process_time()
        try:
            made = method.estimate(data)
        except EvalkitError as error:
            return out, [_reason(error)]
        spent = time.process_time() - start
        early = _doubts(heard)
        reasons = []
        for inference, judge in judges.items():
            heard.clear()
            start = time.process_time()
            try:
                answers = judge(data, made)
            except EvalkitError as error:
                reasons.append(_reason(error))
                continue
            seconds = spent + time.process_time() - start
            warned = early or _doubts(heard)
            out |= {(inference, target): (one, warned, seconds) for target, one in answers.items()}
    return out, reasons


def _doubts(heard: Iterable[warnings.WarningMessage]) -> bool:
    for warning in heard:
        if not issubclass(warning.category, DoubtWarning):
            raise warning.category(str(warning.message))
    return bool(list(heard))


def _reason(error: Exception) -> str:
    """The first sentence of an error, without the numbers that differ from draw to draw."""
    text = re.split(r"(?<=[^\d])[.;:\n]", str(error))[0]
    return re.sub(r"\d+(\.\d+)?", "#", text)[:120]


def _score(answer: Answer, truth: Value, p_value: Value) -> list[float]:
    estimate, low, high = (np.asarray(v, float) for v in (answer.estimate, answer.low, answer.high))
    covered = np.where(np.isnan(low) | np.isnan(high), np.nan, (low <= truth) & (truth <= high))
    p = np.asarray(p_value, float)
    rejected = np.where(np.isnan(p), np.nan, p <= LEVEL + ROUNDING)
    errors = estimate - truth
    values = (estimate, np.asarray(truth, float), errors**2, answer.std_error, covered, rejected)
    return [float(np.mean(value)) for value in values]


def rows(study: Study, cell: Cell, chunks: Iterable[Chunk]) -> list[dict[str, Any]]:
    """The rows of a cell, one per inference, target and sense of the truth."""
    parts = list(chunks)
    keys = dict.fromkeys(key for part in parts for key in part.scores)
    method = study.methods[cell.method]
    why = Counter(reason for part in parts for reason in part.reasons)
    common = why.most_common(1)[0][0] if why else ""
    head = {"design": cell.design, "n": cell.n, **study.designs[cell.design].facts(cell.n)}
    head["estimator"] = cell.method
    if not keys:
        draws = sum(part.draws for part in parts)
        names = {"inference": next(iter(method.judges)), "target": "none", "truth": "none"}
        none = {"draws": draws, "failed": draws, "withheld": 0, "reason": common}
        return [{**head, **names, "stated": True, **none, "provenance": study.provenance}]
    out = []
    for key in keys:
        values = np.concatenate([part.scores.get(key, _nothing(part)) for part in parts])
        inference, target, truth = key
        names = {"inference": inference, "target": target, "truth": truth}
        stated = truth == method.truths[0]
        made = summary(values)
        tail = {"reason": common if made["failed"] else "", "provenance": study.provenance}
        out.append({**head, **names, "stated": stated, **made, **tail})
    return out


def _nothing(part: Chunk) -> np.ndarray[Any, Any]:
    return np.full((part.draws, len(SCORES)), np.nan)


def summary(values: np.ndarray[Any, Any]) -> dict[str, float]:
    """Bias, spread, coverage and size of draws ``(B, 8)``, with their Monte Carlo errors.

    A draw fails if it gives no estimate. An interval is withheld if there is an estimate and no
    interval: bias then counts the draw, and coverage does not.
    """
    column = dict(zip(SCORES, values.T, strict=True))
    made = np.isfinite(column["estimate"])
    error = (column["estimate"] - column["truth"])[made]
    covered, rejected = column["covered"], column["rejected"][np.isfinite(column["rejected"])]
    shown = covered[np.isfinite(covered)]
    return {
        "draws": len(values),
        "failed": int((~made).sum()),
        "withheld": int(made.sum() - len(shown)),
        "warned": _mean(column["warned"][made]),
        "true": _mean(column["truth"][made]),
        "bias": _mean(error),
        "bias_mc": _noise(error),
        "sd": float(error.std()) if len(error) else np.nan,
        "rmse": float(np.sqrt(_mean(column["squared"][made]))),
        "se": _mean(column["std_error"][np.isfinite(column["std_error"])]),
        "coverage": _mean(shown),
        "coverage_mc": _noise(shown),
        "size": _mean(rejected),
        "size_mc": _noise(rejected),
        "seconds": float(np.median(column["seconds"][made])) if made.any() else np.nan,
    }


def _mean(values: np.ndarray[Any, Any]) -> float:
    return float(values.mean()) if len(values) else np.nan


def _noise(values: np.ndarray[Any, Any]) -> float:
    """Monte Carlo standard error of a mean of independent draws."""
    return float(values.std() / np.sqrt(len(values))) if len(values) else np.nan


def first(cell: Cell, part: Chunk) -> list[dict[str, Any]]:
    """The answers of the first draws of a cell, by which a stored table is recognised."""
    out: dict[tuple[str, str, int], dict[str, Any]] = {}
    for (inference, target, _), values in part.scores.items():
        for draw, row in enumerate(values[:FIRST]):
            score = dict(zip(SCORES, row, strict=True))
            out[inference, target, draw] = {
                "design": cell.design,
                "n": cell.n,
                "estimator": cell.method,
                "inference": inference,
                "target": target,
                "draw": draw,
                **{name: score[name] for name in ("estimate", "std_error", "rejected")},
            }
    return list(out.values())
