"""A simulated county study: fictional counties, named assumptions, and the truth beside the data.

No outcome here is of a real place: codes begin with a letter, names say fictional.
"""

from evalkit.data.simulate.assumptions import Assumptions
from evalkit.data.simulate.expand import expand
from evalkit.data.simulate.panel import panel, pupils, write

__all__ = ["Assumptions", "expand", "panel", "pupils", "write"]
