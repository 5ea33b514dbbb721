"""What the paper claims: the shipped file line by line, and one edited into nonsense."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ablations.analysis.build import build_studies
from ablations.analysis.verdicts import VERDICTS, badge_of_row, judge_claims
from ablations.cli.main import main
from ablations.config.sweep import expand_sweeps
from ablations.paper import claims as paper_claims
from ablations.paper import published
from ablations.paper.claims import ABOVE, BASELINE, BELOW, MARGIN, OTHER_CLAIMS, WITHIN, load_claims
from ablations.tables import claims_table
from tests.factories.claims import BASE, POOL5, moved, runs
from tests.factories.records import record

SHIPPED = published.PAPER_DIR / paper_claims.FILE
SWEEPS = ["token_mixer", "pool_size", "normalization", "activation", "components"]
SWEEPS += ["hybrid_stages"]


def test_the_shipped_file_has_eighteen_claims_on_ablations_and_is_whole():
    found, problems = load_claims()
    assert problems == []
    assert [claim.id for claim in found] == list(range(1, 19))
    lines = {int(line["id"]): line for line in csv.DictReader(io.StringIO(SHIPPED.read_text()))}
    assert set(lines) == {*range(1, 19), *OTHER_CLAIMS}
    table = published.ablation_rows()
    for claim in found:
        line, (subject, comparison) = lines[claim.id], claim.variants
        assert (claim.subject, claim.comparison) == (line["subject"], line["comparison"])
        assert claim.difference == float(line["delta_from_tables"])
        assert table[subject].top1 == claim.subject_top1
        assert table[comparison].top1 == claim.comparison_top1
        assert claim.evidence


def test_the_papers_words_make_the_kinds():
    kinds = {claim.id: (claim.kind, claim.margin) for claim in load_claims()[0]}
    assert {own for own, kind in kinds.items() if kind == (WITHIN, MARGIN)} == {5, 6, 12}
    assert {own for own, (kind, _) in kinds.items() if kind == ABOVE} == {
        2,
        4,
        8,
        9,
        *range(15, 19),
    }
    assert kinds[7] == (BELOW, None)  # 9 is a drop
    words = {claim.id: claim.summary for claim in load_claims()[0]}
    assert words[2] == "global random matrix above identity"
    assert words[5] == "pool size 5 within 0.5 of pool size 3"
    assert words[9] == "GroupNorm(1)/MLN above BatchNorm"


def test_every_claim_finds_its_rows_in_the_study_of_the_sweeps():
    cells = expand_sweeps([Path(f"sweeps/{name}.yaml") for name in SWEEPS], "mini", seeds=[0])
    found = [
        replace(record(), run_id=cell.config.run_id, config=cell.config.to_json(), metrics=top1)
        for place, cell in enumerate(cells)
        if (top1 := {"val/top1": {"last": 50.0 + place, "best": 90.0}})
    ]
    (study,) = build_studies(found)
    assert len(study.rows) == 18
    for each in judge_claims(study):
        assert each.verdict != "not run", each.claim
        for variant, row in zip(each.claim.variants, (each.subject, each.comparison), strict=True):
            assert row.paper.variant == variant
            assert row in study.rows
    badges = {row.paper.variant: badge_of_row(judge_claims(study), row) for row in study.rows}
    assert badges.pop(BASELINE) == ""
    assert all(badge in VERDICTS for badge in badges.values())


# A file edited into nonsense


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """``edited(old, new)``: the shipped papers' files, one of them changed."""
    folder = shutil.copytree(published.PAPER_DIR, tmp_path / "paper")

    def edit(old: str, new: str) -> Path:
        path = folder / paper_claims.FILE
        text = SHIPPED.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        monkeypatch.setattr(published, "PAPER_DIR", folder)
        return path

    return edit


