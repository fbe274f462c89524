"""How often a test rejects where nothing happened: its size, measured on the panel's own noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from evalkit.core.arrays import Codes, Groups, Matrix, Vector, encode, frozen
from evalkit.core.checks import check_draws, check_real, check_seed
from evalkit.core.errors import IdentificationError, OptionError, some
from evalkit.core.labels import Index
from evalkit.core.panel import Panel
from evalkit.core.progress import progress
from evalkit.core.provenance import Provenance
from evalkit.inference.covariance import Vcov
from evalkit.inference.infer import infer
from evalkit.inference.inversion import TIE
from evalkit.inference.resample import FUTILE, Estimator, quietly, take_units

if TYPE_CHECKING:
    import pandas as pd

Test: TypeAlias = Callable[[Panel], Vector]
LEAST = 5  # untreated clusters below which their paths say too little


@dataclass(frozen=True, slots=True, eq=False)
class Size:
    """Rejections of a true null, in ``draws`` panels where nothing happened.

    Attributes
    ----------
    rate, error : Vector (k,)
        Share of panels in which a coordinate was rejected at ``size``, and its Monte Carlo error.
    size : float
        What the test says of itself.
    p_values : Matrix (draws, k)
    """

    rate: Vector
    error: Vector
    size: float
    p_values: Matrix
    index: Index
    method: str
    provenance: Provenance

    @property
    def table(self) -> pd.DataFrame:
        """Tidy frame, one row per coordinate."""
        import pandas as pd

        columns = {"rejected": self.rate, "monte_carlo_error": self.error}
        return pd.DataFrame(columns, index=self.index.to_pandas())

    def __repr__(self) -> str:
        head = f"a test at {self.size:.2g} of a true null rejects ({self.provenance})"
        return "\n".join([head, self.method, self.table.round(3).to_string()])


def measured_size(
    panel: Panel,
    estimator: Estimator,
    *,
    vcov: Vcov = "CR1",
    test: Test | None = None,
    laws: Mapping[float, int] | None = None,
    size: float = 0.05,
    draws: int = 400,
    seed: int = 1,
) -> Size:
    """Test placebo adoptions among untreated clusters, in the real number and at the real dates.

    Each draw is a panel with as many clusters as the real one. Each cluster has the path of an
    untreated cluster, drawn with replacement; the first of them get the dates of the treated
    clusters. Nothing happened in any of them, so that every rejection is false. The errors are
    real: their serial correlation, their distribution, and the sizes of clusters.

    It supposes that the treated are as noisy as the untreated: the size where they are not is
    another.

    With ``laws`` a panel without treatment is taken as it is, and each draw deals laws that never
    were out among its clusters, as in Bertrand, Duflo and Mullainathan.

    Parameters
    ----------
    panel : Panel
        With at least five clusters that are never treated; with ``laws``, none is treated.
    estimator : callable
        ``Panel -> Estimate``; any.
    vcov : {"CR0", "CR1", "CR1S", "CR2", "CR3"}
        The test of :func:`infer` that is measured.
    test : callable, optional
        ``Panel -> Vector``, p-values of another test, for example
        ``lambda p: ek.wild_bootstrap(ek.did.two_way(p), draws=199).p_value``.
    laws : mapping of period to int, optional
        How many clusters adopt when.
    size : float
        Level of the test.
    draws, seed : int
        400 draws give the size to one percentage point.

    Returns
    -------
    Size

    Raises
    ------
    IdentificationError
        With too few untreated clusters, or with ``laws`` and treated ones.

    References
    ----------
    Bertrand, Duflo and Mullainathan (2004), Quarterly Journal of Economics 119(1), section III;
    Ferman (2022) on assessing inference methods.

    Examples
    --------
    >>> import numpy as np, evalkit as ek
    >>> rng = np.random.default_rng(1)
    >>> frame = {"town": np.repeat(np.arange(20), 2), "year": np.tile([1, 2], 20),
    ...          "score": rng.normal(size=40), "start": np.repeat([2.0] * 2 + [np.nan] * 18, 2)}
    >>> panel = ek.Panel.from_frame(frame, outcome="score", unit="town", time="year",
    ...                             cohort="start", provenance="synthetic")
    >>> bool(ek.measured_size(panel, ek.did.two_way, draws=50).rate[0] > 0.1)
    True
    """
    check_real("size", size, 0, 1)
    check_draws(draws, remedy="some hundreds measure a size")
    check_seed(seed)
    urn: Untreated | Laws = Untreated.of(panel) if laws is None else Laws.of(panel, laws)
    index = quietly(
        estimator, panel if laws is None else urn.drawn(np.random.default_rng(seed))
    ).index

    def judged(drawn: Panel) -> Vector:
        estimate = quietly(estimator, drawn)
        if estimate.index != index:
            raise IdentificationError("some coordinates are missing")
        return infer(estimate, vcov=vcov, few="show").p_value

    p_values, failed = draw(urn, test or judged, draws, seed, len(index))
    rate = (p_values <= size + TIE).mean(axis=0)
    note = f", {failed} drawn again" if failed else ""
    return Size(
        rate=frozen(rate),
        error=frozen(np.sqrt(rate * (1 - rate) / draws)),
        size=size,
        p_values=frozen(p_values),
        index=index,
        method=f"{'the test given' if test else vcov}, {draws} panels: {urn.words} "
        f"(seed {seed}{note})",
        provenance=panel.provenance,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Untreated:
    """Untreated clusters to draw from, and the dates to give to what is drawn.

    Attributes
    ----------
    panel : Panel
        Of the untreated clusters.
    members : list of Codes
        Units of each.
    dates : list of Vector
        Dates of the units of each treated cluster.
    clusters : int
        Clusters of a drawn panel.
    """

    panel: Panel
    members: list[Codes]
    dates: list[Vector]
    clusters: int

    @classmethod
    def of(cls, panel: Panel) -> Untreated:
        """Split a panel."""
        codes, labels = encode(panel.cluster)
        rows = Groups(codes, len(labels)).rows()
        dates = [panel.cohort[units] for units in rows if np.isfinite(panel.cohort[units]).any()]
        if not dates:
            raise IdentificationError(
                "no unit is treated: name the adoption column in Panel.from_frame(..., cohort=...)"
            )
        free = len(labels) - len(dates)
        if free < LEAST:
            raise IdentificationError(
                f"{free} clusters are never treated; their paths say too little about the noise. "
                f"A size needs {LEAST} or more; use randomisation, whose size is known"
            )
        treated = np.zeros(len(labels), bool)
        treated[codes[np.isfinite(panel.cohort)]] = True
        untreated = panel.where(~treated[codes[panel.unit]])
        own, names = encode(untreated.cluster)
        return cls(untreated, Groups(own, len(names)).rows(), dates, len(labels))

    @property
    def words(self) -> str:
        """What is drawn."""
        return (
            f"{self.clusters} clusters drawn from {len(self.members)} untreated ones, "
            f"{len(self.dates)} of them with the dates of the treated"
        )

    def drawn(self, rng: np.random.Generator) -> Panel:
        """A panel in which nothing happened."""
        pick = rng.integers(0, len(self.members), self.clusters)
        units = np.concatenate([self.members[g] for g in pick])
        size = np.array([len(self.members[g]) for g in pick])
        cohort = np.full(len(units), np.inf)
        ends = np.cumsum(size)
        for dates, end, n in zip(self.dates, ends, size, strict=False):
            cohort[end - n : end] = np.resize(dates, n)
        copy = np.repeat(np.arange(self.clusters), size)
        return replace(take_units(self.panel, units, copy), cohort=cohort)


@dataclass(frozen=True, slots=True, eq=False)
class Laws:
    """Placebo dates ``(m,)`` to deal out among the clusters of a panel without treatment."""

    panel: Panel
    cluster: Codes
    dates: Vector
    clusters: int

    @classmethod
    def of(cls, panel: Panel, laws: Mapping[float, int]) -> Laws:
        """Check the dates and their number."""
        if np.isfinite(panel.cohort).any():
            raise IdentificationError(
                f"{int(np.isfinite(panel.cohort).sum())} units are treated; placebo laws need a "
                "panel without cohort=, or of the never-treated (panel.where)"
            )
        codes, labels = encode(panel.cluster)
        unknown = [date for date in laws if date not in panel.clock]
        total = sum(laws.values())
        if unknown or min(laws.values(), default=0) < 1 or total >= len(labels):
            raise OptionError(
                f"laws={dict(laws)} must give numbers of clusters, fewer than {len(labels)} in "
                f"all, at periods of the panel ({some(panel.clock)})"
            )
        dates = np.repeat(np.array(list(laws), float), list(laws.values()))
        return cls(panel, codes, dates, len(labels))

    @property
    def words(self) -> str:
        """What is drawn."""
        return f"{len(self.dates)} placebo laws dealt out among {self.clusters} clusters"

    def drawn(self, rng: np.random.Generator) -> Panel:
        """The panel with laws that never were."""
        date = np.full(self.clusters, np.inf)
        date[rng.permutation(self.clusters)[: len(self.dates)]] = self.dates
        return replace(self.panel, cohort=date[self.cluster])


@dataclass(frozen=True, slots=True, eq=False)
class Dealt:
    """Doses to deal out among the units that have them."""

    panel: Panel

    @property
    def words(self) -> str:
        """What is drawn."""
        return f"doses dealt out among {self.panel.n_units} units"

    def drawn(self, rng: np.random.Generator) -> Panel:
        """A panel in which the doses are those of others."""
        dose = self.panel.dose
        return self.panel if dose is None else replace(self.panel, dose=rng.permutation(dose))


def draw(
    urn: Untreated | Laws | Dealt, test: Test, draws: int, seed: int, k: int
) -> tuple[Matrix, int]:
    """P-values ``(draws, k)``; a panel that the test cannot answer is drawn again."""
    source = np.random.default_rng(seed)
    out, failed = np.empty((draws, k)), 0
    for b in progress(range(draws), draws, "size"):
        rng = source.spawn(1)[0]
        while True:
            try:
                out[b] = test(urn.drawn(rng))
                break
            except IdentificationError as wrong:
                failed += 1
                if failed > FUTILE * (b + 10):
                    raise IdentificationError(
                        f"{failed} panels without effect could not be tested. The last one: {wrong}"
                    ) from wrong
    return out, failed
