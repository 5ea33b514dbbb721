"""Tables against records made by hand: every number is one that can be worked out on paper."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess

import pytest

from ablations.analysis import stats
from ablations.analysis.build import build_studies
from ablations.analysis.rows import Row
from ablations.cli.main import main
from ablations.config.resolve import resolve
from ablations.store.records import Record
from ablations.tables import load_studies, render
from ablations.tables.ablation import EVERY, study_table
from tests.factories.records import BASE, IDENTITY, record


def csv_rows(*found: Record) -> dict[str, dict[str, str]]:
    """The rows that have runs, by variant."""
    rows = list(csv.DictReader(io.StringIO(render(list(found), "csv"))))
    return {row["variant"]: row for row in rows if row["run_ids"]}


def test_a_row_is_mean_spread_count_and_paired_difference():
    row = csv_rows(*BASE, *IDENTITY)["Pooling -> Identity mapping"]
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
    found = [*BASE, IDENTITY[1], IDENTITY[2], record(7, 10.0, model__token_mixers="identity")]
    row = csv_rows(*found)["Pooling -> Identity mapping"]
    assert (row["n"], row["delta_n"], row["delta_test"]) == ("3", "2", "paired t")
    assert float(row["delta_mean"]) == pytest.approx(-2)  # -1 and -3; seed 7 has no partner
    assert row["missing_seeds"] == "0"


def test_seeds_that_do_not_match_are_compared_by_their_means_and_marked():
    other = [record(s, top1, model__norm="none") for s, top1 in ((8, 70.0), (9, 74.0))]
    row = csv_rows(*BASE, *other)["Modified LayerNorm -> None"]
    assert row["delta_test"] == "Welch t"
    assert float(row["delta_mean"]) == pytest.approx(72 - (80 + 81 + 83) / 3)
    text = render([*BASE, *other], "md")
    assert re.search(r"-9.33 ± \d+\.\d\dʷ", text)
    assert "-9.33ʷ" in render([*BASE, *other], "md", columns=EVERY)
    assert "as independent" in text
    assert "ʷ" not in render([*BASE, *IDENTITY], "md")


def test_p_values_are_corrected_over_the_table_and_rows_have_an_mde():
    shifts = {"identity": (-2, -1, -3), "random": (-5, -5.2, -4.9), "depthwise": (1, 2, 0)}
    rows = [
        record(seed, base.metric() + shift, model__token_mixers=mixer)
        for mixer, found in shifts.items()
        for seed, (base, shift) in enumerate(zip(BASE, found, strict=True))
    ]
    found = csv_rows(*BASE, *rows).values()
    raw = {row["variant"]: float(row["p"]) for row in found if row["p"]}
    ordered = sorted(raw, key=raw.get)
    assert ordered[0] == "Pooling -> Global random matrix"
    by_hand = [min(1, raw[ordered[0]] * 3), min(1, raw[ordered[1]] * 2)]
    corrected = {row["variant"]: row["p_holm"] for row in found}
    assert [float(corrected[name]) for name in ordered[:2]] == pytest.approx(by_hand)
    effect = {row["variant"]: row["minimum_effect"] for row in found}
    assert effect["Baseline"] == ""
    # Deviations 1 and 1: the same effect; 0.15: a smaller one.
    assert float(effect[ordered[1]]) == pytest.approx(stats.minimum_effect(1.0, 3))
    assert float(effect[ordered[0]]) < 1


def test_outcomes_of_up_to_five_seeds_are_listed():
    runs = [record(seed, 80 + seed / 4) for seed in range(6)]
    assert "80.00 80.25 80.50 80.75 81.00" in render(runs[:5], "md", columns=EVERY)
    assert "80.00 80.25" not in render(runs, "md", columns=EVERY)


def test_the_bootstrap_interval_depends_on_its_seed_only(tmp_path, capsys):
    for seed in range(8):
        record(seed, 80 + seed / 4).write(tmp_path)
    assert "Bootstrap" not in render(load_studies(tmp_path)[0].records, "md")
    printed = []
    for seed in ("1", "1"):
        words = ["table", str(tmp_path), "--format", "csv", "--bootstrap", seed]
        assert main(words) == 0
        printed.append(next(csv.DictReader(io.StringIO(capsys.readouterr().out))))
    assert printed[0] == printed[1]
    low, high = (float(printed[0][f"top1_bootstrap_{end}"]) for end in ("low", "high"))
    assert 80 < low < 80.875 < high < 81.75
    assert main(["table", str(tmp_path), "--bootstrap", "1"]) == 0
    assert f"[{low:.2f}, {high:.2f}]" in capsys.readouterr().out
    assert main(["table", str(tmp_path), "--bootstrap", "-1"]) == 2


def bold(text: str) -> list[str]:
    """The numbers in bold; names of sections are too."""
    return re.findall(r"\*\*(\d.*?)\*\*", text)


def test_the_best_value_is_bold_only_if_it_is_significantly_best():
    close = [record(seed, 80.5 + seed, model__norm="layer") for seed in range(3)]
    assert bold(render([*BASE, *close], "md")) == []
    far = [record(seed, 95 + seed / 10, model__norm="layer") for seed in range(3)]
    text = render([*BASE, *IDENTITY, *far], "md")
    (best, *differences) = bold(text)
    assert best == "95.10 ± 0.10"
    assert all(number.startswith("+") for number in differences)
    assert "Bold top-1: above every other row" in text
    assert r"\textbf{95.10 $\pm$ 0.10}" in render([*BASE, *IDENTITY, *far], "tex")
    assert bold(render([BASE[0], far[0]], "md")) == []  # one seed says nothing


def test_one_seed_has_no_spread_and_no_interval():
    row = csv_rows(BASE[0], IDENTITY[0])["Pooling -> Identity mapping"]
    assert (row["top1_std"], row["delta_ci95"]) == ("", "")
    assert "±" not in render([BASE[0], IDENTITY[0]], "md").split("\n- ")[0]


def test_rows_are_in_the_papers_order_before_other_axes():
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
    rows = csv_rows(*found)
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
        "Label smoothing 0.1 -> 0",
        "MLP ratio 4 -> 2",
    ]
    assert rows["Pooling size 3 -> 11"]["paper_top1"] == ""
    assert rows["S12 -> M36"]["paper_top1"] == "82.1"
    assert rows["MLP ratio 4 -> 2"]["ablation"] == "MLP ratio"


def test_other_changes_of_a_row_are_a_footnote():
    found = [record(), record(preset="ppaa")]
    row = csv_rows(*found)["[Pool,Pool,Attention,Attention]"]
    assert row["paper_top1"] == "81.0"
    changes = row["also_changes"].split("; ")
    assert "norm group -> layer" in changes
    assert "batch_size 128 -> 32" in changes
    text = render(found, "md")
    assert "[Pool,Pool,Attention,Attention] ¹" in text
    assert "- ¹ [Pool,Pool,Attention,Attention] also changes" in text


def test_a_row_with_changes_that_are_not_the_papers_has_no_paper_numbers():
    row = csv_rows(record(), record(model__norm="batch", optim__lr=0.1))
    row = row["BatchNorm, learning rate 0.1"]
    assert row["paper_top1"] == ""
    assert row["also_changes"] == "lr 0.008 -> 0.1"


def test_different_recipes_epochs_images_and_precision_are_never_compared():
    other_data = record(3, 50.0)
    other_data.data["fingerprint"] = "0" * 16
    other_precision = record(4, 50.0)
    other_precision.environment["precision"] = "bf16-mixed"
    found = [
        *BASE,
        record(5, 50.0, recipe="fashion"),
        record(6, 50.0, optim__epochs=7),
        record(7, 50.0, optim__cooldown_epochs=3),
        other_data,
        other_precision,
    ]
    groups = build_studies(found)
    assert len(groups) == 6
    (cooled,) = [group for group in groups if group.cooldown]
    assert "3 epochs and 3 epochs of cool-down" in cooled.name
    (ours,) = [group for group in groups if len(group.rows[0].records) == 3]
    assert ours.rows[0].top1 == stats.spread([80.0, 81.0, 83.0])
    assert render(found, "md").count("### ") == 6


def test_images_of_one_fingerprint_and_other_contents_are_not_compared():
    found = [record(seed, 80.0) for seed in (0, 1, 2)]
    found[0].data["contents"] = "a" * 16
    assert len(build_studies(found)) == 1  # of one that older records do not have
    found[1].data["contents"] = "b" * 16
    assert {len(study.records) for study in build_studies(found)} == {1}


def test_a_done_record_without_a_precision_is_in_no_study():
    unknown, broken = record(3, 99.0), record(4, None, status="failed")
    for each in (unknown, broken):
        del each.environment["precision"]
    (study,) = build_studies([*BASE, unknown, broken])
    assert unknown.run_id not in {run.run_id for run in study.records}
    assert broken.run_id in {run.run_id for run in study.records}


def test_shared_changes_of_a_study_belong_to_its_baseline():
    shared = {"optim__lr": 0.003, "model__mlp_ratio": 2.0}
    text = render([record(**shared), record(model__norm="layer", **shared)], "md")
    assert "all with MLP ratio 2, learning rate 0.003" in text.splitlines()[0]
    rows = csv_rows(
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
    rows = csv_rows(*found)
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
    rows = csv_rows(*found)
    row = rows["Modified LayerNorm -> None"]
    assert (row["n"], row["diverged"], row["failed"]) == ("2", "1", "1")
    assert float(row["top1_mean"]) == 13
    text = render(found, "md")
    assert "13.00 ± 1.41 (1" in text  # and the rest in the lines below
    text = render(found, "html")
    assert "13.00 ± 1.41 (1 diverged, 1 failed: oom)" in text
    assert "missing (1 failed: oom)" in text
    assert row["failures"] == "1 oom"


def test_a_size_that_changes_more_than_a_size_has_no_paper_numbers():
    rows = csv_rows(record(), record(preset="s24"), record(preset="s36", optim__lr=0.1))
    assert rows["S12 -> S24"]["paper_top1"] == "80.3"
    assert rows["LayerScale init 1e-06, S36, learning rate 0.1"]["paper_top1"] == ""


def test_a_killed_run_is_in_the_table_of_its_study(tmp_path):
    from ablations.store.failures import write_failed_record

    killed = write_failed_record(
        resolve("mini", {"model.norm": "batch"}), tmp_path, "killed", "3 times"
    )
    text = render([*BASE, killed], "md")
    assert text.count("### ") == 1
    assert "missing (1 failed: killed)" in text
    assert "different code" not in text


def test_uncommitted_changes_are_a_warning():
    dirty = record(4)
    dirty.environment["dirty"] = True
    text = render([*BASE, dirty], "md")
    assert "different code: commits aaaaaaaaaaaa, aaaaaaaaaaaa+" in text
    assert "had uncommitted changes" in text


def test_different_commits_are_a_warning():
    other = record(4)
    other.environment["commit"] = "b" * 40
    assert "different code: commits aaaaaaaaaaaa, bbbbbbbbbbbb" in render([*BASE, other], "md")
    assert "different code" not in render(BASE, "md")


def test_two_versions_of_a_plugin_are_a_warning():
    runs = [record(seed=seed) for seed in (7, 8)]
    for run, version in zip(runs, ("aaa", "bbb"), strict=True):
        run.environment["plugins"] = {"shift": version}
    assert "runs of shift are of different code: versions aaa, bbb." in render(runs, "md")
    assert "runs of shift" not in render(runs[:1], "md")


def test_markdown_columns_line_up():
    text = render([*BASE, *IDENTITY, record(preset="pppa")], "md")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    names = [line.split("|")[1].strip() for line in lines[2:]]
    assert names == [  # what the study has, and nothing else
        "Baseline",
        "**Token mixers**",
        "Pooling -> Identity mapping",
        "**Hybrid stages**",
        "[Pool,Pool,Pool,",
        "Attention] ¹",
    ]
    assert len({line.count("|") for line in lines}) == 1
    assert len({len(line) for line in lines}) == 1


def test_latex_escapes_what_latex_reads():
    text = render([*BASE, record(preset="pppa"), record(optim__label_smoothing=0.0)], "tex")
    assert r"\toprule" in text
    assert r"Label smoothing 0.1 $\rightarrow$ 0" in text
    assert r"Top-1 (\%)" in text
    assert not re.search(r"(?<!\\)[_%#&](?![^$]*\$)", text.split(r"\par")[1])
    assert text.count("{") == text.count("}")
    for line in text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines():
        assert len(re.findall(r"(?<!\\)&", line)) == 7


PAPER = "\\documentclass{{article}}\\usepackage{{{}}}\\begin{{document}}\n\\input{{t}}\n"
PAPER += "\\end{{document}}"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("packages", [None, "booktabs", "booktabs,graphicx"])
def test_latex_compiles_as_it_is_and_within_a_paper(packages, tmp_path):
    found = [*BASE, record(preset="pppa"), record(recipe="fashion"), record(9, model__norm="none")]
    (tmp_path / "t.tex").write_text(render(found, "tex"))
    if packages:
        (tmp_path / "paper.tex").write_text(PAPER.format(packages))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error"]
    command.append("paper.tex" if packages else "t.tex")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Output written" in done.stdout


def test_a_table_ends_with_what_it_was_made_from():
    found = [record(seed) for seed in range(3)]
    for seed, each in enumerate(found):
        each.environment.update(device="cpu", date=f"2026-01-0{seed + 1}T10:00:00+00:00")
        each.environment["versions"] = {"torch": "2.15.0"}
    last = render(found, "md").split("\n- ")[-1]
    assert " ".join(last.split()) == (
        "Made from 3 records, recipe mini, images ffffffffffffffff, commit aaaaaaaaaaaa, "
        "device cpu, precision 32-true, torch 2.15.0, ended 2026-01-01 to 2026-01-03."
    )
    found[1].environment.update(device="NVIDIA H200", versions={"torch": "2.11.0"})
    for form in ("md", "tex"):
        text = render(found, form, "paper")
        assert "different devices: NVIDIA H200, cpu" in text
        assert "different versions of torch: 2.11.0, 2.15.0" in text


def test_a_difference_over_fewer_seeds_than_its_row_has_says_so():
    other = record(7, 10.0, model__token_mixers="identity")
    text = render([*BASE, *IDENTITY[1:], other], "md")
    assert "Pooling -> Identity mapping: Δ is over the 2 seeds that the baseline has too" in text
    assert "Δ is over the" not in render([*BASE, *IDENTITY], "md")


def test_nothing_is_bold_if_the_best_row_has_one_seed():
    high = [record(seed, 95 + seed / 10, model__norm="layer") for seed in range(3)]
    single = record(0, 99.0, model__norm="batch")
    assert bold(render([*BASE, *IDENTITY, *high], "md"))
    assert bold(render([*BASE, *IDENTITY, *high, single], "md")) == []


def test_the_papers_numbers_do_not_depend_on_the_baseline():
    (study,) = build_studies([*BASE, *IDENTITY], IDENTITY[0].run_id)
    rows = {row.label: row for row in study.rows}
    assert rows["Baseline"].paper.top1 == 74.3
    pool = rows["Identity mapping -> Pooling"]
    assert (pool.paper.top1, pool.paper.delta) == (77.2, 2.9)


def test_a_study_of_another_mixer_has_no_numbers_of_the_paper():
    mixer = {"model__token_mixers": "attention"}
    found = [record(0, **mixer), record(1, **mixer), record(0, model__norm="layer", **mixer)]
    rows = csv_rows(*found)
    assert [row["paper_top1"] for row in rows.values()] == ["", ""]


def test_a_failed_run_belongs_to_the_study_with_its_seed(tmp_path):
    from ablations.store.failures import write_failed_record

    half = [record(seed, 70.0, model__norm="none") for seed in (10, 11)]
    for run in half:
        run.environment["precision"] = "bf16-mixed"
    killed = write_failed_record(
        resolve("mini", {"model.norm": "batch", "seed": 1}), tmp_path, "killed", ""
    )
    by_precision = {study.precision: study for study in build_studies([*half, *BASE, killed])}
    assert set(by_precision) == {"bf16-mixed", "32-true"}
    assert killed in by_precision["32-true"].records
    odd = write_failed_record(
        resolve("mini", {"model.norm": "batch", "seed": 5}), tmp_path, "killed", ""
    )
    assert len(build_studies([*half, *BASE, odd])) == 3  # of neither, as far as anyone knows


def test_the_paper_style_says_over_how_many_seeds_its_means_are():
    assert "over n = 3 seeds." in render([*BASE, *IDENTITY], "md", "paper")
    text = render([*BASE, *IDENTITY[:2]], "md", "paper")
    assert "over n = 3 seeds (2 of Pooling -> Identity mapping)." in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles_with_letters_that_it_does_not_know(tmp_path):
    mixers = [record(seed, 70.0 + seed) for seed in range(2)]
    for run in mixers:
        run.config["model"]["token_mixers"] = "注意_é`x"
    (tmp_path / "t.tex").write_text(render([*BASE, *mixers], "tex"))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_latex_is_a_table_with_a_label_and_a_caption_and_no_commands():
    found = [*BASE, *IDENTITY[:2], record(recipe="fashion"), record(seed=1, recipe="fashion")]
    text = render(found, "tex")
    assert "resizebox" not in text
    assert "table*" not in text
    assert re.findall(r"\\label\{(.*)\}", text) == ["tab:ablation", "tab:ablation-2"]
    captions = re.findall(r"\\caption\{(.*)\}", text)
    assert all(line.endswith(".") and line.count(". ") == 0 for line in captions)
    assert "ablations run" not in text
    assert "ablations train" not in text
    assert "$-$1.50" in text
    assert not re.search(r"(?<![\w$])-\d", text)
    assert render(found, "tex*").count(r"\begin{table*}") == 2


def test_the_time_of_a_table_is_linear_in_its_rows(monkeypatch):
    """Not with their square: a sweep may have thousands of variants."""
    reads = []
    cost = Row.cost.fget
    monkeypatch.setattr(Row, "cost", property(lambda row: reads.append(row) or cost(row)))
    counts = {}
    for variants in (10, 20, 30):
        found = [record(0, 80.0, model__mlp_ratio=4.0 + n / 8) for n in range(variants)]
        (study,) = build_studies(found)
        reads.clear()
        study_table(study)
        counts[variants] = len(reads)
    assert counts[30] - counts[20] == counts[20] - counts[10]
