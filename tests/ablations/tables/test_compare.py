"""Two studies side by side, and what is behind a row: numbers that can be worked out on paper."""

from __future__ import annotations

import csv
import io

import pytest

from ablations.cli.main import main
from tests.factories.records import BASE, IDENTITY, record


@pytest.fixture
def folders(tmp_path):
    """The same runs twice, the second time with other code and a tenth more."""
    for each in (*BASE, *IDENTITY):
        each.write(tmp_path / "old")
        other = record(
            each.config["seed"],
            each.metric() + 0.1 * (1 + each.config["seed"]),
            model__token_mixers=each.config["model"]["token_mixers"],
        )
        other.environment["commit"] = "b" * 40
        other.write(tmp_path / "new")
    return tmp_path / "old", tmp_path / "new"


def printed(capsys, *words) -> str:
    assert main(["table", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_two_commits_are_compared_seed_by_seed(folders, capsys):
    text = printed(capsys, *folders, "--compare")
    assert text.startswith("### old beside new")
    assert "81.33 ± 1.53" in text
    assert "old: Made from 6 records" in text
    assert "commit bbbbbbbbbbbb" in text
    lines = printed(capsys, *folders, "--compare", "--format", "csv")
    rows = {row["variant"]: row for row in csv.DictReader(io.StringIO(lines))}
    row = rows["Pooling -> Identity mapping"]
    assert row["change_of"] == "top1"
    # 0.1, 0.2, 0.3: mean 0.2, deviation 0.1; t(0.975, 2 degrees) = 4.302653.
    assert float(row["change_mean"]) == pytest.approx(0.2)
    assert float(row["change_low"]) == pytest.approx(0.2 - 4.302653 * 0.1 / 3**0.5, rel=1e-5)
    assert (row["a_name"], row["b_name"], row["a_n"]) == ("old", "new", "3")


def test_the_notes_say_which_test_each_interval_comes_from(tmp_path, capsys):
    for side in ("old", "new"):
        for pool_size in (3, 5, 7, 9, 11):
            for seed, noise in enumerate((0.0, 0.3 + pool_size / 9, 0.1)):
                record(seed, 80 + noise, model__pool_size=pool_size).write(tmp_path / side)
    text = printed(capsys, tmp_path / "old", tmp_path / "new", "--compare")
    assert "Each interval of new - old holds alone, by a t test of that row's runs." in text
    assert "borrows from the other rows (moderated t). Intervals and p hold for all its" in text
    assert "not corrected" not in text
    text = printed(capsys, tmp_path / "old", tmp_path / "new", "--compare", "--test", "ordinary")
    assert "Δ on either side, from its baseline: t tests." in text


def test_two_recipes_are_compared_by_their_differences_only(tmp_path, folders, capsys):
    for seed, (base, other) in enumerate(((60, 61), (62, 63), (61, 62.3))):
        record(seed, base, recipe="fashion").write(tmp_path / "fashion")
        record(seed, other, recipe="fashion", model__token_mixers="identity").write(
            tmp_path / "fashion"
        )
    text = printed(capsys, folders[0], tmp_path / "fashion", "--compare")
    assert "Δ fashion - Δ old" in text
    assert "their accuracies are not compared" in text
    lines = printed(capsys, folders[0], tmp_path / "fashion", "--compare", "--format", "csv")
    rows = {row["variant"]: row for row in csv.DictReader(io.StringIO(lines))}
    row = rows["Pooling -> Identity mapping"]
    # Differences 1, 1, 1.3 there and -2, -1, -3 here.
    assert float(row["change_mean"]) == pytest.approx(1.1 - -2)
    assert rows["Baseline"]["change_mean"] == ""


def test_a_row_of_one_side_is_missing_on_the_other(tmp_path, capsys):
    for each in BASE:
        each.write(tmp_path / "a")
        each.write(tmp_path / "b")
    record(0, 70.0, model__norm="none").write(tmp_path / "b")
    text = printed(capsys, tmp_path / "a", tmp_path / "b", "--compare")
    (line,) = [line for line in text.splitlines() if "-> None" in line]
    assert "missing" in line
    assert "70.00" in line


def test_folders_of_the_same_name_are_shown_with_their_paths(tmp_path, capsys):
    for each in BASE:
        each.write(tmp_path / "a" / "runs")
        each.write(tmp_path / "b" / "runs")
    text = printed(capsys, tmp_path / "a" / "runs", tmp_path / "b" / "runs", "--compare")
    assert text.startswith(f"### {tmp_path}/a/runs beside {tmp_path}/b/runs")


@pytest.mark.parametrize("words", [["{a}"], ["{a}", "{a}", "{a}"], ["{a}", "{a}", "--wandb=x/y"]])
def test_compare_takes_two_folders(words, tmp_path, capsys):
    BASE[0].write(tmp_path)
    assert main(["table", *[word.format(a=tmp_path) for word in words], "--compare"]) == 2
    assert "--compare takes two folders" in capsys.readouterr().err


def test_a_study_without_a_counterpart_is_reported(tmp_path, capsys):
    for each in BASE:
        each.write(tmp_path / "a")
        each.write(tmp_path / "b")
    record(0, 50.0, optim__epochs=9).write(tmp_path / "b")
    assert main(["table", str(tmp_path / "a"), str(tmp_path / "b"), "--compare"]) == 1
    out, err = capsys.readouterr()
    assert "81.33" in out
    assert "9 epochs, 32-true precision has no counterpart" in err
    (tmp_path / "c").mkdir()
    assert main(["table", str(tmp_path / "a"), str(tmp_path / "c"), "--compare"]) == 2
    assert f"no records in {tmp_path / 'c'}" in capsys.readouterr().err


def test_explain_lists_the_runs_behind_a_row(folders, capsys):
    text = printed(capsys, folders[0], "--explain", "identity")
    for each in IDENTITY:
        assert str(folders[0] / each.run_id / "record.json") in text
    assert "-2.00" in text
    assert "p = 0.074" in text  # of a t of -3.46 with two degrees
    lines = printed(capsys, folders[0], "--explain", "identity", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(lines)))
    assert [row["Δ"] for row in rows] == ["-2.00", "-1.00", "-3.00"]


def test_explain_shows_why_a_run_failed(tmp_path, capsys):
    BASE[0].write(tmp_path)
    record(0, None, model__norm="none", status="failed").write(tmp_path)
    text = printed(capsys, tmp_path, "--explain", "Modified LayerNorm -> None")
    assert "failed: oom" in text


@pytest.mark.parametrize(
    ("row", "message"),
    [("idendity mapping", "unknown row"), ("a", "fits several rows"), ("", "fits several rows")],
)
def test_explain_needs_the_name_of_one_row(row, message, folders, capsys):
    assert main(["table", str(folders[0]), "--explain", row]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Pooling -> Identity mapping" in err, "the rows are listed"


@pytest.mark.parametrize(
    ("words", "titles"),
    [
        ("attention", ["[Pool,Pool,Pool,Attention]", "[Pool,Pool,Attention,Attention]"]),
        ("BATCHNORM", ["Modified LayerNorm -> BatchNorm"]),
        ("norm=batch", ["Modified LayerNorm -> BatchNorm"]),
        ("Modified LayerNorm -> BatchNorm, seed 1", ["Modified LayerNorm -> BatchNorm"]),
        ("token_mixers=[pool,pool,attention,attention]", ["[Pool,Pool,Attention,Attention]"]),
        ("activation", ["GELU -> ReLU", "GELU -> SiLU"]),
        ("position_embedding", ["[Pool,Pool,Pool,Attention]", "[Pool,Pool,Attention,Attention]"]),
        ("8371e69ff805", ["[Pool,Pool,Pool,Attention]"]),
    ],
)
def test_explain_finds_rows_by_a_part_of_their_name_or_of_what_they_change(words, titles, capsys):
    text = printed(capsys, "results/mini", "--explain", words)
    found = [line[4:] for line in text.splitlines() if line.startswith("### ")]
    assert len(found) == len(titles)
    assert all(line.startswith(title) for line, title in zip(found, titles, strict=True))


def test_compare_notes_other_changes_and_matches_controls(tmp_path, capsys):
    """A variant is a control only beside its row; it is the same variant in both."""
    runs = [*BASE, record(0, 83.0, preset="attention_recipe")]
    for each in runs:
        each.write(tmp_path / "a")
        each.write(tmp_path / "b")
    record(0, 84.0, preset="ppaa").write(tmp_path / "a")
    text = printed(capsys, tmp_path / "a", tmp_path / "b", "--compare")
    rows = [line for line in text.splitlines() if line.startswith("|") and "83.00" in line]
    assert len(rows) == 1
    assert "missing" not in rows[0]
    assert "[Pool,Pool,Attention,Attention] also changes" in text


def test_seeds_that_do_not_match_are_marked_on_both_sides_of_a_comparison(tmp_path, capsys):
    for folder, seeds in (("a", (8, 9)), ("b", (5, 6, 7))):
        for each in BASE:
            each.write(tmp_path / folder)
        for seed in seeds:
            record(seed, 70.0 + seed, model__norm="none").write(tmp_path / folder)
    text = printed(capsys, tmp_path / "a", tmp_path / "b", "--compare")
    (row,) = [line for line in text.splitlines() if "-> None" in line and line.startswith("|")]
    assert row.count("ʷ") == 3  # a, b, and b - a
    assert "as independent" in text
    assert "holds alone, by a t test of that row" in text


def test_studies_of_other_settings_are_compared_by_their_differences(tmp_path, capsys):
    for folder, lr in (("a", 0.008), ("b", 0.001)):
        for seed, norm in ((0, "group"), (1, "group"), (0, "layer"), (1, "layer")):
            record(seed, 80 + seed, model__norm=norm, optim__lr=lr).write(tmp_path / folder)
    assert "their accuracies are not compared" in printed(
        capsys, tmp_path / "a", tmp_path / "b", "--compare"
    )


@pytest.mark.parametrize("flag", ["--style=paper", "--bootstrap=1", "--explain=x", "--publish"])
def test_compare_rejects_flags_that_it_does_not_read(flag, folders, capsys):
    assert main(["table", *map(str, folders), "--compare", flag]) == 2
    assert f"{flag.split('=')[0]} is not for --compare" in capsys.readouterr().err


def test_explain_ends_with_the_origin_of_its_runs(folders, capsys):
    record(0, 50.0, model__norm="none").write(folders[0])
    assert "Made from 6 records" in printed(capsys, folders[0], "--explain", "identity")


def test_hybrids_of_two_recipes_match_although_their_batches_differ(tmp_path, capsys):
    for recipe in ("mini", "imagenette"):
        for preset in ("s12", "ppaa", "s24"):
            record(0, 60.0, preset, recipe).write(tmp_path / recipe)
    text = printed(capsys, tmp_path / "mini", tmp_path / "imagenette", "--compare")
    rows = [line for line in text.splitlines() if line.startswith("|") and "60.00" in line]
    assert len(rows) == 3
    assert not any("missing" in row for row in rows)


def test_the_note_counts_the_baseline_among_the_rows_with_a_spread(tmp_path, capsys):
    for pool_size in (3, 5, 7, 9, 11):  # the baseline is constant, four rows are not
        for seed in range(3):
            top1 = 80.0 if pool_size == 3 else 80 + seed * pool_size / 9
            record(seed, top1, model__pool_size=pool_size).write(tmp_path)
    text = " ".join(printed(capsys, tmp_path).split())
    assert "Fewer than five rows (with the baseline) have a spread" in text
