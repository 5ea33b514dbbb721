"""Studies -> tables -> Markdown, CSV, LaTeX, HTML; the public functions of this package."""

from __future__ import annotations

from ablations.analysis.study import Study
from ablations.tables.ablation import (
    BOOTSTRAP,
    STYLES,
    ablation_frame,
    ablation_table,
    parse_columns,
)
from ablations.tables.claims import claims_frame, claims_table
from ablations.tables.downstream import downstream_frame, downstream_table
from ablations.tables.imagenet import imagenet_frame, imagenet_table
from ablations.tables.loading import find_folder, load_histories, load_studies
from ablations.tables.pivot import find_grids, pivot_frame, pivot_table
from ablations.tables.rendering import (
    FORMATS,
    KINDS,
    WIDE_LATEX,
    View,
    render,
    render_claims,
    render_csv,
    render_published,
    render_studies,
    render_tables,
)
from ablations.tables.sizes import sizes_frame, sizes_table
from ablations.tables.table import Table

__all__ = [
    "BOOTSTRAP",
    "FORMATS",
    "KINDS",
    "STYLES",
    "WIDE_LATEX",
    "Study",
    "Table",
    "View",
    "ablation_frame",
    "ablation_table",
    "claims_frame",
    "claims_table",
    "downstream_frame",
    "downstream_table",
    "find_folder",
    "find_grids",
    "imagenet_frame",
    "imagenet_table",
    "load_histories",
    "load_studies",
    "parse_columns",
    "pivot_frame",
    "pivot_table",
    "render",
    "render_claims",
    "render_csv",
    "render_published",
    "render_studies",
    "render_tables",
    "sizes_frame",
    "sizes_table",
]