FIRST = "1,identity token mixer,pooling baseline,ImageNet-1K top-1,74.3,77.2,-2.9,-2.9"
NONSENSE = {
    "line 2: value 'abc' must be a number from 0 to 100": (FIRST, FIRST.replace("74.3", "abc")),
    "line 2: value 'nan' must be a number from 0 to 100": (FIRST, FIRST.replace("74.3", "nan")),
    "line 2: reference_value '' must be a number from 0 to 100": (FIRST, FIRST.replace("77.2", "")),
    "line 2: value 75.3, but Pooling -> Identity mapping has 74.3": (
        FIRST,
        FIRST.replace("74.3", "75.3"),
    ),
    "line 2: delta_from_tables 2.9, but 74.3 - 77.2 is another": (
        FIRST,
        FIRST.removesuffix("-2.9") + "2.9",
    ),
    "line 2: stated_delta -3.2, but 74.3 - 77.2 is another": (
        FIRST,
        FIRST.replace("-2.9", "-3.2", 1),
    ),
    "line 2: subject 'foo' is no row": (FIRST, FIRST.replace("identity token mixer", "foo")),
    "line 2: pooling baseline is pooling baseline: nothing is compared": (
        FIRST,
        FIRST.replace("identity token mixer", "pooling baseline"),
    ),
    "line 2: metric 'COCO AP' is not": (FIRST, FIRST.replace("ImageNet-1K top-1", "COCO AP")),
    "line 2: id 'one' must be a whole number from 1 to 34": (FIRST, "one" + FIRST[1:]),
    "line 2: id '99' must be a whole number from 1 to 34": (FIRST, "99" + FIRST[1:]),
    "line 3: id '1' stands in line 2 already": ("\n2,", "\n1,"),
    "line 2: 10 cells where the header has 11": (FIRST + ",V3 text+Table 5; ARTICLE", FIRST),
    "line 2: 14 cells where the header has 11": (FIRST, FIRST + ",,,"),
    "line 2: the paper says pool": (
        FIRST,
        "1,pooling baseline,identity,ImageNet-1K top-1,77.2,74.3,2.9,2.9",
    ),
    "lacks the column subject": ("id,subject,", "id,topic,"),
    "lacks the column stated_delta": (",stated_delta,", ",delta,"),
    "line 2: ',' expected after": ("derived", 'derived""" ,"'),
}


@pytest.mark.parametrize("told", NONSENSE)
def test_a_line_of_nonsense_is_left_out_and_told_with_its_place(told, edited, tmp_path, capsys):
    path = edited(*NONSENSE[told])
    for run in (*BASE, *runs(POOL5, *moved(0.1, 0, -0.1))):
        run.write(tmp_path / "runs")
    assert main(["claims", str(tmp_path / "runs")]) == 1
    out, err = capsys.readouterr()
    assert (err.count("\n"), str(path) in err) == (1, True)
    assert told in err
    whole_file = "line" not in told
    assert ("pool size 5 within 0.5 of pool size 3" in out) != whole_file
    assert "Made from 6 records" in out


def test_a_line_that_is_gone_is_told(edited):
    found, problems = load_claims(edited("\n5,pool size 5,", "\n6,pool size 5,"))
    assert [claim.id for claim in found] == [1, 2, 3, 4, 6, *range(7, 19)]
    (problem,) = problems
    assert problem.endswith("line 7: id '6' stands in line 6 already")
    lines = SHIPPED.read_text().splitlines(keepends=True)
    path = edited("".join(lines[5:7]), "")
    assert load_claims(path)[1] == [f"{path} has no claim 5, 6"]


def test_a_file_that_is_gone_or_begins_with_a_mark(edited):
    path = edited("id,", "\ufeffid,")
    assert load_claims()[1] == []
    path.unlink()
    assert load_claims() == ([], [f"{path} cannot be read: No such file or directory"])


def test_bytes_that_are_no_text_are_told(edited):
    path = edited("id,", "id,")
    path.write_bytes(b"\xff\xfe\x00id")
    found, (problem,) = load_claims()
    assert found == []
    assert problem.startswith(f"{path} cannot be read: byte 0 is not UTF-8")
    (study,) = build_studies(BASE)
    assert claims_table(study).foot[0] == "0 claims on ablations: none can be read."
