"""What a fitted variance model of pupils' scores says: variances, coefficients, effects of units.

Not for fitting: ``multilevel`` and ``crossed`` make it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.arrays import Codes, Labels, Matrix, Vector, frozen
from evalkit.core.errors import DoubtWarning, OptionError, check_option
from evalkit.core.known import Known
from evalkit.core.labels import Index
from evalkit.core.origin import Meta
from evalkit.engines.likelihood import Solution, triangular
from evalkit.engines.prediction import predict, predict_total
from evalkit.engines.variance_components import Nested, invert, times
from evalkit.value_added.gather import Level, Rows

if TYPE_CHECKING:
    import pandas as pd

RESIDUAL = "residual"
SHRUNKEN = ("shrunken", "total")  # columns of effects that are pulled to zero


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The units of one level or factor.

    Parameters
    ----------
    name : str
        Of the level.
    labels : Labels (m,)
        Units.
    n : Vector (m,)
        Pupils of each unit.
    effects : tuple of str
        What is random: the intercept, and slopes.
    turn : Matrix (q, q)
        Effects on raw columns are ``turn @`` those on centred and scaled ones.
    basis : Matrix (r, q)
        The unit's centred and scaled columns among all random ones.
    parent : Codes (m,) or None
        Unit of the next level that each unit lies in; None at the top, and for crossed factors.
    """

    name: str
    labels: Labels
    n: Vector
    effects: tuple[str, ...]
    turn: Matrix
    basis: Matrix
    parent: Codes | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Multilevel:
    """A fitted model ``y = x b + sum of effects of units + residual``.

    Attributes
    ----------
    names : tuple of str
        Regressors, the intercept first.
    beta : Vector (p,)
        Their coefficients.
    covariance : Matrix (p, p)
        Model-based covariance of ``beta``, given the variances.
    deviance : float
        Minus twice the log likelihood (restricted, for REML); NaN if the sums have weights.
    blocks : tuple of Block
        Levels from the finest to the coarsest, or crossed factors.
    solution : Solution
        The engine's, in centred and scaled columns, of which ``columns`` gives the order.
    columns : tuple of str
    levels, csem
        As they were asked for.
    meta : Meta
        With notes on rows dropped and on variances that are zero.
    """

    names: tuple[str, ...]
    beta: Vector
    covariance: Matrix
    deviance: float
    blocks: tuple[Block, ...]
    solution: Solution
    columns: tuple[str, ...]
    levels: tuple[Level, ...]
    csem: str | None
    meta: Meta

    @property
    def residual_variance(self) -> float:
        """Variance of the residual of a pupil of weight one."""
        return self.solution.point.scale

    @property
    def coefficients(self) -> pd.DataFrame:
        """The coefficient of each regressor, and the deviation of its error under the model."""
        import pandas as pd

        sd = np.sqrt(np.diag(self.covariance))
        return pd.DataFrame({"term": self.names, "estimate": self.beta, "sd": sd})

    def covariance_of(self, level: str) -> Matrix:
        """Covariance ``(q, q)`` of the effects of one level, on the raw columns."""
        at = self.at(level)
        turn = self.blocks[at].turn
        return turn @ self.solution.variances[at] @ turn.T

    @property
    def variance(self) -> pd.DataFrame:
        """Variance, deviation and share of each random effect.

        The share is that of pupils with average covariates. ``gradient`` is filled for a level
        with a direction of zero variance: the derivative of the deviance there, relative to its
        first term. It is never negative (the Karush-Kuhn-Tucker condition).
        """
        import pandas as pd

        centred = [float(v[0, 0]) for v in self.solution.variances]
        everything = sum(centred) + self.residual_variance
        rows = []
        for at, block in enumerate(self.blocks):
            for k, effect in enumerate(block.effects):
                value = float(self.covariance_of(block.name)[k, k])
                share = centred[at] / everything if k == 0 else np.nan
                rows.append((block.name, effect, value, share, float(self.solution.kkt[at])))
        value = self.residual_variance
        rows.append((RESIDUAL, "intercept", value, value / everything, np.nan))
        frame = pd.DataFrame(rows, columns=["level", "effect", "variance", "share", "gradient"])
        frame.insert(3, "sd", np.sqrt(frame["variance"]))
        return frame

    @property
    def singular(self) -> tuple[str, ...]:
        """Levels that have a direction of zero variance."""
        flags = ~np.isnan(self.solution.kkt)
        return tuple(b.name for b, flag in zip(self.blocks, flags, strict=True) if flag)

    def at(self, level: str | None) -> int:
        """Position of a level; the finest by default."""
        names = [block.name for block in self.blocks]
        if level is None:
            return 0
        check_option("level", level, names)
        return names.index(level)

    def effects(self, level: str | None = None) -> pd.DataFrame:
        """Raw and shrunken effects of the units of a level, one row each (and per random column).

        ``raw`` is the precision-weighted mean residual of the unit, ``raw_sd`` the deviation of its
        error given the model; ``shrunken`` is the best linear unbiased prediction and
        ``prediction_sd`` the deviation of what it misses, the coefficients' error included;
        ``reliability`` is the squared correlation of prediction and effect. Below other levels,
        ``total`` adds the predictions of the units above.

        A shrunken column is for reading, not for regressions on its left-hand side.

        Parameters
        ----------
        level : str, optional
            Default: the finest.
        """
        import pandas as pd

        at = self.at(level)
        block, q = self.blocks[at], len(self.blocks[at].effects)
        seen = predict(self.solution, at)
        shrunken = seen.effect @ block.turn.T
        spread = times(block.turn, times(seen.covariance, block.turn.T))
        variance = np.diagonal(spread, axis1=1, axis2=2)
        raw, noise = self._raw(at)
        prior = np.diag(self.covariance_of(block.name))
        with np.errstate(invalid="ignore", divide="ignore"):
            reliability = np.where(prior > 0, 1 - variance / prior, 0.0)
        columns = {"unit": np.repeat(block.labels, q)}
        if q > 1:
            columns["effect"] = np.tile(block.effects, len(block.labels))
        above = self._above(at)
        columns |= {name: np.repeat(labels, q) for name, labels in above.items()}
        columns |= {
            "n": np.repeat(block.n, q).astype(int),
            "raw": raw.ravel(),
            "raw_sd": np.sqrt(noise.ravel()),
            "shrunken": shrunken.ravel(),
            "prediction_sd": np.sqrt(np.maximum(variance, 0.0)).ravel(),
            "reliability": np.clip(reliability, 0.0, 1.0).ravel(),
        }
        if above and q == 1:
            total = predict_total(self.solution, at)
            columns["total"] = total.effect[:, 0]
            columns["total_sd"] = np.sqrt(total.covariance[:, 0, 0])
        frame = pd.DataFrame(columns, copy=False)
        frame.attrs.update(shrunken=SHRUNKEN, provenance=self.meta.provenance)
        return frame

    def raw(self, level: str | None = None) -> Known:
        """Raw effects of the units of a level, with the known variance of their errors.

        Units are independent given the coefficients, whose own error is left out; that is small
        where there are many units. Only for levels with nothing but a random intercept.
        """
        at = self.at(level)
        block = self.blocks[at]
        if len(block.effects) > 1:
            raise OptionError(
                f"level {block.name!r} has {len(block.effects)} effects per unit; raw effects are "
                "compared for a random intercept alone"
            )
        raw, noise = self._raw(at)
        index = Index.flat(block.name, block.labels.tolist())
        return Known(raw[:, 0], noise[:, 0], index, self.meta)

    def on_raw_columns(self) -> Solution:
        """The engine's solution with the random columns as they were given.

        The criterion and the fit are the same; the variances are those of :meth:`covariance_of`.
        """
        effects = self.solution.criterion.effects
        if not isinstance(effects, Nested):
            return self.solution
        bases = tuple(block.basis @ np.linalg.inv(block.turn) for block in self.blocks)
        factors = tuple(
            triangular(block.turn @ factor)
            for block, factor in zip(self.blocks, self.solution.factors, strict=True)
        )
        criterion = replace(self.solution.criterion, effects=replace(effects, bases=bases))
        return Solution(criterion, factors, self.solution.point, self.solution.kkt)

    def _raw(self, at: int) -> tuple[Matrix, Matrix]:
        """Raw effects ``(m, q)`` and the variances of their errors; NaN where a unit shows none."""
        block, point = self.blocks[at], self.solution.point
        gathered = point.sweep.gathered[at]
        basis = block.basis
        own = times(basis.T, times(gathered[..., : len(basis)], basis))
        right = times(basis.T, gathered) @ point.residual
        size = np.linalg.eigvalsh(own) if own.shape[1] > 1 else own[:, 0]
        poor = size[:, 0] <= 1e-10 * size[:, -1]
        inverse, _ = invert(np.where(poor[:, None, None], np.eye(own.shape[1]), own))
        raw = times(inverse, right[..., None])[..., 0] @ block.turn.T
        noise = times(block.turn, times(inverse, block.turn.T))
        variance = point.scale * np.diagonal(noise, axis1=1, axis2=2)
        return np.where(poor[:, None], np.nan, raw), np.where(poor[:, None], np.nan, variance)

    def _above(self, at: int) -> dict[str, Labels]:
        """Labels of the units that each unit of a level lies in, by level."""
        found = {}
        parent = self.blocks[at].parent
        for block in self.blocks[at + 1 :]:
            if parent is None:
                break
            found[block.name] = block.labels[parent]
            parent = None if block.parent is None else block.parent[parent]
        return found

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(block.labels)} {block.name}" for block in self.blocks)
        meta = self.meta
        lines = [
            f"{meta.estimand} on {meta.outcome!r} by {meta.method} ({meta.provenance})",
            f"{meta.n_obs} pupils; {counts}; deviance {self.deviance:.4f}",
            self.variance.round(6).to_string(index=False),
            self.coefficients.round(6).to_string(index=False),
        ]
        return "\n".join([*lines, *meta.notes])

    def _repr_html_(self) -> str:
        first, second, *_ = repr(self).split("\n")
        tables = [self.variance, self.coefficients]
        html = "".join(t.round(4).to_html(border=0, index=False) for t in tables)
        notes = "".join(f"<br>{note}" for note in self.meta.notes)
        return f"<p>{first}<br>{second}</p>{html}<p>{notes}</p>"


