"""The frame of all HTML pages: one template, one style sheet, one script, and no network.

Templates escape every value except ``Markup``, and only the output of a template, great_tables,
matplotlib or an XML library is ``Markup``. The page's content security policy allows the browser to
run this script only, and to load nothing.
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
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        finalize=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["typeset"] = typeset
    return environment


def typeset(text: str) -> Markup:
    """Our own text with real arrows, and with text between backticks as code."""
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(html(arrows(text)))))


def arrows(text: str) -> str:
    """A label with real arrows."""
    return text.replace("->", "→")


def fill_template(template: str, **values: Any) -> Markup:
    """Render a template of this folder; each value is escaped once."""
    return Markup(_environment().get_template(template).render(values))


def html_document(title: str, body: Markup) -> str:
    """A self-contained page.

    Args:
        title: Its title.
        body: Its content.
    """
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = fill_template(
        "page.html",
        title=title,
        body=body,
        style=Markup(style),
        script=Markup(script),
        script_hash=digest,
    )
    return str(page)
