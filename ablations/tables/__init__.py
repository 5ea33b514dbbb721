"""Studies -> tables -> Markdown, CSV, LaTeX, HTML. Notebooks read through this door."""

from __future__ import annotations

from ablations.rows import Study
from ablations.tables import reference
from ablations.tables.ablation import STYLES, ablation, tidy
from ablations.tables.claims import claims, claims_tidy
from ablations.tables.folders import histories, nearby, read
from ablations.tables.table import Table
from ablations.tables.texts import (
    FORMATS,
    OF,
    WIDE,
    csv,
    render,
    text,
    written,
    written_claims,
    written_reference,
)

__all__ = [
    "FORMATS",
    "OF",
    "STYLES",
    "WIDE",
    "Study",
    "Table",
    "ablation",
    "claims",
    "claims_tidy",
    "csv",
    "histories",
    "nearby",
    "read",
    "reference",
    "render",
    "text",
    "tidy",
    "written",
    "written_claims",
    "written_reference",
]
