"""--help shows the meaning, unit and valid values of each field, and the defaults of the recipe."""

from __future__ import annotations

import re

import pytest

from ablations.cli.main import main
from ablations.config import limits
from ablations.config.data_sources import DATA_SOURCES
from ablations.config.resolve import FIELD_TYPES, FIELDS, preset_names, recipe_names, resolve
from poolformer.config import ACTIVATION_NAMES, MIXER_NAMES, NORM_NAMES


def help_entries(capsys, *words):
    """Field -> (type, default, meaning), as --help prints them."""
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    entry = r"^  --([\w.]+) (.+?)  \(default: (.*)\)\n((?:      .*\n)+)"
    found = re.findall(entry, out, flags=re.MULTILINE)
    return {name: (kind, default, " ".join(text.split())) for name, kind, default, text in found}


@pytest.fixture(autouse=True)
def _terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("ABLATIONS_RECIPE", raising=False)


@pytest.mark.parametrize("command", ["train", "run", "plan", "profile", "bench"])
def test_every_field_is_explained(command, capsys):
    fields = help_entries(capsys, command)
    assert list(fields) == FIELDS
    for name, (_, _, meaning) in fields.items():
        assert meaning.endswith((".", ";")), name
        numeric = any(each in str(FIELD_TYPES[name]) for each in ("int", "float"))
        if numeric:  # its range, or what it follows from
            assert re.search(r"\d|above|more|null|Seeds|dims|channel", meaning), name


def test_defaults_are_those_of_the_recipe_and_preset(capsys):
    for recipe in recipe_names():
        fields = help_entries(capsys, "run", "--recipe", recipe)
        run = resolve(recipe)
        assert fields["optim.epochs"][1] == str(run.optim.epochs)
        assert fields["model.head_dim"][1] == str(run.model.head_dim)
        assert fields["data.name"][1] == run.data.name
    assert "m36" in preset_names("imagenet")
    fields = help_entries(capsys, "train", "--recipe=imagenet", "--preset=m36")
    assert fields["model.depths"][1] == "[6, 6, 18, 6]"
    assert help_entries(capsys, "run", "--recipe", "mini")["model.num_classes"][1] == "10"


def test_valid_names_are_listed(capsys):
    fields = help_entries(capsys, "train")
    for name, valid in {
        "model.token_mixers": MIXER_NAMES[:7],
        "model.norm": NORM_NAMES,
        "model.activation": ACTIVATION_NAMES,
        "data.name": DATA_SOURCES,
        **limits.VALID_NAMES,
    }.items():
        for each in valid:
            assert re.search(rf"\b{re.escape(each)}\b", fields[name][2]), (name, each)


def test_help_works_with_an_unknown_recipe(capsys):
    assert help_entries(capsys, "run", "--recipe", "mino")["optim.epochs"][1] == "300"


@pytest.mark.parametrize(
    ("recipe", "message"),
    [("mini", "add --optim.warmup_epochs 0"), ("imagenet", "10 epochs of cool-down come on top")],
)
def test_a_warm_up_longer_than_training_suggests_a_shorter_one(recipe, message, capsys, tmp_path):
    words = ["train", "--recipe", recipe, "--results", str(tmp_path), "--optim.epochs", "1"]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert message in err
    assert resolve(recipe, {"optim.epochs": 1, "optim.warmup_epochs": 0}).optim.epochs == 1
