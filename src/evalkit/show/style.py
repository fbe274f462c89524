"""One look for every figure: fonts, colours safe for the colour-blind, sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FONTS = Path(__file__).parent / "fonts"

INK = "#1f2933"
MUTED = "#5f6c7b"
GRID = "#dde3ea"
PAPER = "#ffffff"
# Okabe and Ito's palette, darkened where thin lines on white need it.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = (
    "#0067a5",
    "#d55e00",
    "#00795a",
    "#b3003c",
    "#8a4f9e",
    "#3a9bdc",
)
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY)
TIER_COLOURS = {"real": GREEN, "documented": BLUE, "restricted": PURPLE, "synthetic": RED}
STAMPS = {
    "real": "real data",
    "documented": "documented facts, no outcome",
    "restricted": "restricted data",
    "synthetic": "SYNTHETIC DATA, known truth",
}


def apply() -> None:
    """Set the style for this process."""
    import seaborn as sns
    from cycler import cycler
    from matplotlib import font_manager

    families = ["DejaVu Sans"]
    for path in sorted(FONTS.glob("*.[ot]tf")):
        font_manager.fontManager.addfont(str(path))
        families.append(font_manager.FontProperties(fname=str(path)).get_name())
    settings: dict[str, Any] = {
        "font.family": families,
        "font.size": 10,
        "figure.figsize": (8.0, 4.4),
        "figure.dpi": 100,
        "savefig.dpi": 150,
        "figure.facecolor": PAPER,
        "axes.facecolor": PAPER,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.titlelocation": "left",
        "axes.titlesize": 12,
        "axes.titleweight": "bold",
        "axes.titlepad": 12,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "axes.prop_cycle": cycler(color=list(CYCLE)),
        "grid.color": GRID,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "legend.frameon": False,
        "axes.unicode_minus": True,
        "svg.hashsalt": "evalkit",
    }
    sns.set_theme(style="ticks", rc=settings)