def blocks_of(
    rows: Rows,
    names: Sequence[str],
    columns: Sequence[Sequence[int]],
    labels: Sequence[Labels],
    counts: Sequence[Vector],
    parents: Sequence[Codes] = (),
) -> tuple[Block, ...]:
    """Describe the units of each block; ``columns`` are its random columns, the intercept first."""
    turn, _ = rows.raw()
    r = 1 + max(max(chosen) for chosen in columns)
    return tuple(
        Block(
            name=name,
            labels=labels[at],
            n=counts[at],
            effects=("intercept", *(rows.names[k] for k in columns[at][1:])),
            turn=turn[np.ix_(columns[at], columns[at])],
            basis=np.eye(r)[:, columns[at]],
            parent=parents[at] if at < len(parents) else None,
        )
        for at, name in enumerate(names)
    )


def finish(
    rows: Rows,
    solution: Solution,
    blocks: tuple[Block, ...],
    order: Sequence[str],
    levels: Sequence[Level],
    csem: str | None = None,
) -> Multilevel:
    """The result on raw columns, the regressors in the given order; doubts are said aloud."""
    turn, shift = rows.raw()
    at = [rows.names.index(name) for name in ("(intercept)", *order)]
    point = solution.point
    covariance = point.scale * turn @ point.bread @ turn.T
    notes = list(rows.ledger)
    for block, kkt in zip(blocks, solution.kkt, strict=True):
        if not np.isnan(kkt):
            what = "variance is zero" if len(block.effects) == 1 else "covariance is singular"
            notes.append(
                f"level {block.name!r}: the {what}, with gradient {kkt:+.4f} of its first term "
                "there; the data show no such differences between units, which does not prove that "
                "there are none"
            )
            warnings.warn(notes[-1], DoubtWarning, stacklevel=3)
    method = "REML" if solution.criterion.method == "reml" else "maximum likelihood"
    return Multilevel(
        names=("(intercept)", *order),
        beta=frozen((turn @ point.beta + shift)[at]),
        covariance=frozen(covariance[np.ix_(at, at)]),
        deviance=np.nan if rows.log_weights is None else point.value,
        blocks=blocks,
        solution=solution,
        columns=rows.names[1:],
        levels=tuple(levels),
        csem=csem,
        meta=Meta(
            f"effects of {' and '.join(block.name for block in blocks)}",
            f"multilevel model, {method}",
            rows.outcome,
            rows.pupils,
            rows.provenance,
            tuple(notes),
        ),
    )
