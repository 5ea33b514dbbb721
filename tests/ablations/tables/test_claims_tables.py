"""The table of claims: what is beside a verdict, and the command that prints it."""

from __future__ import annotations

import csv
import io
import subprocess
import sys

import pytest

from ablations.analysis import stats
from ablations.analysis.build import build_studies
from ablations.analysis.verdicts import judge_claims, seeds_to_decide
from ablations.cli.main import main
from ablations.paper.claims import WITHIN
from ablations.tables import claims_table
from tests.factories.claims import (
    BASE,
    DEPTHWISE,
    IDENTITY,
    POOL5,
    RANDOM,
    badge,
    render_claims,
    runs,
    shifted,
    verdict,
)
from tests.factories.records import record


def test_a_verdict_that_does_not_survive_holm_is_marked():
    # t = -1.5 / (0.5 / sqrt(3)) with 2 degrees of freedom: p = 0.035, of two claims 0.070.
    lone = [*BASE, *runs(IDENTITY, *shifted(-1.5, -1, -2))]
    both = [*lone, *runs(DEPTHWISE, *shifted(2, 1, 3))]
    found = verdict(1, *lone)
    assert (found.verdict, found.survives_correction) == ("agrees", True)
    assert found.p_corrected == found.p == pytest.approx(0.0351, abs=5e-5)
    found = verdict(1, *both)
    assert (found.verdict, found.survives_correction) == ("agrees", False)
    assert found.p_corrected == pytest.approx(2 * found.p)
    text = render_claims(both, "md")
    assert "Not below 5% after Holm" in text
    assert "Not below 5% after Holm" not in render_claims(lone, "md")


def test_the_papers_difference_may_lie_in_our_interval():
    assert (
        verdict(1, *BASE, *runs(IDENTITY, *shifted(-2, -1, -3))).paper_in_interval is True
    )  # -2.9
    assert verdict(1, *BASE, *runs(IDENTITY, *shifted(-2, -2.1, -1.9))).paper_in_interval is False


def test_seeds_needed_to_decide_a_claim():
    # A difference of two deviations; one of 0.2 deviations from the margin of 0.5.
    found = verdict(1, *BASE, *runs(IDENTITY, *shifted(-2, -1, -3)))
    assert found.seeds == stats.seeds_needed(2.0, 1.0) == 5
    found = verdict(5, *BASE, *runs(POOL5, *shifted(1.3, 0.3, -0.7)))
    assert found.seeds == stats.seeds_for_equivalence(0.3, 1.0, 0.5, alpha=0.025) == 199
    found = verdict(5, *BASE, *runs(POOL5, *shifted(1.7, 0.7, -0.3)))  # beyond it: two-sided, 5%
    assert found.seeds == stats.seeds_needed(0.2, 1.0) == 199
    welch = verdict(5, *BASE, *runs(POOL5, 80.0, 81.0, 83.0, first=7))
    assert welch.seeds == stats.seeds_for_equivalence(
        0.0, (7 / 3) ** 0.5, 0.5, paired=False, alpha=0.025
    )
    border = stats.difference({0: 1.5, 1: -0.5}, {0: 0.0, 1: 0.0})
    assert seeds_to_decide(WITHIN, border) is None


def test_a_claim_uses_the_papers_own_row_and_notes_its_other_changes():
    full = [record(seed, top1, preset="ppaa") for seed, top1 in enumerate((85.0, 86.0, 88.5))]
    bare = runs("[Pool,Pool,Attention,Attention]", 20.0, 21.0, 23.0)
    found = verdict(16, *BASE, *full, *bare)
    assert found.subject.top1.mean == pytest.approx(86.5)
    assert found.notes[0].startswith("[Pool,Pool,Attention,Attention] also changes Modified")
    assert found.notes[1].startswith("2 rows match the paper's [Pool,Pool,Attention,Attention]")
    (study,) = build_studies([*BASE, *full, *bare])
    badges = [badge(study, row) for row in study.rows]
    assert sorted(badges) == ["", "", "agrees"]


def test_the_badge_of_a_row_is_that_of_its_claim_against_the_baseline():
    found = [
        *BASE,
        *runs(IDENTITY, *shifted(-3, -2.5, -3.5)),
        *runs(RANDOM, *shifted(3, 2.5, 3.5)),
        *runs("Modified LayerNorm -> LayerNorm", *shifted(3, 2.5, 3.5)),
        *runs("Pooling size 3 -> 9", None, status="failed"),
        record(model__mlp_ratio=2.0),
    ]
    (study,) = build_studies(found)
    assert [(row.label, badge(study, row)) for row in study.rows] == [
        ("Baseline", ""),
        (IDENTITY, "agrees"),
        (RANDOM, "contradicts"),  # above identity as claimed, but that is another claim
        ("Pooling size 3 -> 9", "not run"),
        ("Modified LayerNorm -> LayerNorm", "contradicts"),
        ("MLP ratio 4 -> 2", ""),
    ]
    from ablations.tables.missing import missing_paper_rows

    absent = missing_paper_rows(study)
    assert {badge(study, row) for row in absent} == {"not run"}


# The table


