"""The tables of studies as W&B tables and an artifact."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablations.analysis.build import build_studies
from ablations.analysis.study import Study
from ablations.config.schema import SystemConfig
from ablations.errors import TrackerError
from ablations.store.records import Record
from ablations.tables import FORMATS, render, study_table
from ablations.tracking import client

NAME = "ablation-table"


@dataclass(frozen=True)
class Published:
    """Where a table went.

    Args:
        url: The address of its run; None offline.
        folder: The client's local copy, to sync if W&B was offline.
    """

    url: str | None
    folder: Path


def publish(records: Sequence[Record], path: str | None = None) -> Published:
    """Log the tables of all studies among records, one W&B table a study, and all as an artifact.

    Args:
        records: Runs of any studies.
        path: ``entity/project`` or ``project``; None for the default project of runs.

    Raises:
        TrackerError: W&B refuses or does not answer.
    """
    entity, project = client.entity_and_project(SystemConfig())
    if path:
        entity, project = client.split_path(path)
    mode = client.mode()
    if mode == "disabled":
        raise TrackerError("nothing is published with WANDB_MODE=disabled")
    found = build_studies(records)
    run = client.init(
        mode,
        entity=entity,
        project=project,
        name=NAME,
        job_type="table",
        dir=client.wandb_folder(os.curdir),
        tags=sorted({study.recipe for study in found}),
        config={"run_ids": sorted(record.run_id for record in records)},
    )
    folder = Path(run.dir).parent
    try:
        try:
            _log(run, found, records)
        finally:
            run.finish()
    except Exception as error:  # whatever the client raises
        raise TrackerError(
            f"{client.describe_error(error)}; the table is in {folder}: "
            f"wandb sync --include-online {folder}"
        ) from error
    return Published(run.url if mode == "online" else None, folder)


def _log(run: Any, found: Sequence[Study], records: Sequence[Record]) -> None:
    import wandb

    for study in found:
        frame = study_table(study).values
        rows: list[Any] = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
        table = wandb.Table(columns=list(frame.columns), data=rows, allow_mixed_types=True)
        images = f"{study.data} {study.fingerprint[:8]}"
        run.log({f"{study.recipe}/{images}, {study.training_length}, {study.precision}": table})
    artifact = wandb.Artifact(NAME, type="table", metadata={"records": len(records)})
    with tempfile.TemporaryDirectory() as scratch:
        for style in FORMATS:
            file = Path(scratch, f"table.{style}")
            file.write_text(render(records, style), encoding="utf-8")
            artifact.add_file(str(file))
        run.log_artifact(artifact)
