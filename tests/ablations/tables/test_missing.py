"""What a study lacks is shown as missing, with a command that trains exactly that."""

from __future__ import annotations

import csv
import re
from dataclasses import replace

import pytest

from ablations.analysis.build import build_studies
from ablations.analysis.rows import row_position
from ablations.cli.main import main
from ablations.config.resolve import preset_names, resolve
from ablations.config.schema import RunConfig
from ablations.store.records import Record
from ablations.store.run_state import RunState
from ablations.tables import (
    FORMATS,
    View,
    load_studies,
    missing,
    render,
    render_studies,
    study_table,
)
from tests.factories.commands import commands, configs_of
from tests.factories.records import BASE, IDENTITY, record


def run_ids_of(command: str) -> list[str]:
    return [config.run_id for config in configs_of(command)]


def test_all_rows_adds_the_papers_rows_with_their_commands():
    text = render([*BASE, *IDENTITY], "md", "paper", all_rows=True)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 18
    assert lines[0].replace(" ", "") == "|Ablation|Variant|Params(M)|MACs(M)|Top-1(%)|"
    assert sum("missing" in line for line in lines) == 16
    found = {run for command in commands(text) for run in run_ids_of(command)}
    for name, value in (("norm", "batch"), ("pool_size", 9), ("residual", False)):
        assert {resolve("mini", {f"model.{name}": value, "seed": s}).run_id for s in (0, 1, 2)} <= (
            found
        )
    for preset in ("ppaa", "pppf"):
        assert resolve("mini", {"seed": 2}, preset).run_id in found


@pytest.mark.parametrize("style", ["full", "paper"])
@pytest.mark.parametrize("form", FORMATS)
def test_a_table_has_only_the_rows_of_its_study(form, style):
    found = [*BASE, record(model__norm="batch")]
    text = render(found, form, style)
    assert "LayerNorm -> None" not in text.replace("→", "->")
    whole = render(found, form, style, all_rows=True)
    assert len(whole) > len(text)


def test_started_rows_and_seeds_are_in_the_table(tmp_path, capsys):
    for run in (*BASE, record(0, model__norm="batch")):
        run.write(tmp_path)
    for seed, norm in ((1, "batch"), (0, "none"), (2, "none"), (0, "group")):
        config = resolve("mini", {"model.norm": norm, "seed": seed})
        RunState(config.run_id, config.to_json()).write(tmp_path)
    other = resolve("mini", {"optim.epochs": 9})  # of a study that has no record yet
    RunState(other.run_id, other.to_json()).write(tmp_path)
    assert main(["table", str(tmp_path), "--format", "csv", "-o", str(tmp_path / "t.csv")]) == 0
    lines = (tmp_path / "t.csv").read_text().splitlines()
    rows = {row["variant"]: row for row in csv.DictReader(lines)}
    assert {name: (row["n"], row["missing_seeds"]) for name, row in rows.items()} == {
        "Baseline": ("3", ""),
        "Modified LayerNorm -> BatchNorm": ("1", "1 2"),
        "Modified LayerNorm -> None": ("0", "0 1 2"),
    }
    command = rows["Modified LayerNorm -> None"]["missing_command"]
    wanted = [resolve("mini", {"model.norm": "none", "seed": s}).run_id for s in (0, 1, 2)]
    assert run_ids_of(command) == wanted
    assert main(["table", str(tmp_path), "--explain", "norm=none"]) == 2
    assert "no run of Modified LayerNorm -> None has a record yet" in capsys.readouterr().err


def test_a_study_without_its_baseline_says_how_to_train_it():
    short = {"optim__epochs": 7, "model__norm": "batch"}
    found = [record(s, model__mlp_ratio=r, **short) for r in (2.0, 8.0) for s in (0, 3)]
    (command,) = re.findall(r"trained by `(.*)`", render(found, "md"))
    wanted = {"optim.epochs": 7, "model.norm": "batch"}
    assert run_ids_of(command) == [resolve("mini", {**wanted, "seed": s}).run_id for s in (0, 3)]
    trained = [of(config) for config in configs_of(command)]
    (study,) = build_studies([*found, *trained])
    assert [row.label for row in study.rows] == ["Baseline", "MLP ratio 4 -> 2", "MLP ratio 4 -> 8"]


