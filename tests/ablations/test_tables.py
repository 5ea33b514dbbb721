"""Tables against records made by hand: every number is one that can be worked out on paper."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess

import pytest

from ablations import records, stats
from ablations.records import Record, RecordError
from ablations.resolve import resolve
from ablations.study import studies
from ablations.tables import render


def record(seed=0, top1=80.0, preset=None, recipe="mini", status="finished", **overrides) -> Record:
    """A run that was never trained."""
    plain = {name.replace("__", "."): value for name, value in overrides.items()}
    config = resolve(recipe, {"seed": seed, **plain}, preset)
    return Record(
        run_id=config.run_id,
        status=status,
        config=config.to_json(),
        metrics={} if top1 is None else {"val/top1": {"last": top1, "best": top1 + 1}},
        cost={
            "params": 421_882,
            "frozen_params": 0,
            "macs": 1_344_000,
            "image_size": 32,
            "paper": {"params": 11_915_176, "frozen_params": 0, "macs": 1_822_678_528},
        },
        data={"fingerprint": "f" * 16},
        environment={"precision": "32-true", "commit": "a" * 40},
        failure={"kind": "oom", "message": "no memory"} if status == "failed" else None,
    )


BASE = [record(seed, top1) for seed, top1 in enumerate((80.0, 81.0, 83.0))]
IDENTITY = [
    record(seed, top1, model__token_mixers="identity")
    for seed, top1 in enumerate((78.0, 80.0, 80.0))
]


def tidy(*found: Record) -> dict[str, dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(render(list(found), "csv"))))
    return {row["variant"]: row for row in rows}


def test_a_row_is_mean_spread_count_and_paired_difference():
    row = tidy(*BASE, *IDENTITY)["Pooling -> Identity mapping"]
    assert row["ablation"] == "Token mixers"
    assert float(row["top1_mean"]) == pytest.approx(79.3333333)
    assert float(row["top1_std"]) == pytest.approx((4 / 3) ** 0.5)  # 78, 80, 80
    assert row["n"] == "3"
    # Differences -2, -1, -3: mean -2, deviation 1; t(0.975, 2 degrees) = 4.302653.
    assert float(row["delta_mean"]) == pytest.approx(-2)
    assert float(row["delta_ci95"]) == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert (row["paper_top1"], row["paper_delta"]) == ("74.3", "-2.9")
    assert (row["params"], row["s12_macs"]) == ("421882", "1822678528")


def test_differences_pair_seeds_not_positions():
    row = tidy(*BASE, IDENTITY[1], record(7, 10.0, model__token_mixers="identity"))
    row = row["Pooling -> Identity mapping"]
    assert (row["n"], row["delta_n"]) == ("2", "1")
    assert float(row["delta_mean"]) == pytest.approx(-1)
    assert row["delta_ci95"] == ""  # one pair has no interval


def test_one_seed_has_no_spread_and_no_interval():
    row = tidy(BASE[0], IDENTITY[0])["Pooling -> Identity mapping"]
    assert (row["top1_std"], row["delta_ci95"]) == ("", "")
    assert "±" not in render([BASE[0], IDENTITY[0]], "md").split("\n- ")[0]


def test_rows_stand_in_the_papers_order_and_unknown_axes_after_them():
    found = [
        record(preset="ppff"),
        record(optim__label_smoothing=0.0),
        record(model__mlp_ratio=2.0),
        record(preset="m36"),
        record(model__activation="relu"),
        record(model__pool_size=9),
        record(model__pool_size=11),
        record(model__token_mixers="identity"),
        record(model__norm="batch"),
        record(preset="no_residual"),
        record(),
    ]
    rows = tidy(*found)
    assert list(rows) == [
        "Baseline",
        "Pooling -> Identity mapping",
        "Pooling size 3 -> 9",
        "Pooling size 3 -> 11",
        "Modified LayerNorm -> BatchNorm",
        "GELU -> ReLU",
        "Residual connection -> None",
        "[Pool,Pool,SpatialFC,SpatialFC]",
        "S12 -> M36",
        "model.mlp_ratio 4 -> 2",
        "optim.label_smoothing 0.1 -> 0",
    ]
    assert rows["Pooling size 3 -> 11"]["paper_top1"] == ""
    assert rows["S12 -> M36"]["paper_top1"] == "82.1"
    assert rows["model.mlp_ratio 4 -> 2"]["ablation"] == "model.mlp_ratio"


def test_a_row_that_changes_more_than_its_axis_is_marked_and_told():
    found = [record(), record(preset="ppaa")]
    row = tidy(*found)["[Pool,Pool,Attention,Attention]"]
    assert row["paper_top1"] == "81.0"
    changes = row["also_changes"].split("; ")
    assert "norm group -> layer" in changes
    assert "batch_size 128 -> 32" in changes
    text = render(found, "md")
    assert "[Pool,Pool,Attention,Attention] ¹" in text
    assert "- ¹ [Pool,Pool,Attention,Attention] also changes" in text


def test_a_row_with_changes_that_are_not_the_papers_has_no_paper_numbers():
    row = tidy(record(), record(model__norm="batch", optim__lr=0.1))
    row = row["Modified LayerNorm -> BatchNorm"]
    assert row["paper_top1"] == ""
    assert row["also_changes"] == "lr 0.008 -> 0.1"


def test_different_recipes_epochs_pictures_and_precision_are_never_compared():
    other_data = record(3, 50.0)
    other_data.data["fingerprint"] = "0" * 16
    other_precision = record(4, 50.0)
    other_precision.environment["precision"] = "bf16-mixed"
    found = [
        *BASE,
        record(5, 50.0, recipe="fashion"),
        record(6, 50.0, optim__epochs=7),
        other_data,
        other_precision,
    ]
    groups = studies(found)
    assert len(groups) == 5
    (ours,) = [group for group in groups if len(group.rows[0].records) == 3]
    assert ours.rows[0].top1 == stats.spread([80.0, 81.0, 83.0])
    assert render(found, "md").count("### ") == 5


def test_changes_that_a_whole_study_shares_belong_to_its_baseline_and_are_told():
    shared = {"optim__lr": 0.003, "model__mlp_ratio": 2.0}
    text = render([record(**shared), record(model__norm="layer", **shared)], "md")
    assert "all with mlp_ratio=2, lr=0.003" in text.splitlines()[0]
    rows = tidy(
        record(**shared), record(preset="ppaa", **shared), record(model__norm="layer", **shared)
    )
    assert set(rows) == {
        "Baseline",
        "[Pool,Pool,Attention,Attention]",
        "Modified LayerNorm -> LayerNorm",
    }


@pytest.mark.parametrize(
    "found",
    [
        [record(model__token_mixers="identity")],
        [record(model__token_mixers="identity"), record(model__token_mixers="random")],
    ],
)
def test_without_a_baseline_there_are_no_differences_and_the_table_says_so(found):
    rows = tidy(*found)
    assert "Pooling -> Identity mapping" in rows
    assert all(row["delta_mean"] == "" for row in rows.values())
    assert "No baseline among these records" in render(found, "md")


def test_diverged_runs_count_with_what_they_have_and_failed_ones_do_not():
    found = [
        *BASE,
        record(0, 12.0, model__norm="none", status="diverged"),
        record(1, 14.0, model__norm="none"),
        record(2, None, model__norm="none", status="failed"),
        record(0, None, model__norm="layer", status="failed"),
    ]
    rows = tidy(*found)
    row = rows["Modified LayerNorm -> None"]
    assert (row["n"], row["diverged"], row["failed"]) == ("2", "1", "1")
    assert float(row["top1_mean"]) == 13
    text = render(found, "md")
    assert "13.00 ± 1.41 (1 diverged, 1 failed)" in text
    assert "missing (1 failed)" in text


def test_a_size_that_changes_more_than_a_size_has_no_paper_numbers():
    rows = tidy(record(), record(preset="s24"), record(preset="s36", optim__lr=0.1))
    assert rows["S12 -> S24"]["paper_top1"] == "80.3"
    assert rows["S12 -> S36"]["paper_top1"] == ""


def test_a_cell_that_was_killed_stands_in_the_table_of_its_study(tmp_path):
    from ablations.runner import failed

    killed = failed(resolve("mini", {"model.norm": "batch"}), tmp_path, "killed", "3 times")
    text = render([*BASE, killed], "md")
    assert text.count("### ") == 1
    assert "missing (1 failed)" in text
    assert "different code" not in text


def test_uncommitted_changes_are_told():
    dirty = record(4)
    dirty.environment["dirty"] = True
    text = render([*BASE, dirty], "md")
    assert "different code: commits aaaaaaaaaaaa, aaaaaaaaaaaa+" in text
    assert "had uncommitted changes" in text


def test_different_commits_are_told():
    other = record(4)
    other.environment["commit"] = "b" * 40
    assert "different code: commits aaaaaaaaaaaa, bbbbbbbbbbbb" in render([*BASE, other], "md")
    assert "different code" not in render(BASE, "md")


def test_two_versions_of_a_plugins_mixer_are_told():
    runs = [record(seed=seed) for seed in (7, 8)]
    for run, version in zip(runs, ("aaa", "bbb"), strict=True):
        run.environment["plugins"] = {"shift": version}
    assert "Runs of shift are of different code: versions aaa, bbb." in render(runs, "md")
    assert "Runs of shift" not in render(runs[:1], "md")


def test_markdown_columns_line_up():
    text = render([*BASE, *IDENTITY, record(preset="pppa")], "md")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 5
    assert len({line.count("|") for line in lines}) == 1
    assert len({len(line) for line in lines}) == 1


def test_latex_escapes_what_latex_reads():
    text = render([*BASE, record(preset="pppa"), record(optim__label_smoothing=0.0)], "tex")
    assert r"\toprule" in text
    assert r"optim.label\_smoothing 0.1 $\rightarrow$ 0" in text
    assert r"Top-1 (\%)" in text
    assert not re.search(r"(?<!\\)[_%#&](?![^$]*\$)", text.split(r"\par")[1])
    assert text.count("{") == text.count("}")
    for line in text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines():
        assert len(re.findall(r"(?<!\\)&", line)) == 12


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles_as_it_is(tmp_path):
    body = render([*BASE, record(preset="pppa")], "tex")
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
        + body
        + "\\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_records_survive_the_disk_and_broken_ones_are_told(tmp_path):
    for each in (*BASE, *IDENTITY):
        each.write(tmp_path)
    found, problems = records.read_all([tmp_path])
    assert {item.run_id for item in found} == {item.run_id for item in (*BASE, *IDENTITY)}
    assert not problems
    broken = {
        "truncated": '{"schema": 1, "run_id"',
        "list": "[]",
        "future": '{"schema": 99}',
        "odd_field": '{"schema": 1, "run_id": "a", "status": "finished", "config": {}, "new": 1}',
        "no_status": '{"schema": 1, "run_id": "a", "config": {}}',
    }
    for name, text in broken.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text(text)
    found, problems = records.read_all([tmp_path])
    assert len(found) == 6
    assert len(problems) == len(broken)
    assert all("record.json" in problem and "\n" not in problem for problem in problems)


def test_the_same_run_in_two_folders_is_one_unless_the_numbers_differ(tmp_path):
    record(0, 80.0).write(tmp_path / "a")
    record(0, 80.0).write(tmp_path / "b")
    record(0, 70.0).write(tmp_path / "c")
    found, problems = records.read_all([tmp_path / "a", tmp_path / "b"])
    assert (len(found), problems) == (1, [])
    found, problems = records.read_all([tmp_path / "a", tmp_path / "c"])
    assert len(found) == 1
    assert "differs from" in problems[0]


def test_a_record_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = BASE[0].write(tmp_path)
    before = path.read_text()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        record(0, 10.0).write(tmp_path)
    assert path.read_text() == before
    assert [item.name for item in path.parent.iterdir()] == ["record.json"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(RecordError, match="no folder .*none"):
        records.read_all([tmp_path / "none"])
