"""The images that flip between the baseline and the row that differs most from it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup

from ablations.analysis.flips import load_images, most_different
from ablations.analysis.study import Study
from ablations.errors import ConfigError, DataError, RecordError
from ablations.page import arrows, fill_template
from ablations.store.load import LoadResult
from ablations.store.predictions import Predictions, load_predictions
from ablations.store.records import RECORD_FILE
from ablations.tables.flips import counts_table
from ablations.tables.html_tables import html_table

SHOWN = 12  # images of each direction


def read_predictions(found: LoadResult) -> tuple[dict[str, Predictions], list[str]]:
    """The predictions beside records on disk, by run id, and a message for each damaged file."""
    predictions, problems = {}, []
    for record in found.records:
        path = Path(found.origins.get(record.run_id, ""))
        if path.name != RECORD_FILE:
            continue  # a run of W&B
        try:
            if loaded := load_predictions(path.parent, record):
                predictions[record.run_id] = loaded
        except RecordError as error:
            problems.append(str(error))
    return predictions, problems


def flips_section(study: Study, predictions: Mapping[str, Predictions], name: str) -> Markup:
    """The contact sheet and McNemar's counts, or one line that says why there are none.

    Args:
        study: The study.
        predictions: Those of its runs, by run id.
        name: The prefix of the ids in the section.
    """
    try:
        flips = most_different(study, predictions)
        images = load_images(flips)
    except (ConfigError, DataError, RecordError) as error:
        return fill_template("flips.html", reason=str(error))
    from ablations import figures

    row = arrows(flips.row.row.label)
    sheet = figures.to_png(figures.contact_sheet(flips, images, SHOWN))
    return fill_template(
        "flips.html",
        reason=None,
        png=base64.b64encode(sheet).decode(),
        caption=f"{row}, the row that differs most from the baseline: images gained and lost",
        counts=Markup(html_table(counts_table(flips), f"{name}mcnemar")) if flips.counts else "",
    )