def test_the_command_for_a_missing_baseline_keeps_the_data_set():
    of_folder = {"data__name": "folder", "data__image_size": 32, "model__num_classes": 3}
    (run,) = [record(recipe="imagenette", model__norm="batch", **of_folder)]
    (command,) = re.findall(r"trained by `(.*)`", render([run], "md"))
    assert "--data.name folder" in command
    assert "--data.image_size 32" in command
    assert "--model.norm" not in command


def test_a_command_keeps_what_the_whole_study_changes():
    changed = {"optim__epochs": 7, "model__mlp_ratio": 2.0}
    found = [record(seed, **changed) for seed in (4, 5)]
    found.append(record(4, model__token_mixers="identity", **changed))
    text = render(found, "md")
    fields = {"optim.epochs": 7, "model.mlp_ratio": 2.0, "seed": 5}
    wanted = resolve("mini", {**fields, "model.token_mixers": "identity"}).run_id
    single = [command for command in commands(text) if " train " in command]
    assert [run_ids_of(command) for command in single] == [[wanted]]


@pytest.mark.parametrize("preset", [None, *preset_names("mini")])
def test_the_command_for_missing_seeds_trains_exactly_these_runs(preset):
    found = [*BASE, record(0, preset=preset)] if preset else [*BASE]
    rows = [row for study in build_studies(found) for row in study.rows if row.missing_seeds]
    for row in rows:
        assert row.missing_seeds == [1, 2]
        command = missing.seeds_command(build_studies(found)[0], row, row.missing_seeds)
        assert run_ids_of(command) == [resolve("mini", {"seed": s}, preset).run_id for s in (1, 2)]
    assert bool(rows) == (resolve("mini", preset=preset).run_id != BASE[0].run_id)


def test_the_papers_rows_keep_its_order_with_any_baseline(tmp_path):
    for run in [record(model__depths=[1, 1, 1, 1], model__pool_size=size) for size in (3, 9)]:
        run.write(tmp_path)
    (study,) = build_studies(load_studies(tmp_path)[0].records)
    labels = [
        row.label
        for row in sorted([*study.rows, *missing.missing_rows(study, True)], key=row_position)
    ]
    assert labels[1:4] == [
        "Pooling -> Identity mapping",
        "Pooling -> Global random matrix",
        "Pooling -> Depthwise convolution",
    ]


def test_failed_seeds_are_missing_too():
    failed = record(1, None, model__norm="batch", status="failed")
    text = render([*BASE, record(0, model__norm="batch"), failed], "md")
    assert "Missing Modified LayerNorm -> BatchNorm, seeds 1, 2: `for seed in 1 2; do" in text


def test_commands_name_the_folder_that_was_read(tmp_path):
    (study,) = build_studies([*BASE, IDENTITY[0]], results=tmp_path / "my runs")
    for command in commands(render_studies([study], "md")):
        assert f"--results '{tmp_path}/my runs'" in command
    assert study_table(study, all_rows=True).frame["Top-1 (%)"].tolist().count("missing") == 16


def test_every_row_of_the_paper_is_in_the_sweep_that_its_command_names():
    (study,) = build_studies([record(0)])
    absent = missing.missing_paper_rows(study)
    assert len(absent) == 17
    for row in absent:
        made = [of(config) for config in configs_of(missing.row_command(study, row))]
        assert row.label in {other.label for other in build_studies(made)[0].rows}


def of(config: RunConfig) -> Record:
    """A run of a config that was never trained."""
    return replace(record(), run_id=config.run_id, config=config.to_json())


def test_a_command_does_not_override_what_its_sweep_varies():
    """The baseline may be another row of the paper: as a flag, its mixer would be every run's."""
    found = [*BASE, *IDENTITY]
    (study,) = build_studies(found, IDENTITY[0].run_id)
    text = render_studies([study], "md", View(all_rows=True))
    asked = {run for command in commands(text) for run in run_ids_of(command)}
    assert resolve("mini", {"model.token_mixers": "random"}).run_id in asked
    assert "Missing Pooling -> Identity mapping" not in text


def test_a_command_has_the_images_plugins_and_precision_of_its_study():
    found = [record(seed) for seed in (0, 1)] + [record(0, model__norm="none")]
    for run in found:
        run.config["data"]["root"] = "/images"
        run.config["system"] |= {"plugins": ["mine"], "precision": "bf16-mixed"}
    (study,) = build_studies(found)
    for command in commands(render_studies([study], "md")):
        for flag in ("--data.root /images", "--plugins mine", "--system.precision bf16-mixed"):
            assert flag in command
