"""Controls: those that the recipes ship, and how the controls of a row are found."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ablations.analysis.controls import KINDS, Control, ControlFinder, assign_controls, macs_match
from ablations.config import diff, naming
from ablations.config.resolve import recipe_names, resolve
from ablations.paper.published import PaperRow, model_rows
from ablations.training.cost import model_cost
from scripts import size_matched
from tests.factories.configs import sweep_grid

# Counting the MACs of larger models takes up to two seconds, and a search seven.
COUNTED = [
    pytest.param(recipe, marks=[] if recipe in ("mini", "fashion") else pytest.mark.slow)
    for recipe in recipe_names()
]
ROWS = ["s12", "pppf", "ppff", "pppa", "ppaa"]
CONTROLS = [
    run["preset"]
    for run in sweep_grid(Path("sweeps/controls.yaml"))
    if run["seed"] == 0 and run["preset"] != "s12"
]
# Kind -> preset, where the baseline is not the control already.
PPAA = dict(zip(KINDS, ["attention_recipe", "ppaa_size", "ppaa_recipe_size"], strict=True))
PPPA = dict(zip(KINDS, ["attention_recipe", "pppa_size", "pppa_recipe_size"], strict=True))
WITHOUT_SIZE = {kind: PPPA[kind] for kind in ("recipe", "recipe and size")}
SHIPPED: dict[str, dict[str, dict[str, str]]] = {
    "mini": {"ppaa": PPAA, "pppa": WITHOUT_SIZE},
    "cifar10": {"ppaa": PPAA, "pppa": PPPA},
    # On ImageNet pppa's size is within 3% of ppff's, too.
    "imagenet": {
        "ppaa": PPAA,
        "pppa": PPPA,
        "ppff": {"size": "pppa_size", "recipe and size": "ppff_size"},
    },
    "imagenette": {"ppaa": PPAA, "pppa": PPPA, "ppff": {"recipe": "ppff_size"}},
}
SHIPPED |= {"fashion": SHIPPED["mini"], "imagenet-fast": SHIPPED["imagenette"]}


@dataclass(frozen=True)
class Candidate:
    """What controls depend on of a variant."""

    changed: diff.Changes
    macs: int | None
    paper: PaperRow | None = None
    axis = label = ""

    @property
    def cost(self) -> dict[str, int | None]:
        return {"macs": self.macs}


def changes(recipe: str, preset: str) -> diff.Changes:
    base, run = (diff.flat_config(resolve(recipe, preset=p).to_json()) for p in ("s12", preset))
    return diff.changed_fields(base, run)


def candidates(recipe: str, presets: list[str]) -> dict[str, Candidate]:
    """Different variants of a recipe by preset; of equal ones the first."""
    found: dict[str, Candidate] = {}
    for preset in presets:
        changed = changes(recipe, preset)
        if all(changed != known.changed for known in found.values()):
            macs = model_cost(resolve(recipe, preset=preset).model)["macs"]
            found[preset] = Candidate(changed, macs)
    return found


@pytest.mark.parametrize("recipe", COUNTED)
def test_the_hybrids_have_their_controls_in_every_recipe(recipe):
    variants = candidates(recipe, [*ROWS, *CONTROLS])
    names, listed = list(variants), list(variants.values())
    assigned, only_controls = assign_controls(listed)
    found_controls = {
        names[row]: {control.kind: names[control.index] for control in controls}
        for row, controls in assigned.items()
    }
    assert found_controls == SHIPPED[recipe]
    # Every control is used, and no row of the table counts as a control.
    used = {names[index] for index in only_controls}
    assert used == set(names) - set(ROWS)
    assert len({naming.describe_values(variants[name].changed) for name in used}) == len(used)


@pytest.mark.parametrize("recipe", recipe_names())
@pytest.mark.parametrize("preset", CONTROLS)
def test_a_control_changes_exactly_what_its_name_says(recipe, preset):
    row, _, rest = preset.partition("_")
    row = "ppaa" if row == "attention" else row
    changed, of_row = changes(recipe, preset), changes(recipe, row)
    mixer = ("model.token_mixers", "model.position_embedding")
    other = {name: change for name, change in of_row.items() if name not in mixer}
    shape = changed.pop("model.dims", None)
    assert shape is None or "size" in rest
    assert changed == (other if "recipe" in rest or row == "ppff" else {})


@pytest.mark.parametrize("recipe", COUNTED)
@pytest.mark.parametrize("preset", size_matched.PRESETS)
def test_a_size_matched_preset_is_the_one_that_the_script_finds(recipe, preset):
    model, row = size_matched.matched(recipe, preset)
    assert resolve(recipe, preset=preset).model == model
    assert macs_match(model_cost(model)["macs"], model_cost(row)["macs"])


def test_the_script_prints_the_presets_of_the_recipes(monkeypatch, capsys):
    monkeypatch.setattr(size_matched, "recipe_names", lambda: ["mini"])
    size_matched.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "# mini.yaml"
    assert "  pppa_recipe_size: {model.dims: [16, 34, 82, 132]} # 1.392 M MACs, +0.62%" in lines


def test_the_closest_shape_may_be_smaller_or_larger():
    # (8, 16) widens to (8, 17), (9, 17), ... (16, 32): products 128, 136, 153, ... 512.
    for target, dims in [(0, (8, 16)), (131, (8, 16)), (133, (8, 17)), (144, (8, 17))]:
        assert size_matched.closest((8, 16), math.prod, target) == dims
    assert size_matched.closest((8, 16), math.prod, 1000) == (16, 32)


MIXER = {"model.token_mixers": ("pool", "attention")}
EMBEDDING = {"model.position_embedding": (None, 3)}
NORM = {"model.norm": ("group", "layer")}
LR = {"optim.lr": (0.008, 0.002)}
WIDE = {"model.dims": ([8, 16], [10, 20])}
WIDER = {"model.dims": ([8, 16], [12, 24])}
DEEP = {"model.depths": ([1, 1], [2, 2])}
BASE = Candidate({}, 1000)
ROW = Candidate({**MIXER, **EMBEDDING, **NORM, **LR}, 1500)


def found(row: Candidate, *others: Candidate) -> dict[str, int]:
    controls = ControlFinder(others).find(row)
    assert [control.kind for control in controls] == [
        kind for kind in KINDS if kind in {control.kind for control in controls}
    ]
    return {control.kind: control.index for control in controls}


def test_a_row_has_all_three_kinds_of_controls():
    others = [
        Candidate({**NORM, **LR, **WIDE}, 1490),
        ROW,
        Candidate(WIDE, 1510),
        Candidate(MIXER, 1500),
        Candidate({**NORM, **LR}, 990),
        Candidate(NORM, 990),
        BASE,
    ]
    assert found(ROW, *others) == {"recipe": 4, "size": 2, "recipe and size": 0}


def test_the_closest_size_within_three_percent_is_used():
    others = [
        BASE,
        Candidate(WIDE, 1455),
        Candidate(DEEP, 1460),
        Candidate(WIDER, 1546),
    ]
    assert found(ROW, *others) == {"size": 2}
    assert found(ROW, BASE, Candidate(WIDE, 1454), Candidate(WIDER, 1546)) == {}
    assert found(replace(ROW, macs=None), *others) == {}
    assert found(ROW, BASE, Candidate(WIDE, None)) == {}


def test_a_size_control_is_used_only_where_it_is_needed():
    small = replace(ROW, macs=1030)
    recipe, wide, both = (
        Candidate({**NORM, **LR}, 990),
        Candidate(WIDE, 1030),
        Candidate({**NORM, **LR, **WIDE}, 1030),
    )
    # The baseline is within 3% and the recipe control is not; then both are.
    assert found(small, BASE, recipe, wide, both) == {"recipe": 1, "recipe and size": 3}
    near_recipe = replace(recipe, macs=1000)
    assert found(small, BASE, near_recipe, wide, both) == {"recipe": 1}
    # Without a baseline its size is unknown, so the size control is needed.
    assert found(small, recipe, wide, both) == {"recipe": 0, "size": 1, "recipe and size": 2}


def test_a_row_that_changes_only_its_axis_has_no_controls():
    others = [BASE, Candidate(WIDE, 1000), Candidate(LR, 1000)]
    assert found(Candidate(MIXER, 1000), *others) == {}
    assert found(BASE, *others) == {}


def test_a_row_of_any_axis_has_controls():
    mlp = {"model.mlp_ratio": (4.0, 8.0)}
    others = [
        BASE,
        Candidate(WIDE, 1800),
        Candidate(LR, 1000),
        Candidate({**WIDE, **LR}, 1800),
    ]
    assert found(Candidate({**mlp, **LR}, 1800), *others) == {
        "recipe": 2,
        "size": 1,
        "recipe and size": 3,
    }


def test_a_position_embedding_stays_in_the_control_of_a_row_of_another_axis():
    row = Candidate({**NORM, **EMBEDDING}, 1000)
    assert found(row, BASE, Candidate(EMBEDDING, 1000)) == {"recipe": 1}


def test_a_row_with_its_own_shape_is_compared_at_that_shape():
    sized = Candidate({**MIXER, **WIDE}, 1500)
    assert found(sized, BASE, Candidate(WIDE, 1480)) == {"recipe": 1}
    assert found(sized, BASE, Candidate(WIDE, 1200), Candidate(WIDER, 1480)) == {
        "recipe": 1,
        "size": 2,
    }


def test_a_size_row_has_a_recipe_control_but_no_size_control():
    scale = {"model.layer_scale_init": (1e-5, 1e-6)}
    size = Candidate({**DEEP, **WIDE, **scale}, 3000)
    others = [BASE, Candidate(scale, 1000), Candidate(WIDER, 3000)]
    assert found(size, *others) == {"recipe": 1}


def test_a_control_has_no_controls():
    variants = [
        Candidate(WIDE, 1500),
        Candidate({**NORM, **LR, **WIDE}, 1490),
        BASE,
        ROW,
    ]
    assigned, only_controls = assign_controls(variants)
    assert assigned == {3: [Control("size", 0), Control("recipe and size", 1)]}
    assert only_controls == {0, 1}


def test_an_ablation_used_as_a_control_stays_in_its_section():
    s24 = Candidate(DEEP, 1500, model_rows()["s24"])
    mlp = Candidate({"model.mlp_ratio": (4.0, 8.0)}, 1000)
    lr = Candidate(LR, 1000)
    rows = [
        Candidate(MIXER, 1500),
        Candidate({**MIXER, **mlp.changed}, 1000),
        Candidate({**MIXER, **LR}, 1000),
    ]
    variants = [BASE, s24, mlp, lr, *rows]
    assigned, only_controls = assign_controls(variants)
    assert assigned == {
        4: [Control("size", 1)],
        5: [Control("recipe", 2)],
        6: [Control("recipe", 3)],
    }
    assert only_controls == set()  # a grid of mixers and other fields
    without = [BASE, s24, mlp, lr, *rows[1:]]  # no row changes the mixer alone
    assert assign_controls(without)[1] == {3}
