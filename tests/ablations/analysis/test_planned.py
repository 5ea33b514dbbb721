"""Tables of planned studies: at which look a row was decided, and seeds that no plan has."""

from __future__ import annotations

import pytest

from ablations.analysis.build import build_studies
from ablations.analysis.planned import apply_plans
from ablations.analysis.stats import Method, SignificanceTest
from ablations.analysis.stats.looks import LookPlan, split_error
from ablations.analysis.study_plan import plan_study, write_study_plan
from ablations.cli.main import main
from ablations.config.resolve import resolve
from ablations.tables import render_studies
from tests.factories.records import record

LOOKS = LookPlan((3, 4), split_error((3, 4)), 0.5)
NOISE = [0.2, -0.15, 0.1, -0.3]
EFFECTS = {"pool": 0.0, "identity": -25.0, "random": 0.3}


def runs(mixer, seeds):
    effect = EFFECTS[mixer]
    return [
        record(
            s,
            70 + s + effect + NOISE[(s + list(EFFECTS).index(mixer)) % 4],
            model__token_mixers=mixer,
        )
        for s in range(seeds)
    ]


@pytest.fixture
def folder(tmp_path):
    configs = [
        resolve("mini", {"seed": seed, "model.token_mixers": mixer})
        for seed in range(4)
        for mixer in EFFECTS
    ]
    write_study_plan(tmp_path, plan_study(configs, LOOKS))
    return tmp_path


def planned(folder, identity=3, method=None):
    found = [*runs("pool", 4), *runs("identity", identity), *runs("random", 4)]
    (study,) = apply_plans(build_studies(found, method=method), [folder])
    return study, {row.label: row for row in study.rows}


def test_a_row_has_the_interval_of_the_look_that_decided_it(folder):
    study, rows = planned(folder)
    decided, still_open = (
        rows["Pooling -> Identity mapping"],
        rows["Pooling -> Global random matrix"],
    )
    assert decided.look_note == "decided at 3 seeds (different)"
    assert decided.delta.n == 3
    assert decided.delta.low > 0 or decided.delta.high < 0
    assert list(decided.missing_seeds) == []  # the baseline's later seeds are not missing
    assert still_open.look_note.startswith("open at 4 seeds")
    text = render_studies([study], "md")
    assert "Pooling -> Identity mapping: decided at 3 seeds (different)." in text
    assert "looks at 3, 4 seeds, which spend 1.8 + 3.2 = 5%" in text


def test_seeds_that_the_plan_does_not_have_are_named_and_not_used(folder):
    _, rows = planned(folder, identity=4)
    row = rows["Pooling -> Identity mapping"]
    assert row.look_note.endswith("seeds added without a plan, which Δ leaves out: 3")
    assert row.delta.n == 3


def test_another_test_than_the_plans_says_that_it_ignores_the_looks(folder):
    study, rows = planned(folder, method=Method(SignificanceTest.ORDINARY))
    assert "do not allow for the looks" in study.plan_note
    assert not any(row.look_note for row in rows.values())


def test_without_a_plan_a_row_with_more_seeds_than_the_others_is_marked(tmp_path):
    found = [*runs("pool", 4), *runs("identity", 2), *runs("random", 4)]
    (study,) = apply_plans(build_studies(found), [tmp_path])
    notes = {row.label: row.look_note for row in study.rows if row.look_note}
    assert list(notes) == ["Pooling -> Global random matrix"]
    assert "4 seeds where other rows have 2, and no study.json" in next(iter(notes.values()))
    even = [*runs("pool", 4), *runs("identity", 3), *runs("random", 3)]
    (study,) = apply_plans(build_studies(even), [tmp_path])
    assert not any(row.look_note for row in study.rows)


def test_a_broken_plan_is_refused_by_the_table(folder, capsys):
    runs("pool", 1)[0].write(folder)
    (folder / "study.json").write_text("{")
    assert main(["table", str(folder)]) == 2
    assert "study.json is not the plan of a study" in capsys.readouterr().err
