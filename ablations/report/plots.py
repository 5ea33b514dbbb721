"""Figures of a study as parts of a page: text as shapes, ids of their own, no addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree

from markupsafe import Markup

from ablations import figures
from ablations.analysis.study import Study
from ablations.report.curves import History

MOST = 60  # rows; names of more cannot be read beside their marks
# Digits of coordinates beyond a hundredth of a point are half of a figure's size.
LONG = re.compile(r"(\.\d\d)\d+")
COORDINATES = {"d", "x", "y", "points", "width", "height"}


def study_plots(
    study: Study, histories: Mapping[str, History], name: str
) -> list[tuple[str, Markup]]:
    """What each figure shows, in words, and the figure; none for a study of very many rows.

    Args:
        study: The study.
        histories: The rows of each run by its id.
        name: What the ids of the figures' elements start with.
    """
    if len(study.rows) > MOST or not any(row.top1 for row in study.rows):
        return []
    drawn: list[tuple[str, figures.StyledFigure]] = []
    if any(row.delta for row in study.rows):
        drawn.append(("Each variant's difference from the baseline", figures.forest_plot(study)))
    if any(row.cost for row in study.rows):
        drawn.append(("Accuracy against cost", figures.cost_of_study(study)))
    for axis in figures.ablation_axes(study):
        rows = [row for row in study.rows if row.axis == axis]
        if any(len(histories.get(run.run_id, ())) > 1 for row in rows for run in row.records):
            told = f"{axis}: accuracy by epoch"
            drawn.append((told, figures.training_curves(study, histories, axis)))
    return [
        (told, inline_svg(figures.to_svg(figure), f"{name}p{number}", told))
        for number, (told, figure) in enumerate(drawn, start=1)
    ]


def inline_svg(figure: str, name: str, told: str) -> Markup:
    """An SVG file as an element of a page.

    Args:
        figure: The file's text.
        name: What the ids of its elements start with, so that no other figure has them.
        told: What it shows, in words.
    """
    made = ElementTree.fromstring(figure)  # comments and the document type are gone
    for parent in made.iter():
        for child in list(parent):
            # Metadata has addresses, and a style within a figure is one for the whole page.
            if _bare(child.tag) in ("metadata", "style"):
                parent.remove(child)
    named = set(re.findall(r"#([\w.-]+)", figure))
    for element in made.iter():
        if element.get("id") not in named:
            element.attrib.pop("id", None)
        element.tag = _bare(element.tag)
        attributes = dict(element.attrib)
        element.attrib.clear()
        for key, value in attributes.items():
            element.set(_bare(key), _own(_bare(key), value, name))
    made.set("stroke-linejoin", "round")  # what matplotlib's style says of all elements
    made.set("stroke-linecap", "butt")
    made.set("role", "img")
    made.set("aria-label", told)
    made.set("class", "plot")
    return Markup(ElementTree.tostring(made, encoding="unicode"))


def _bare(name: str) -> str:
    """A name without its namespace, as HTML has it."""
    return name.rpartition("}")[2]


def _own(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value[1:]}" if value.startswith("#") else value
    if key in COORDINATES:
        return LONG.sub(r"\1", value)
    return value.replace("url(#", f"url(#{name}-")
