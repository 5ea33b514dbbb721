"""Small plots as SVG elements of a page; the XML library escapes their text."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from markupsafe import Markup

from ablations.text.escape import svg as safe


def canvas(css_class: str, width: int, height: int, title: str) -> Element:
    """An empty SVG element.

    Args:
        css_class: Its class.
        width: Pixels.
        height: Pixels.
        title: What it shows, for screen readers.
    """
    attributes = {"class": css_class, "role": "img", "width": str(width), "height": str(height)}
    element = Element("svg", attributes | {"viewBox": f"0 0 {width} {height}"})
    ElementTree.SubElement(element, "title").text = safe(title)
    return element


def add(parent: Element, tag: str, css_class: str, **attributes: float | str) -> Element:
    """Add an element; ``stroke_width`` is the attribute ``stroke-width``."""
    values = {
        name.replace("_", "-"): value if isinstance(value, str) else f"{value:g}"
        for name, value in attributes.items()
    }
    return ElementTree.SubElement(parent, tag, {"class": css_class, **values})


def write_text(parent: Element, text: str, x: float, y: float, anchor: str) -> None:
    """Add text; ``anchor`` is start, middle or end."""
    add(parent, "text", "tick", x=x, y=y, text_anchor=anchor, font_size=10).text = safe(text)


def markup(element: Element) -> Markup:
    """An element as part of a page."""
    return Markup(ElementTree.tostring(element, encoding="unicode"))
