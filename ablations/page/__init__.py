"""What every page of ours looks like: one frame, one style sheet, one script, and no network.

Templates escape every value by themselves; only ``Markup`` passes as it is, and only what a
template, great_tables, matplotlib or an XML library has made is ``Markup``. The page's own policy
forbids the browser to load anything and to run any script but ours.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ablations.text.escape import html

HERE = Path(__file__).parent


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        finalize=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["typeset"] = typeset
    return made


def typeset(text: str) -> Markup:
    """Text of ours as print has it: arrows, and what stands between backticks as code."""
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(html(arrows(text)))))


def arrows(text: str) -> str:
    """A label as print has it."""
    return text.replace("->", "→")


def fill_template(template: str, **values: Any) -> Markup:
    """A template of this folder with its values, each escaped once."""
    return Markup(_environment().get_template(template).render(values))


def html_document(title: str, body: Markup) -> str:
    """A whole page that needs nothing besides itself.

    Args:
        title: What the browser calls it.
        body: What stands on it.
    """
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    seal = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    whole = fill_template(
        "page.html",
        title=title,
        body=body,
        style=Markup(style),
        script=Markup(script),
        seal=seal,
    )
    return str(whole)
