"""Covariances between the years of the same unit, from unbalanced tables, and what they forecast.

Every pair of years counts, weighted by its pupils; nothing is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evalkit.core.arrays import Codes, Flags, Groups, Matrix, Vector

FEWEST = 3  # pairs below which a covariance at a lag is not estimated


def weighted_covariance(x: Vector, y: Vector, weight: Vector) -> float:
    r""":math:`\frac{N}{N-1}\sum w(x-\bar x)(y-\bar y)/\sum w` over ``N`` pairs."""
    n, total = len(x), weight.sum()
    about = (x - weight @ x / total) * (y - weight @ y / total)
    return float(weight @ about / total * n / (n - 1))


def same_cell(mean: Vector, weight: Vector, cell: Groups) -> tuple[float, int]:
    """Covariance of two classes of one cell, over all pairs in both orders; and how many pairs."""
    first, second = _pairs(cell)
    if len(first) < FEWEST:
        return 0.0, len(first)
    x, y = np.concatenate([first, second]), np.concatenate([second, first])
    # Both orders are one pair: the divisor counts pairs, not orders.
    n, w = len(first), weight[x] + weight[y]
    about = (mean[x] - w @ mean[x] / w.sum()) * (mean[y] - w @ mean[y] / w.sum())
    return float(w @ about / w.sum() * n / (n - 1)), n


def _pairs(cell: Groups) -> tuple[Codes, Codes]:
    """All unordered pairs of rows in the same cell."""
    parts = [np.array(np.triu_indices(len(rows), 1)) for rows in cell.rows() if len(rows) > 1]
    members = [rows for rows in cell.rows() if len(rows) > 1]
    if not parts:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    first = np.concatenate([rows[a] for rows, (a, _) in zip(members, parts, strict=True)])
    second = np.concatenate([rows[b] for rows, (_, b) in zip(members, parts, strict=True)])
    return first.astype(np.intp), second.astype(np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class Wide:
    """Unit by year: means, pupils and the precision of each mean; NaN and zero where unseen.

    Parameters
    ----------
    mean, n, precision : Matrix (J, T)
    clock : Vector (T,)
        Years as numbers.
    """

    mean: Matrix
    n: Matrix
    precision: Matrix
    clock: Vector

    @property
    def seen(self) -> Flags:
        """Where a unit is observed ``(J, T)``."""
        return self.n > 0

    def covariances(self, limit: int | None) -> tuple[Vector, Codes]:
        """Covariance of means and number of pairs at lags 1, 2, ...; flat from ``limit`` on.

        A lag with fewer pairs than three takes the covariance of the lag before it.
        """
        lags = (self.clock[:, None] - self.clock).astype(int)
        longest = int(lags.max()) if lags.size else 0
        values, pairs = np.zeros(longest), np.zeros(longest, np.intp)
        for lag in range(1, longest + 1):
            late, early = np.nonzero(lags == lag)
            both = self.seen[:, late] & self.seen[:, early]
            x, y = self.mean[:, early][both], self.mean[:, late][both]
            weight = (self.n[:, early] + self.n[:, late])[both]
            pairs[lag - 1] = len(x)
            if len(x) >= FEWEST and (limit is None or lag <= limit):
                values[lag - 1] = weighted_covariance(x, y, weight)
            else:
                values[lag - 1] = values[lag - 2] if lag > 1 else np.nan
        return values, pairs

    def forecasts(self, lags: Vector, signal: float, leave: int) -> tuple[Matrix, Matrix]:
        r"""Best linear forecasts of each year from the unit's other years, and explained variance.

        With :math:`V` the covariance of the other years' means (``signal`` plus one over the
        precision on the diagonal) and :math:`\phi` their covariance with year ``t``, the forecast
        is :math:`\phi'V^{-1}A` and explains :math:`\phi'V^{-1}\phi`.

        Parameters
        ----------
        lags : Vector
            Covariances at lags 1, 2, ...
        signal : float
            Covariance of two classes of the same unit and year.
        leave : int
            Years left out: 1, the year itself; 2, the year and the one before it; -2, the year and
            the one after.

        Returns
        -------
        tuple of Matrix (J, T)
            NaN where no other year is seen.
        """
        J, T = self.mean.shape
        forecast, explained = np.full((2, J, T), np.nan)
        distance = np.abs(self.clock[:, None] - self.clock).astype(int)
        phi = np.concatenate([[signal], lags])[distance]
        for t in range(T):
            out = {t} if leave == 1 else {t, t - 1} if leave == 2 else {t, t + 1}
            kept = np.array([s for s in range(T) if s not in out], np.intp)
            for pattern, rows in _patterns(self.seen[:, kept]):
                at = kept[pattern]
                if not len(at):
                    continue
                v = np.broadcast_to(phi[np.ix_(at, at)], (len(rows), len(at), len(at))).copy()
                diagonal = np.arange(len(at))
                v[:, diagonal, diagonal] = signal + 1 / self.precision[np.ix_(rows, at)]
                sound = np.linalg.eigvalsh(v)[:, 0] > 0
                v[~sound] = np.eye(len(at))
                b = np.linalg.solve(v, np.broadcast_to(phi[t, at], (len(rows), len(at)))[..., None])
                value = (b[..., 0] * self.mean[np.ix_(rows, at)]).sum(axis=1)
                forecast[rows, t] = np.where(sound, value, np.nan)
                explained[rows, t] = np.where(sound, b[..., 0] @ phi[t, at], np.nan)
        return forecast, explained


def _patterns(seen: Flags) -> list[tuple[Flags, Codes]]:
    """Distinct rows of a table of flags, and where each stands."""
    distinct, codes = np.unique(seen, axis=0, return_inverse=True)
    rows = Groups(codes.ravel().astype(np.intp), len(distinct)).rows()
    return list(zip(distinct, rows, strict=True))
