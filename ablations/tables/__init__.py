"""Studies -> tables -> Markdown, CSV, LaTeX, HTML; what notebooks and other packages use."""

from __future__ import annotations

from ablations.tables.ablation import study_table as study_table
from ablations.tables.claims import claims_table as claims_table
from ablations.tables.downstream import downstream_table as downstream_table
from ablations.tables.imagenet import imagenet_table as imagenet_table
from ablations.tables.loading import find_folder as find_folder
from ablations.tables.loading import load_histories as load_histories
from ablations.tables.loading import load_studies as load_studies
from ablations.tables.pivot import pivot_table as pivot_table
from ablations.tables.rendering import FORMATS as FORMATS
from ablations.tables.rendering import View as View
from ablations.tables.rendering import render as render
from ablations.tables.rendering import render_studies as render_studies
from ablations.tables.rendering import render_tables as render_tables
from ablations.tables.sizes import sizes_table as sizes_table
from ablations.tables.table import Table as Table
