"""Which row of the paper a change is; and that a study does without rows that the paper lacks."""

from __future__ import annotations

import pytest

from ablations.analysis.build import build_studies
from ablations.config import diff, naming
from ablations.config.resolve import recipe_names, resolve
from ablations.paper import matching, published
from ablations.tables import render
from ablations.tables.ablation import EVERY
from ablations.tables.missing import missing_paper_rows
from poolformer import SIZES
from tests.factories.records import BASE, IDENTITY, record


def changes(recipe="mini", preset=None, **overrides):
    """What a cell changes against its recipe, and its whole config."""
    plain = {name.replace("__", "."): value for name, value in overrides.items()}
    flat = diff.flat_config(resolve(recipe, plain, preset).to_json())
    return diff.changed_fields(diff.flat_recipe(recipe), flat), flat


def test_every_row_of_the_papers_table_has_a_change_and_its_name_follows_from_that():
    assert list(matching.rows()) == list(published.ablation_rows())
    assert list(matching.rows()) == [published.BASELINE, *matching.PAPER_CHANGES]
    for variant, (name, value) in matching.PAPER_CHANGES.items():
        changed = {name: (diff.flat_recipe("mini")[name], value)}
        assert naming.change_label(changed) == variant
        paper = matching.find_paper_row(changed)
        assert paper is not None
        assert (paper.variant, paper.axis) == (variant, naming.axis_of(changed))


def test_no_change_is_the_baseline_and_an_unknown_one_is_no_row():
    assert matching.find_paper_row({}).variant == "PoolFormer-S12"
    assert matching.find_paper_row({"model.pool_size": (3, 11)}) is None
    assert matching.find_paper_row({"optim.lr": (0.004, 0.001)}) is None


@pytest.mark.parametrize("recipe", recipe_names())
def test_a_row_may_change_what_the_papers_own_changes_and_no_more(recipe):
    changed, _ = changes(recipe, "ppaa")
    assert len(changed) > 3
    assert matching.find_paper_row(changed).top1 == 81.0
    assert matching.find_paper_row(changed | {"optim.weight_decay": (0.05, 0.1)}) is None
    assert (
        matching.find_paper_row({"model.norm": ("group", "layer"), "optim.lr": (0.004, 0.001)})
        is None
    )


@pytest.mark.parametrize("recipe", recipe_names())
@pytest.mark.parametrize("size", list(SIZES)[1:])
def test_sizes_have_the_papers_rows_in_every_recipe(recipe, size):
    axis, label, paper = matching.describe_variant(recipe, *changes(recipe, size))
    assert (axis, label) == ("Model size", f"S12 -> {size.upper()}")
    assert paper == published.model_rows()[size]
    changed, flat = changes(recipe, size, optim__lr=0.1)
    assert matching.describe_variant(recipe, changed, flat)[2] is None


def test_a_shape_that_is_no_size_is_told_as_it_is():
    found = matching.describe_variant("mini", *changes(model__depths=[1, 1, 1, 1]))
    assert found == ("Model size", "Depths [1,1,1,1]", None)


def test_rows_whose_paper_row_is_left_out_are_rows_without_numbers(paper):
    before = render([*BASE, *IDENTITY, record(preset="s24")], "csv")
    assert ",77.2," in before
    paper.edit("ablation.csv", 2, "top1", "x")
    paper.edit("ablation.csv", 3, "top1", "x")
    paper.edit("table1_config.csv", 3, "top1", "x")
    assert matching.find_paper_row({}) is None
    assert matching.find_paper_row({"model.token_mixers": ("pool", "identity")}) is None
    assert matching.find_paper_row({"model.token_mixers": ("pool", "random")}).top1 == 75.8
    assert matching.find_size_row("s24", {}) is None
    (study,) = build_studies([*BASE, *IDENTITY, record(preset="s24")])
    assert [(row.label, row.paper) for row in study.rows] == [
        ("Baseline", None),
        ("Pooling -> Identity mapping", None),
        ("S12 -> S24", None),
    ]
    assert study.rows[1].delta.mean == -2
    after = render([*BASE, *IDENTITY, record(preset="s24")], "md", columns=EVERY, whole=True)
    assert "74.3" not in after
    assert "75.8" in after  # the paper's other rows are still there


def test_a_size_without_the_s12_has_no_difference(paper):
    paper.edit("table1_config.csv", 2, "top1", "x")
    assert list(published.model_rows()) == ["s24", "s36", "m36", "m48"]
    assert published.model_rows()["s24"].delta is None
    assert "S12 -> S24" in render([*BASE, record(preset="s24")], "md")


def test_a_row_that_no_cell_makes_is_told_and_nothing_is_said_to_fill_it(paper):
    paper.edit("ablation.csv", 3, "variant", "Pooling -> Nothing")
    assert published.problems() == []
    (problem,) = matching.problems()
    assert problem.startswith(f"{paper.folder}/ablation.csv, line 3: variant 'Pooling -> Nothing'")
    (study,) = build_studies(BASE)
    assert "Pooling -> Nothing" not in {row.label for row in missing_paper_rows(study)}


def test_the_counts_of_models_do_without_the_papers(paper):
    from ablations.tables.model_costs import models_to_count

    paper.write("table1_config.csv", "")
    paper.write("ablation.csv", "")
    found = models_to_count("imagenet", [], {})
    assert [(each.label, each.paper) for each in found] == [
        (f"PoolFormer-{size.upper()}", None) for size in SIZES
    ]
