"""Who teaches the tested subjects in a simulated county, by year, and who changed schools.

Exchange becomes more frequent when the county begins to manage its teachers. What that does to
scores is an assumption of its own: no teacher carries an effect from school to school.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.core.arrays import Codes, Flags, Vector
from evalkit.data.simulate import draws
from evalkit.data.simulate.assumptions import Assumptions
from evalkit.data.simulate.county import County
from evalkit.data.simulate.places import Places
from evalkit.data.simulate.resources import PUPILS_PER_TEACHER
from evalkit.data.simulate.tables import code, school_ids

if TYPE_CHECKING:
    import pandas as pd

CAREER = 36  # years of teaching, after which a post is filled anew
DEGREES = (("college", 0.25), ("bachelor", 0.65), ("master", 0.10))
TITLES = ("none", "third", "second", "first", "senior")
BACKBONE, SEASONED = 0.18, 5  # share of teachers who get the title, and years until they may
KINDS = ("exchange", "transfer")


@dataclass(frozen=True, slots=True, eq=False)
class Staff:
    """Posts ``(P,)`` and who holds them ``(P, T)``, -1 before the school opens.

    ``hired`` (year) and ``number`` describe teachers ``(N,)``; ``experience`` is that of the year
    of hiring; ``kind`` ``(P, T)`` says how the holder came: -1 was here or is new, else of `KINDS`.
    """

    school: Codes
    holder: Codes
    kind: Codes
    hired: Codes
    experience: Codes


def staff(a: Assumptions, p: Places, managed: float) -> Staff:
    """Fill the posts year by year: some leave, new ones come, and some change places in pairs."""
    school = np.repeat(np.arange(a.schools), _posts(a, p))
    post, years = np.arange(len(school)), list(a.years)
    holder, kind = np.full((2, len(school), len(years)), -1)
    begun = draws.uniform(a.seed, "experience", p.county, post)
    hired: list[int] = []
    known: list[int] = []
    held = np.full(len(school), -1)
    for t, year in enumerate(years):
        since = np.array(known, np.intp) + year - np.array(hired, np.intp)
        leaves = draws.uniform(a.seed, "leaves", p.county, post, year) < a.turnover
        leaves[held >= 0] |= since[held[held >= 0]] >= CAREER
        empty = (p.opens[school] <= year) & ((held < 0) | leaves)
        fresh = held >= 0 if t else np.zeros(len(school), bool)
        held[empty] = len(hired) + np.arange(empty.sum())
        hired += [year] * int(empty.sum())
        known += np.where(fresh, 0, (CAREER * begun).astype(int))[empty].tolist()
        if t:
            free = (p.opens[school] <= year) & ~empty
            rate = a.exchange + a.exchange_added * (year >= managed)
            for number, share in enumerate((rate, a.transfers)):
                here, there = _pairs(a, p, school, free, year, share, KINDS[number])
                held[here], held[there] = held[there], held[here]
                kind[here, t] = kind[there, t] = number
                free[here] = free[there] = False
        holder[:, t] = held
    return Staff(school, holder, kind, np.array(hired), np.array(known))


def _posts(a: Assumptions, p: Places) -> Codes:
    """Posts for the two tested subjects in each school, the same in all its years."""
    pupils = p.pupils.sum(axis=1) / np.maximum(p.open.sum(axis=1), 1)
    posts = np.rint(a.subject_staff * pupils / PUPILS_PER_TEACHER[p.junior])
    return np.asarray(np.maximum(posts, 1).astype(np.intp))


def _pairs(
    a: Assumptions, p: Places, school: Codes, free: Flags, year: int, share: float, kind: str
) -> tuple[Codes, Codes]:
    """Posts whose holders change places: pairs in different schools of one level.

    Their number is drawn so that ``share`` of the free posts change hands on average.
    """
    order = draws.uniform(a.seed, f"{kind} of teachers", p.county, np.arange(len(school)), year)
    pairs: list[tuple[int, int]] = []
    for junior in (0, 1):
        here = np.flatnonzero(free & (p.junior[school] == junior))
        extra = float(draws.uniform(a.seed, f"pairs in {kind}", p.county, junior, year))
        waiting = here[np.argsort(order[here], kind="stable")].tolist()
        for _ in range(int(share * len(here) / 2 + extra)):
            first = waiting.pop(0)
            other = next((k for k in waiting if school[k] != school[first]), None)
            if other is None:
                break
            waiting.remove(other)
            pairs.append((first, other))
    made = np.array(pairs, np.intp).reshape(-1, 2)
    return made[:, 0], made[:, 1]


def teacher_year(found: County) -> pd.DataFrame:
    """The table ``teacher_year``: teachers of the tested subjects, sorted by teacher and year."""
    import pandas as pd

    a, p = found.assumptions, found.places
    made = staff(a, p, found.calendar.managed)
    post, t = np.nonzero(made.holder >= 0)
    who = made.holder[post, t]
    order = np.lexsort((t, who))
    post, t, who = post[order], t[order], who[order]
    school, year = made.school[post], t + a.first
    stayed = np.r_[False, who[1:] == who[:-1]]
    before = np.where(stayed, np.r_[0, school[:-1]], school)
    moved, ids = before != school, school_ids(found)
    experience = made.experience[who] + year - made.hired[who]
    keys = np.array([f"{code(p.county)}E{n + 1:05d}" for n in range(len(made.hired))])
    return pd.DataFrame(
        {
            "teacher_key": keys[who],
            "year": year,
            "school_id": ids[school],
            "degree": draws.choice(DEGREES, _of_teacher(found, "degree", who)),
            "title": np.array(TITLES)[_title(found, who, experience)],
            "backbone": (experience >= SEASONED) & (_of_teacher(found, "backbone", who) < BACKBONE),
            "moved_from": pd.Series(ids[before]).where(moved),
            "move_kind": pd.Series(np.array(KINDS)[made.kind[post, t]]).where(moved),
            "experience": experience,
        }
    )


def _of_teacher(found: County, purpose: str, who: Codes) -> Vector:
    return draws.uniform(found.assumptions.seed, f"{purpose} of teacher", found.places.county, who)


def _title(found: County, who: Codes, experience: Codes) -> Codes:
    """Steps of the title: after one year, three, some ten, and for some a senior one later."""
    first = 8 + 6 * _of_teacher(found, "first title", who)
    senior = 14 + 50 * _of_teacher(found, "senior title", who)
    steps: Any = [experience >= since for since in (1, 3, first, np.maximum(senior, first))]
    return np.asarray(np.sum(steps, axis=0), np.intp)
