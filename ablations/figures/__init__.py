"""Studies -> figures: differences, accuracy against cost, training curves, speed, image flips.

A figure shows the numbers of the tables. A value that would squash the others is an arrow with its
number at the edge of the axis. Other packages import this one only when they draw: matplotlib takes
half a second.
"""

from __future__ import annotations

from ablations.figures.cost import accuracy_against_cost, cost_of_study
from ablations.figures.curves import ablation_axes, training_curves
from ablations.figures.drawing import StyledFigure, to_png, to_svg
from ablations.figures.flips import contact_sheet
from ablations.figures.forest import forest_plot
from ablations.figures.speed import published_speed, training_speed

__all__ = [
    "StyledFigure",
    "ablation_axes",
    "accuracy_against_cost",
    "contact_sheet",
    "cost_of_study",
    "forest_plot",
    "published_speed",
    "to_png",
    "to_svg",
    "training_curves",
    "training_speed",
]
