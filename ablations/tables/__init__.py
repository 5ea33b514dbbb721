"""Studies -> tables -> Markdown, CSV, LaTeX, HTML. Notebooks read through this door."""

from __future__ import annotations

from ablations.analysis.rows import Study
from ablations.tables import reference
from ablations.tables.ablation import BOOTSTRAP, STYLES, ablation, columns_named, tidy
from ablations.tables.claims import claims, claims_tidy
from ablations.tables.folders import histories, nearby, read
from ablations.tables.pivot import pivot, pivot_tidy, pivots
from ablations.tables.rendering import (
    FORMATS,
    OF,
    WIDE,
    View,
    csv,
    render,
    text,
    written,
    written_claims,
    written_reference,
)
from ablations.tables.table import Table

__all__ = [
    "BOOTSTRAP",
    "FORMATS",
    "OF",
    "STYLES",
    "WIDE",
    "Study",
    "Table",
    "View",
    "ablation",
    "claims",
    "claims_tidy",
    "columns_named",
    "csv",
    "histories",
    "nearby",
    "pivot",
    "pivot_tidy",
    "pivots",
    "read",
    "reference",
    "render",
    "text",
    "tidy",
    "written",
    "written_claims",
    "written_reference",
]
