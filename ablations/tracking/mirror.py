"""A run in W&B: its name, group and tags, the config, metrics by epoch, and the record."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ablations.config import diff, naming
from ablations.config.schema import RunConfig
from ablations.errors import TrackerError
from ablations.store.records import WEIGHTS_FILE, Record
from ablations.tracking import client
from ablations.tracking.tracker import GuardedTracker, Tracker

log = logging.getLogger("ablations.tracking")

_TRAINING_COLUMNS = ["lr", "pictures", "train_seconds", "epoch_seconds"]
# The best value of a metric, which the summary has besides the last one.
_BEST = {"val/top1": "max", "val/top5": "max", "val/loss": "min", "train/loss": "min"}
# Seconds to wait before each check that W&B has the end of a run.
_UPLOAD_WAITS = [0, 1, 3]
# Fields of a record that are not in the summary: the config or W&B itself has them.
NOT_IN_SUMMARY = ["run_id", "config", "tracker"]


class WandbTracker(Tracker):
    """Mirrors one run.

    Args:
        config: The run.
        folder: Where the client keeps its own files.
        previous: The tracker ids of an earlier start of the run, which is continued.
        tags: Tags besides the axis and the recipe.
        extra: Entries of the W&B config besides the run's.

    Raises:
        TrackerError: W&B refuses: unknown entity, wrong key, or not a W&B server.
    """

    unreachable = False  # the server did not answer: this process does not wait for it again
    reached = False  # it has answered once: later errors do not refuse a run

    def __init__(
        self,
        config: RunConfig,
        folder: Path | str,
        previous: Mapping[str, Any],
        tags: Sequence[str] = (),
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        mode = client.mode()
        self.online = mode == "online" and not WandbTracker.unreachable
        own = client.agent_run_id() or previous.get("wandb")
        again = own is not None and own == previous.get("wandb")
        options = run_options(config) | {
            "dir": str(folder),
            "id": own,
            "config": config_for_wandb(config) | dict(extra or {}),
            # A run that starts from scratch overwrites what W&B has of it, and so does its sync.
            "resume": "allow" if mode == "online" and again else None,
        }
        options["tags"] = list(dict.fromkeys([*options["tags"], *tags, *client.user_tags()]))
        if again:  # it continues in its own project, whatever the environment says
            options |= {name: previous.get(name) for name in ("entity", "project")}
        seconds = client.WEIGHTS_SECONDS if config.system.log_model else client.FINISH_SECONDS
        try:
            self.run = client.init("online" if self.online else "offline", seconds, **options)
        except TrackerError as error:
            self.run = self._start_otherwise(error, again, seconds, options)
        WandbTracker.reached |= self.online
        # Rows below this one are in W&B already.
        self.first_step, self.logged_epochs = self.run.starting_step, set[int]()
        self.run.define_metric("epoch")
        for name, best in _BEST.items():
            self.run.define_metric(name, step_metric="epoch", summary=f"{best},last")
        for pattern in ("train/*", "val/*"):
            self.run.define_metric(pattern, step_metric="epoch")
        self.folder = Path(self.run.dir).parent
        if mode == "online" and not self.online:
            self.unsent = self.folder
        self.ids = {
            "wandb": self.run.id,
            "entity": self.run.entity or None,
            "project": self.run.project,
            "mode": "online" if self.online else "offline",
            "sweep": self.run.sweep_id,
        }

    def _start_otherwise(
        self, error: TrackerError, again: bool, seconds: float, options: dict[str, Any]
    ) -> Any:
        """Start the run as a new one, or offline, after ``error``.

        Raises:
            TrackerError: W&B refuses it, and has accepted no other run of this process.
        """
        if not client.is_unreachable(error) and not WandbTracker.reached:
            if not again or client.agent_run_id():
                raise error
            # The earlier run may have been deleted, and W&B does not reuse ids.
            log.warning("%s; a new run replaces it", error)
            options |= {"id": None, "resume": None}
            return client.init("online", seconds, **options)
        log.warning("%s; this run continues offline", error)
        WandbTracker.unreachable, self.online = True, False
        return client.init("offline", seconds, **{**options, "resume": None})

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self.logged_epochs.add(epoch)
        if epoch >= self.first_step:
            shown = {in_section(name): value for name, value in metrics.items()}
            self.run.log({"epoch": epoch, **shown}, step=epoch, commit=True)

    def finish(self, record: Record, files: Sequence[Path]) -> None:
        try:
            if record.failure:
                self.run.write_logs(f"{record.failure['kind']}: {record.failure['message']}")
            else:
                self.run.write_logs(f"{record.status}: top-1 {record.metric() or 0:.2f}%")
            whole = asdict(record)
            self.run.summary.update({k: v for k, v in whole.items() if k not in NOT_IN_SUMMARY})
            self._upload_files(record.run_id, files)
        finally:  # an open run would take the logs of the next run of this process
            self._finish_run(0 if record.done else 1)
        if self.online and not self.unsent and not self._is_uploaded(record):
            self.unsent = self.folder

    def _upload_files(self, run_id: str, files: Sequence[Path]) -> None:
        """Upload the record and its files, also as an artifact, and the weights as another.

        The files are copied to the run's own folder, for `wandb sync` and for reading offline.
        """
        import wandb

        kept = wandb.Artifact(f"record-{run_id}", type="record")
        model = wandb.Artifact(f"weights-{run_id}", type="model")
        for file in files:
            if file.name == WEIGHTS_FILE:
                model.add_file(str(file), policy="immutable", skip_cache=True)
            else:
                copy = shutil.copy(file, self.run.dir)
                self.run.save(copy, base_path=self.run.dir, policy="end")
                kept.add_file(copy, policy="immutable", skip_cache=True)
        try:
            for artifact in (kept, model):
                if artifact.manifest.entries:
                    self.run.log_artifact(artifact)
        except Exception as error:  # online the client asks the server first
            log.warning("no artifacts: %s", client.describe_error(error))
            self.unsent = self.folder
            WandbTracker.unreachable |= client.is_unreachable(error)

    def interrupt(self, code: int) -> None:
        self.run.write_logs(f"interrupted with exit code {code}; the next start continues it")
        self.run.mark_preempting()
        self._finish_run(code)
        client.limit_exit(code)

    def _finish_run(self, code: int) -> None:
        try:
            self.run.finish(exit_code=code)
        except TimeoutError:
            self.unsent = self.folder
            WandbTracker.unreachable = True

    def _is_uploaded(self, record: Record) -> bool:
        """Whether W&B has all epochs and the end of the run; a broken proxy can lose rows."""
        try:
            for wait in _UPLOAD_WAITS:
                time.sleep(wait)
                run = client.api().run(self.run.path)
                there = {row["epoch"] for row in run.scan_history(keys=["epoch"])}
                ended = run.state != "running" and run.summary.get("status") == record.status
                if ended and self.logged_epochs <= there:
                    return True
        except Exception as error:  # whatever the client raises
            log.warning("%s", client.describe_error(error))
        return False


def in_section(name: str) -> str:
    """The name in W&B of a column of the history; the slash puts it into a section."""
    return f"train/{name}" if name in _TRAINING_COLUMNS else name


def end_unstarted_run(message: str, code: int, again: bool) -> None:
    """End a run of the agent that failed before training, with the reason in its log.

    Otherwise W&B would show a crash without a reason.

    Args:
        message: The reason.
        code: The exit code of the process.
        again: Whether the agent should start it again, as after a signal.
    """
    try:
        run = client.init(client.mode(), job_type="train", tags=[] if again else ["refused"])
        run.write_logs(client.redact(message))
        if again:
            run.mark_preempting()
        run.finish(exit_code=code)
    except Exception as error:  # the terminal and the exit code report it too
        log.warning("%s", client.describe_error(error))


_MAX_LENGTH = 128  # characters of a name or a group in W&B


def run_options(config: RunConfig) -> dict[str, Any]:
    """The options of ``wandb.init`` for a run: project, name, group, job type and tags."""
    entity, project = client.entity_and_project(config.system)
    whole = config.to_json()
    changed = diff.changes_from_recipe(whole)
    changed = {name: change for name, change in changed.items() if name not in naming.LENGTH_FIELDS}
    axis, name = naming.axis_of(changed), naming.run_name(whole)
    if len(name) > _MAX_LENGTH:  # the seed is at its end
        end = name[name.rindex(", seed ") :]
        name = f"{name[: _MAX_LENGTH - len(end) - 1]}…{end}"
    cell = f"{config.recipe}: {naming.describe_config(whole)}"
    return {
        "entity": entity,
        "project": project,
        "name": name,
        "group": f"{cell[: _MAX_LENGTH - 14]} {config.variant_id}",
        "job_type": "train",
        "tags": [axis[:64], config.recipe],
    }


def config_for_wandb(config: RunConfig) -> dict[str, Any]:
    """The config and its id, without the parameters that the agent has set.

    The client ignores a program's value of a swept parameter, with a warning. If a value of the
    agent differs from the run's (a group of fields, say), ``resolved`` has the whole config.
    """
    whole = config.to_json()
    locked = client.sweep_parameters()
    logged = {"run_id": config.run_id, **{k: v for k, v in whole.items() if k not in locked}}
    if any(whole[name] != value for name, value in locked.items() if name in whole):
        logged["resolved"] = whole
    return logged


def start_tracker(config: RunConfig, results: Path, previous: Mapping[str, Any]) -> Tracker:
    """The tracker that ``system.tracker`` names, its files under ``<results>/wandb``.

    Args:
        config: The run.
        results: The folder of all runs.
        previous: The tracker ids of an earlier start of the run.

    Raises:
        TrackerError: W&B refuses the run. If it does not answer, the run continues offline.
    """
    if config.system.tracker == "none" or client.mode() == "disabled":
        return Tracker()
    try:
        return GuardedTracker(WandbTracker(config, client.wandb_folder(results), previous))
    except TrackerError:
        raise
    except Exception as error:  # whatever the client raises
        log.warning("the tracker does not start and is left out: %s", client.describe_error(error))
        return Tracker()
