"""Means of an outcome by unit, with contributions of pupils."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.core.arrays import Groups
from evalkit.core.estimate import Estimate
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.core.panel import Panel
from evalkit.core.scores import Scores
from evalkit.core.sparse import DENSE, Sparse
from evalkit.value_added.gather import Level, name_of, units_of, with_company


def unit_means(
    panel: Panel, effect: Level, estimand: str, method: str, notes: Sequence[str] = ()
) -> Estimate:
    """Weighted mean of the outcome in each unit; a row adds ``w (y - mean) / W`` to its unit's."""
    panel, left_out = with_company(panel, effect)
    codes, labels = units_of(panel, effect)
    units = Groups(codes, len(labels))
    total = units.sum(panel.weight)
    mean = units.sum(panel.weight * panel.y) / total
    own = panel.weight * (panel.y - mean[codes]) / total[codes]
    sparse = Sparse.of(panel.unit, codes, own, panel.units, len(labels))
    small = panel.n_units * len(labels) <= DENSE
    return Estimate(
        theta=mean,
        scores=Scores.dense(sparse.psi()) if small else sparse,
        units=panel.units,
        cluster=panel.cluster,
        index=Index.flat(name_of(effect), labels.tolist()),
        meta=Meta(
            estimand,
            method,
            panel.outcome,
            len(panel.y),
            panel.provenance,
            (*panel.ledger, *notes, *left_out),
        ),
    )
