"""--help tells each field's meaning, unit and valid values, with the named recipe's defaults."""

from __future__ import annotations

import re

import pytest

from ablations.cli.main import main
from ablations.config import limits
from ablations.config.data_sources import DATA_SOURCES
from ablations.config.resolve import FIELD_TYPES, FIELDS, preset_names, recipe_names, resolve
from poolformer.config import ACTIVATION_NAMES, MIXER_NAMES, NORM_NAMES


def shown(capsys, *words):
    """Field -> (type, default, meaning), as the screen shows it."""
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
def test_every_field_has_its_meaning(command, capsys):
    fields = shown(capsys, command)
    assert list(fields) == FIELDS
    for name, (_, _, meaning) in fields.items():
        assert meaning.endswith((".", ";")), name
        numeric = any(each in str(FIELD_TYPES[name]) for each in ("int", "float"))
        if numeric:  # its range, or what it follows from
            assert re.search(r"\d|above|more|null|Seeds|dims|channel", meaning), name


def test_the_defaults_are_the_named_recipes(capsys):
    for recipe in recipe_names():
        fields = shown(capsys, "run", "--recipe", recipe)
        run = resolve(recipe)
        assert fields["optim.epochs"][1] == str(run.optim.epochs)
        assert fields["model.head_dim"][1] == str(run.model.head_dim)
        assert fields["data.name"][1] == run.data.name
    assert "m36" in preset_names("imagenet")
    fields = shown(capsys, "train", "--recipe=imagenet", "--preset=m36")
    assert fields["model.depths"][1] == "[6, 6, 18, 6]"
    assert shown(capsys, "run", "--recipe", "mini")["model.num_classes"][1] == "10"


def test_valid_names_are_listed(capsys):
    fields = shown(capsys, "train")
    for name, valid in {
        "model.token_mixers": MIXER_NAMES[:7],
        "model.norm": NORM_NAMES,
        "model.activation": ACTIVATION_NAMES,
        "data.name": DATA_SOURCES,
        **limits.VALID_NAMES,
    }.items():
        for each in valid:
            assert re.search(rf"\b{re.escape(each)}\b", fields[name][2]), (name, each)


def test_a_recipe_that_does_not_exist_still_gives_help(capsys):
    assert shown(capsys, "run", "--recipe", "mino")["optim.epochs"][1] == "300"


@pytest.mark.parametrize(
    ("recipe", "told"),
    [("mini", "add --optim.warmup_epochs 0"), ("imagenet", "10 epochs of cool-down come on top")],
)
def test_a_warm_up_longer_than_the_training_has_a_remedy(recipe, told, capsys, tmp_path):
    words = ["train", "--recipe", recipe, "--results", str(tmp_path), "--optim.epochs", "1"]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert told in err
    assert resolve(recipe, {"optim.epochs": 1, "optim.warmup_epochs": 0}).optim.epochs == 1
