"""The study of inference with few clusters: how often each test rejects where nothing happened.

The effect is zero, so that the coverage of an interval and the size of its test are measured on the
same draws. Estimators are linear in the outcome: another effect would move estimate and interval
alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

import evalkit as ek
from evalkit.inference.tested import Tested
from simulations.run import ROUNDING
from simulations.study import LEVEL, Answer, Design, Method, Study, World

Array: TypeAlias = np.ndarray[Any, Any]
Judge: TypeAlias = Callable[[ek.Panel, ek.Estimate], Mapping[str, Answer]]

EFFECT = "effect"
PERIODS, START, SERIAL, SHARED = 8, 5, 0.6, 0.3
DEALT, MULTIPLIED, DRAWN = 39, 399, 999  # draws inside a draw: 5% of one more is a whole number


@dataclass(frozen=True, slots=True)
class Counties:
    """Counties in eight periods, some of which adopt in the fifth; their effect is zero.

    Errors have variance ``SHARED`` common to a county and the rest from its pupils, both with
    first-order serial correlation ``SERIAL``. ``treated`` counties adopt (0: half of them), drawn
    at random. If ``unequal``, county g of G has pupils in proportion to exp(2g/G): the largest has
    seven times those of the smallest, counts as much more, and its pupils' part of the error has
    that much less variance. Errors of treated counties are ``noisier`` times as large.
    """

    treated: int = 0
    unequal: bool = False
    noisier: float = 1.0

    def number(self, n: int) -> int:
        return self.treated or n // 2

    def facts(self, n: int) -> Mapping[str, float]:
        return {"treated_share": round(self.number(n) / n, 4)}

    def draw(self, rng: np.random.Generator, n: int) -> World:
        size = np.exp(2 * np.arange(1, n + 1) / n) if self.unequal else np.ones(n)
        size /= size.mean()
        shared, own = _serial(rng, n), _serial(rng, n)
        y = np.sqrt(SHARED) * shared + np.sqrt((1 - SHARED) / size)[:, None] * own
        start = np.full(n, np.nan)
        chosen = rng.choice(n, self.number(n), replace=False)
        start[chosen] = START
        y[chosen] *= self.noisier
        county = np.repeat(np.arange(n), PERIODS)
        columns = {
            "county": county,
            "year": np.tile(np.arange(1, PERIODS + 1), n),
            "y": y.ravel(),
            "start": start[county],
            "pupils": size[county],
        }
        panel = ek.Panel.from_frame(
            columns,
            outcome="y",
            unit="county",
            time="year",
            cohort="start",
            weight="pupils",
            provenance="synthetic",
        )
        return World(panel, {EFFECT: {"population": 0.0}}, panel)


def _serial(rng: np.random.Generator, n: int) -> Array:
    """Stationary errors ``(n, PERIODS)`` of variance one."""
    e = rng.normal(size=(n, PERIODS))
    for t in range(1, PERIODS):
        e[:, t] = SERIAL * e[:, t - 1] + np.sqrt(1 - SERIAL**2) * e[:, t]
    return e


def judged(**options: Any) -> Judge:
    """Intervals and tests by `ek.infer`."""

    def judge(panel: ek.Panel, made: ek.Estimate) -> Mapping[str, Answer]:
        return {EFFECT: Answer.of(ek.infer(made, **options))}

    return judge


def tested(test: Callable[[ek.Panel, ek.Estimate], Tested]) -> Judge:
    """Intervals and tests by draws."""

    def judge(panel: ek.Panel, made: ek.Estimate) -> Mapping[str, Answer]:
        found = test(panel, made)
        parts = (found.conf_low, found.conf_high, found.p_value)
        return {EFFECT: Answer(made.theta[0], np.nan, *(float(part[0]) for part in parts))}

    return judge


def dealt(
    panel: ek.Panel,
    made: ek.Estimate,
    estimator: Callable[[ek.Panel], ek.Estimate] = ek.did.two_by_two,
) -> Mapping[str, Answer]:
    """Whether a test by randomisation keeps zero; its interval would hold it just then.

    With one date and one weight per unit two_by_two is the two-way coefficient.
    """
    found = ek.randomisation(panel, estimator, rule="complete", interval=False, draws=DEALT)
    p_value = float(found.p_value[0])
    low = -np.inf if p_value > LEVEL + ROUNDING else np.inf  # an interval that has zero, or has not
    return {EFFECT: Answer(float(found.estimate[0]), np.nan, low, np.inf, p_value)}


def average(panel: ek.Panel) -> ek.Estimate:
    return ek.aggregate(ek.did.callaway_santanna(panel))


NORMAL = {"CR0": judged(vcov="CR0", few="show")}
JUDGES = {
    "CR1": judged(few="show"),
    "CR2": judged(vcov="CR2"),
    "CR3": judged(vcov="CR3"),
    "wild": tested(lambda panel, made: ek.wild_bootstrap(made, draws=MULTIPLIED)),
    "randomisation": dealt,
    "Conley-Taber": tested(lambda panel, made: ek.conley_taber(panel, lambda p: made, draws=DRAWN)),
    "Ferman-Pinto": tested(lambda panel, made: ek.ferman_pinto(panel, lambda p: made, draws=DRAWN)),
}
DESIGNS = {
    "one": ("one county adopts", Counties(1)),
    "one_unequal": ("one county adopts, counties of unequal size", Counties(1, unequal=True)),
    "three": ("three counties adopt", Counties(3)),
    "three_unequal": ("three adopt, counties of unequal size", Counties(3, unequal=True)),
    "three_noisy": ("three adopt, whose errors are twice as large", Counties(3, noisier=2.0)),
    "half": ("half of the counties adopt", Counties()),
    "half_unequal": ("half adopt, counties of unequal size", Counties(unequal=True)),
}
PEERS = {f"normal_{k}": (f"{k} of 30 counties adopt", Counties(k)) for k in (1, 2, 3, 5, 10)}
SIZES = (5, 10, 20, 50, 136)

INFERENCE = Study(
    "inference",
    {name: Design(about, world.draw, world.facts) for name, (about, world) in
     {**DESIGNS, **PEERS}.items()},
    {
        "two_way": Method(ek.did.two_way, JUDGES, designs=tuple(DESIGNS), sizes=SIZES),
        "callaway_santanna": Method(average, NORMAL, designs=tuple(PEERS), sizes=(30,)),
    },
    sizes=dict.fromkeys((*SIZES, 30), 2000),
)  # fmt: skip
