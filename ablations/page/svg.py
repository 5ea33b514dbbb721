"""Small pictures as SVG within a page; the XML library escapes what is written on them."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from markupsafe import Markup

from ablations.text.escape import svg as safe


def picture(kind: str, width: int, height: int, told: str) -> Element:
    """An empty picture.

    Args:
        kind: Its class.
        width: Pixels.
        height: Pixels.
        told: What it shows, in words, for those who do not see it.
    """
    made = Element("svg", {"class": kind, "role": "img", "width": str(width)})
    made.set("height", str(height))
    made.set("viewBox", f"0 0 {width} {height}")
    ElementTree.SubElement(made, "title").text = safe(told)
    return made


def add(onto: Element, tag: str, kind: str, **attributes: float | str) -> Element:
    """Draw an element; ``stroke_width`` is the attribute ``stroke-width``."""
    values = {
        name.replace("_", "-"): value if isinstance(value, str) else f"{value:g}"
        for name, value in attributes.items()
    }
    return ElementTree.SubElement(onto, tag, {"class": kind, **values})


def write(onto: Element, text: str, x: float, y: float, anchor: str) -> None:
    """Write a word; ``anchor`` is start, middle or end."""
    add(onto, "text", "tick", x=x, y=y, text_anchor=anchor, font_size=10).text = safe(text)


def markup(made: Element) -> Markup:
    """A picture as part of a page."""
    return Markup(ElementTree.tostring(made, encoding="unicode"))
