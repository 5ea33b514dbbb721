"""Which row of the paper a change matches, and the axis and name of the change."""

from __future__ import annotations

import pytest

from ablations.config import diff, naming
from ablations.config.resolve import recipe_names, resolve
from ablations.paper import matching, published
from poolformer import SIZES


def changes(recipe="mini", preset=None, **overrides):
    """The changes of a run against its recipe, and its whole config."""
    plain = {name.replace("__", "."): value for name, value in overrides.items()}
    flat = diff.flat_config(resolve(recipe, plain, preset).to_json())
    return diff.changed_fields(diff.flat_recipe(recipe), flat), flat


def test_every_row_of_the_papers_table_matches_its_change():
    assert list(published.ablation_rows()) == [published.BASELINE, *matching.PAPER_CHANGES]
    assert published.ablation_rows()[published.BASELINE].axis == naming.BASELINE
    for variant, (name, value) in matching.PAPER_CHANGES.items():
        changed = {name: (diff.flat_recipe("mini")[name], value)}
        assert naming.change_label(changed) == variant
        paper = matching.find_paper_row(changed)
        assert paper is not None
        assert (paper.variant, paper.axis) == (variant, naming.axis_of(changed))


def test_no_change_matches_the_baseline_and_an_unknown_change_no_row():
    assert matching.find_paper_row({}).variant == "PoolFormer-S12"
    assert matching.find_paper_row({"model.pool_size": (3, 11)}) is None
    assert matching.find_paper_row({"optim.lr": (0.004, 0.001)}) is None


@pytest.mark.parametrize("recipe", recipe_names())
def test_a_row_matches_if_it_changes_what_the_papers_row_changes_and_no_more(recipe):
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
def test_sizes_match_the_papers_rows_in_every_recipe(recipe, size):
    axis, label, paper = matching.describe_variant(recipe, *changes(recipe, size))
    assert (axis, label) == ("Model size", f"S12 -> {size.upper()}")
    assert paper == published.model_rows()[size]
    changed, flat = changes(recipe, size, optim__lr=0.1)
    assert matching.describe_variant(recipe, changed, flat)[2] is None


def test_a_shape_that_is_no_size_of_the_paper_has_no_row():
    found = matching.describe_variant("mini", *changes(model__depths=[1, 1, 1, 1]))
    assert found == ("Model size", "Depths [1,1,1,1]", None)