def test_claims_are_numbered_as_in_the_paper():
    found = [*BASE, *runs(IDENTITY, *shifted(-3, -2.5, -3.5)), *runs(POOL5, *shifted(0.6, 0.3, 0))]
    (study,) = build_studies(found)
    table = claims_table(study)
    assert list(table.frame["#"]) == [str(own) for own in range(1, 19)]
    cells = table.frame.iloc[0].to_dict()
    assert cells["Claim"] == "identity token mixer below pooling baseline"
    assert (cells["Verdict"], cells["Δ"], cells["95% CI"]) == ("agrees", "-3.00", "[-4.24, -1.76]")
    assert (cells["n"], cells["Paper Δ"], cells["In CI"]) == ("3", "-2.9", "yes")
    assert cells["Seeds needed"] == ""
    assert int(table.frame.iloc[4]["Seeds needed"]) > 3
    assert [badge.text for badge in table.badges] == [each.verdict for each in judge_claims(study)]
    assert (table.differences[0].mean, table.differences[0].paper) == (pytest.approx(-3), -2.9)
    assert (table.differences[1].mean, table.differences[1].paper) == (None, 1.5)
    foot = "\n".join(table.all_footnotes)
    assert "18 claims on ablations: agrees 1, undetermined 1, not run 16." in foot
    assert "about recipe mini (data mini, 32x32 pixels" in foot
    assert "claims 19 to 34" in foot
    assert "`ablations run sweeps/pool_size.yaml --recipe mini --seeds 0,1,2`" in foot
    assert table.all_footnotes[-1].startswith("Made from 9 records")


def test_csv_of_claims_has_raw_numbers():
    found = [*BASE, *runs(IDENTITY, *shifted(-2, -1, -3)), *runs(POOL5, *shifted(0.1, 0, -0.1))]
    (study,) = build_studies(found)
    frame = claims_table(study).values.set_index("claim")
    row = frame.loc[1]
    assert (row["kind"], row["verdict"], row["delta_test"]) == ("below", "undetermined", "paired t")
    assert row["delta_low"] == pytest.approx(-2 - 4.302653 / 3**0.5, rel=1e-6)
    assert (row["subject_n"], row["comparison_n"], row["seeds_needed"]) == (3, 3, 5)
    assert row["subject_run_ids"] == " ".join(run.run_id for run in found[3:6])
    assert (frame.loc[5, "margin"], frame.loc[5, "delta_test"]) == (0.5, "paired t")
    assert frame.loc[7, "paper_delta"] == -0.4
    assert frame.loc[7, "paper_stated_delta"] == -0.5
    two = render_claims([*found, record(recipe="fashion")], "csv")
    lines = list(csv.DictReader(io.StringIO(two)))
    assert len(lines) == 36
    assert lines[18]["seeds_needed"] == "5"  # mini follows fashion
    assert {line["verdict"] for line in lines[:18]} == {"not run"}


def test_latex_has_the_claims():
    text = render_claims([*BASE, *runs(IDENTITY, *shifted(-3, -2.5, -3.5))], "tex")
    assert "identity token mixer below pooling baseline & agrees & $-$3.00" in text
    assert text.count("{") == text.count("}")


# The command


def test_verdicts_import_neither_torch_nor_pandas():
    heavy = "{'torch', 'pandas'} & {*sys.modules}"
    code = f"import sys, ablations.analysis.verdicts as _; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_exit_code_is_0_whatever_the_verdicts(tmp_path, capsys):
    for run in (*BASE, *runs(IDENTITY, *shifted(3, 2.5, 3.5))):
        run.write(tmp_path / "mini")
    record(recipe="fashion").write(tmp_path / "fashion")
    folders = [str(tmp_path / name) for name in ("mini", "fashion")]
    assert main(["claims", *folders]) == 0
    out, err = capsys.readouterr()
    assert out.count("### Claims: ") == 2
    assert "contradicts" in out
    assert err == ""
    target = tmp_path / "claims.csv"
    assert main(["claims", folders[0], "--format", "csv", "-o", str(target)]) == 0
    assert capsys.readouterr().out == ""
    assert len(target.read_text().splitlines()) == 19


def test_the_baseline_can_be_chosen(tmp_path, capsys):
    for run in (*BASE, *runs(IDENTITY, *shifted(-3, -2.5, -3.5))):
        run.write(tmp_path)
    chosen = runs(IDENTITY, 0.0)[0].run_id
    assert main(["claims", str(tmp_path), "--baseline", chosen, "--format", "csv"]) == 0
    (line, *_) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert line["why"] == "the baseline has token_mixers=identity, the paper's token_mixers=pool"


def test_a_broken_record_is_left_out_and_reported(tmp_path, capsys):
    for run in BASE:
        run.write(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "record.json").write_text("{")
    assert main(["claims", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "### Claims: " in out
    assert err.count("\n") == 1
    assert "broken/record.json" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "markdown"], "valid are md, csv, tex"),
        (["--baseline", "none"], "is not the id of a run here"),
        (["--finished"], "give --wandb PATH"),
        (["--seed=3"], "does not take --seed"),
        (["--style=paper"], "unknown flag '--style'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(words, message, tmp_path, capsys):
    for run in BASE:
        run.write(tmp_path)
    assert main(["claims", str(tmp_path), *words]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert (out, err.count("\n")) == ("", 1)
