"""Figures of a study as SVG elements of a page, with unique ids and without metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree

from markupsafe import Markup

from ablations import figures
from ablations.analysis.study import Study
from ablations.report.curves import History

MAX_ROWS = 60  # with more, their names are too small to read
# Digits beyond a hundredth of a point take half of a figure's size.
EXCESS_DIGITS = re.compile(r"(\.\d\d)\d+")
COORDINATES = {"d", "x", "y", "points", "width", "height"}


def study_plots(
    study: Study, histories: Mapping[str, History], name: str
) -> list[tuple[str, Markup]]:
    """The caption and the SVG of each figure; none for a study of very many rows.

    Args:
        study: The study.
        histories: The rows of each run by its id.
        name: The prefix of the ids in the figures.
    """
    if len(study.rows) > MAX_ROWS or not any(row.top1 for row in study.rows):
        return []
    drawn: list[tuple[str, figures.StyledFigure]] = []
    if any(row.delta for row in study.rows):
        drawn.append(("Each variant's difference from the baseline", figures.forest_plot(study)))
    if any(row.cost for row in study.rows):
        drawn.append(("Accuracy against cost", figures.cost_of_study(study)))
    for axis in figures.ablation_axes(study):
        rows = [row for row in study.rows if row.axis == axis]
        if any(len(histories.get(run.run_id, ())) > 1 for row in rows for run in row.records):
            drawn.append(
                (f"{axis}: accuracy by epoch", figures.training_curves(study, histories, axis))
            )
    return [
        (caption, inline_svg(figures.to_svg(figure), f"{name}p{number}", caption))
        for number, (caption, figure) in enumerate(drawn, start=1)
    ]


def inline_svg(figure: str, name: str, caption: str) -> Markup:
    """An SVG file as an element of a page.

    Args:
        figure: The file's text.
        name: The prefix of its ids, unique in the page.
        caption: What it shows.
    """
    root = ElementTree.fromstring(figure)  # drops comments and the document type
    for parent in root.iter():
        for child in list(parent):
            # Metadata has addresses, and a style element would apply to the whole page.
            if _bare(child.tag) in ("metadata", "style"):
                parent.remove(child)
    referenced = set(re.findall(r"#([\w.-]+)", figure))
    for element in root.iter():
        if element.get("id") not in referenced:
            element.attrib.pop("id", None)
        element.tag = _bare(element.tag)
        attributes = dict(element.attrib)
        element.attrib.clear()
        for key, value in attributes.items():
            element.set(_bare(key), _own(_bare(key), value, name))
    root.set("stroke-linejoin", "round")  # from matplotlib's style element
    root.set("stroke-linecap", "butt")
    root.set("role", "img")
    root.set("aria-label", caption)
    root.set("class", "plot")
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _bare(name: str) -> str:
    """A name without its namespace."""
    return name.rpartition("}")[2]


def _own(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value[1:]}" if value.startswith("#") else value
    if key in COORDINATES:
        return EXCESS_DIGITS.sub(r"\1", value)
    return value.replace("url(#", f"url(#{name}-")
