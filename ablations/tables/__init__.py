"""Studies -> tables -> Markdown, CSV, LaTeX, HTML; what notebooks and other packages use."""

from __future__ import annotations

from ablations.tables.ablation import study_table
from ablations.tables.claims import claims_table
from ablations.tables.downstream import downstream_table
from ablations.tables.imagenet import imagenet_table
from ablations.tables.loading import find_folder, load_histories, load_studies
from ablations.tables.pivot import pivot_table
from ablations.tables.rendering import FORMATS, View, render, render_studies, render_tables
from ablations.tables.sizes import sizes_table
from ablations.tables.table import Table

__all__ = [  # the documentation shows these
    "FORMATS",
    "Table",
    "View",
    "claims_table",
    "downstream_table",
    "find_folder",
    "imagenet_table",
    "load_histories",
    "load_studies",
    "pivot_table",
    "render",
    "render_studies",
    "render_tables",
    "sizes_table",
    "study_table",
]
