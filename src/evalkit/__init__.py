"""evalkit: difference-in-differences and value-added estimators that remember contributions.

Records are checked once (:func:`load`, :class:`Panel`), estimators are pure functions that return
an :class:`Estimate`, and :func:`infer` judges any of them.

Importing evalkit loads none of its rooms: each opens when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_ROOMS = {
    "contracts": "evalkit.data.contracts",
    "did": "evalkit.did",
    "figures": "evalkit.show.figures",
    "gaps": "evalkit.gaps",
    "sensitivity": "evalkit.inference.sensitivity",
    "simulate": "evalkit.data.simulate",
    "sources": "evalkit.data.sources",
    "standards": "evalkit.data.standards",
    "tables": "evalkit.show.tables",
    "value_added": "evalkit.value_added",
}
_DOORS = {
    "Contract": "evalkit.data.contract",
    "Declaration": "evalkit.inference.declaration",
    "Estimate": "evalkit.core.estimate",
    "Known": "evalkit.core.known",
    "Inference": "evalkit.inference.infer",
    "Panel": "evalkit.core.panel",
    "Summaries": "evalkit.data.summaries",
    "Window": "evalkit.core.adoption",
    "adoption_bounds": "evalkit.inference.adoption_bounds",
    "aggregate": "evalkit.inference.aggregate",
    "anderson_rubin": "evalkit.inference.anderson_rubin",
    "band_counts": "evalkit.data.counts",
    "bootstrap": "evalkit.inference.resample",
    "certify": "evalkit.inference.certify",
    "chapter": "evalkit.show.register",
    "claim": "evalkit.show.claims",
    "compare": "evalkit.inference.compare",
    "county_study": "evalkit.data.county.study",
    "compliance": "evalkit.gaps.compliance",
    "composition_bounds": "evalkit.inference.composition",
    "conley": "evalkit.inference.conley",
    "conley_taber": "evalkit.inference.controls",
    "ferman_pinto": "evalkit.inference.controls",
    "driscoll_kraay": "evalkit.inference.dependence",
    "few_treated": "evalkit.inference.few_treated",
    "floor_dose": "evalkit.did.dose",
    "infer": "evalkit.inference.infer",
    "influence": "evalkit.inference.influence",
    "jackknife": "evalkit.inference.resample",
    "load": "evalkit.data.contract",
    "mean_reversion": "evalkit.inference.mean_reversion",
    "measure_bounds": "evalkit.inference.measure_bounds",
    "measured_size": "evalkit.inference.size",
    "minimum_detectable_effect": "evalkit.inference.power",
    "placebo": "evalkit.inference.placebo",
    "placebo_dates": "evalkit.inference.placebo_dates",
    "placebo_outcomes": "evalkit.inference.placebo_outcomes",
    "mirrored": "evalkit.inference.mirrored",
    "multiverse": "evalkit.inference.multiverse",
    "monitor": "evalkit.inference.monitor",
    "negative_weights": "evalkit.inference.negative_weights",
    "permuted": "evalkit.inference.multiverse",
    "power_curve": "evalkit.inference.power_curve",
    "pretrends": "evalkit.inference.pretrends",
    "profile": "evalkit.inference.profile",
    "progress_bands": "evalkit.inference.bands",
    "randomisation": "evalkit.inference.randomisation",
    "oster": "evalkit.inference.oster",
    "pass_probability": "evalkit.inference.passing",
    "ranks": "evalkit.inference.ranks",
    "shrink": "evalkit.inference.shrink",
    "spillover_rings": "evalkit.inference.spillover",
    "stack": "evalkit.core.estimate",
    "summaries": "evalkit.data.summaries",
    "two_way_clusters": "evalkit.inference.dependence",
    "wald": "evalkit.inference.wald",
    "wild_bootstrap": "evalkit.inference.wild",
}

_NEEDS_SHOW = ("chapter", "claim", "figures", "tables")

__all__ = [*sorted({*_ROOMS, *_DOORS})]

if TYPE_CHECKING:
    from evalkit import did as did
    from evalkit import gaps as gaps
    from evalkit import value_added as value_added
    from evalkit.core.adoption import Window as Window
    from evalkit.core.estimate import Estimate as Estimate
    from evalkit.core.estimate import stack as stack
    from evalkit.core.known import Known as Known
    from evalkit.core.panel import Panel as Panel
    from evalkit.data import contracts as contracts
    from evalkit.data import simulate as simulate
    from evalkit.data import sources as sources
    from evalkit.data import standards as standards
    from evalkit.data.contract import Contract as Contract
    from evalkit.data.contract import load as load
    from evalkit.data.counts import band_counts as band_counts
    from evalkit.data.county.study import county_study as county_study
    from evalkit.data.summaries import Summaries as Summaries
    from evalkit.data.summaries import summaries as summaries
    from evalkit.did.dose import floor_dose as floor_dose
    from evalkit.gaps.compliance import compliance as compliance
    from evalkit.inference import sensitivity as sensitivity
    from evalkit.inference.adoption_bounds import adoption_bounds as adoption_bounds
    from evalkit.inference.aggregate import aggregate as aggregate
    from evalkit.inference.anderson_rubin import anderson_rubin as anderson_rubin
    from evalkit.inference.bands import progress_bands as progress_bands
    from evalkit.inference.certify import certify as certify
    from evalkit.inference.compare import compare as compare
    from evalkit.inference.composition import composition_bounds as composition_bounds
    from evalkit.inference.conley import conley as conley
    from evalkit.inference.controls import conley_taber as conley_taber
    from evalkit.inference.controls import ferman_pinto as ferman_pinto
    from evalkit.inference.declaration import Declaration as Declaration
    from evalkit.inference.dependence import driscoll_kraay as driscoll_kraay
    from evalkit.inference.dependence import two_way_clusters as two_way_clusters
    from evalkit.inference.few_treated import few_treated as few_treated
    from evalkit.inference.infer import Inference as Inference
    from evalkit.inference.infer import infer as infer
    from evalkit.inference.influence import influence as influence
    from evalkit.inference.mean_reversion import mean_reversion as mean_reversion
    from evalkit.inference.measure_bounds import measure_bounds as measure_bounds
    from evalkit.inference.mirrored import mirrored as mirrored
    from evalkit.inference.monitor import monitor as monitor
    from evalkit.inference.multiverse import multiverse as multiverse
    from evalkit.inference.multiverse import permuted as permuted
    from evalkit.inference.negative_weights import negative_weights as negative_weights
    from evalkit.inference.oster import oster as oster
    from evalkit.inference.passing import pass_probability as pass_probability
    from evalkit.inference.placebo import placebo as placebo
    from evalkit.inference.placebo_dates import placebo_dates as placebo_dates
    from evalkit.inference.placebo_outcomes import placebo_outcomes as placebo_outcomes
    from evalkit.inference.power import minimum_detectable_effect as minimum_detectable_effect
    from evalkit.inference.power_curve import power_curve as power_curve
    from evalkit.inference.pretrends import pretrends as pretrends
    from evalkit.inference.profile import profile as profile
    from evalkit.inference.randomisation import randomisation as randomisation
    from evalkit.inference.ranks import ranks as ranks
    from evalkit.inference.resample import bootstrap as bootstrap
    from evalkit.inference.resample import jackknife as jackknife
    from evalkit.inference.shrink import shrink as shrink
    from evalkit.inference.size import measured_size as measured_size
    from evalkit.inference.spillover import spillover_rings as spillover_rings
    from evalkit.inference.wald import wald as wald
    from evalkit.inference.wild import wild_bootstrap as wild_bootstrap
    from evalkit.show import figures as figures
    from evalkit.show import tables as tables
    from evalkit.show.claims import claim as claim
    from evalkit.show.register import chapter as chapter


def __getattr__(name: str) -> Any:
    if name in _NEEDS_SHOW:
        absent = [need for need in ("matplotlib", "seaborn", "great_tables") if not find_spec(need)]
        if absent:
            raise ImportError(
                f"evalkit.{name} needs {', '.join(absent)}, which the light installation leaves "
                "out; install evalkit[show]"
            )
    if name in _ROOMS:
        value = import_module(_ROOMS[name])
    elif name in _DOORS:
        value = getattr(import_module(_DOORS[name]), name)
    else:
        raise AttributeError(f"module 'evalkit' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
