"""The studies that `python -m simulations` knows. A new one is named here."""

from __future__ import annotations

from simulations.bounds import BOUNDS
from simulations.certification import CERTIFICATION
from simulations.did import DID
from simulations.funding import FUNDING
from simulations.gaps import GAPS
from simulations.group_schooling import GROUP_SCHOOLING
from simulations.inference import INFERENCE
from simulations.measures import MEASURES
from simulations.placebo import MICHIGAN
from simulations.sensitivity import SENSITIVITY
from simulations.teachers import TEACHERS
from simulations.townships import TOWNSHIPS
from simulations.value_added import VALUE_ADDED

COUNTIES = (MEASURES, FUNDING, CERTIFICATION, TOWNSHIPS, GROUP_SCHOOLING, TEACHERS)
ALL = (DID, INFERENCE, MICHIGAN, SENSITIVITY, BOUNDS, VALUE_ADDED, GAPS, *COUNTIES)
STUDIES = {study.name: study for study in ALL}
