"""Studies -> figures: differences from the baseline, accuracy against cost, curves, speed.

Every figure shows what the tables show. What would squash the rest is drawn as an arrow with its
number at the edge of the axis. Nothing else of the lab imports this room when it starts: matplotlib
takes half a second.
"""

from __future__ import annotations

from ablations.figures.cost import accuracy_against_cost, cost_of_study
from ablations.figures.curves import axes_of, curves
from ablations.figures.drawing import Drawing, png, svg
from ablations.figures.forest import forest
from ablations.figures.speed import published_speed, speed

__all__ = [
    "Drawing",
    "accuracy_against_cost",
    "axes_of",
    "cost_of_study",
    "curves",
    "forest",
    "png",
    "published_speed",
    "speed",
    "svg",
]
