"""`ablations images` on runs that were really trained: list, contact sheet, report, bad input."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import ablations
from ablations import figures
from ablations.analysis.flips import load_images
from ablations.cli.main import main
from ablations.config.resolve import resolve
from ablations.store.predictions import PREDICTIONS_FILE
from ablations.training.train import train
from tests.factories.configs import TINY


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two rows with two seeds each, an epoch on the embedded images."""
    results = tmp_path_factory.mktemp("runs")
    for mixer in ("pool", "attention"):
        for seed in range(2):
            fields = {"model.token_mixers": mixer, "seed": seed, "optim.epochs": 1}
            assert train(resolve("mini", {**TINY, **fields}), results).status == "finished"
    return results


def flips_of(results):
    study = ablations.load_study(results)
    return ablations.compare_predictions(study, "attention", ablations.load_predictions(results))


def test_the_list_and_the_sheet(trained, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    words = ["images", "baseline", "attention", str(trained), "--most", "3"]
    assert main([*words, "-o", str(sheet)]) == 0
    text = capsys.readouterr().out
    frame = ablations.flipped_images(flips_of(trained))
    gained = frame[frame["direction"] == "gained"]
    assert f"right with Pooling -> Attention, wrong with Baseline, {len(gained)} of" in text
    assert "McNemar" in text
    for name in gained["true_class"].head(3):
        assert name in text
    with Image.open(sheet) as drawn:
        assert drawn.format == "PNG"
        assert drawn.width > 1000
    assert main([*words, "--format", "json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert pd.DataFrame(tree["flips"]).equals(frame)
    assert [each["seed"] for each in tree["mcnemar"]] == [0, 1]
    assert main([*words, "--format", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(frame) + 1


def test_the_sheet_shows_the_images_of_the_validation_set(trained):
    flips = flips_of(trained)
    images = load_images(flips)
    sheet = figures.contact_sheet(flips, most=4)
    shown = [np.asarray(axes.get_images()[0].get_array()) for axes in sheet.axes]
    by_direction = [[f for f in flips.flips if f.gained is side][:4] for side in (True, False)]
    chosen = [flip for side in by_direction for flip in side]
    assert len(shown) == len(chosen) > 0
    for pixels, flip in zip(shown, chosen, strict=True):
        assert np.array_equal(pixels, images.dataset.val.images[flip.image][..., 0])
    texts = [text.get_text() for text in sheet.texts]
    for flip in chosen:
        assert f"#{flip.image} {images.classes[flip.label]}" in texts


def test_a_report_shows_the_flips_or_says_why_not(trained, tmp_path, capsys):
    assert main(["report", str(trained), "-o", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert 'src="data:image/png;base64,' in page
    assert "McNemar" in page
    bare = tmp_path / "bare"
    shutil.copytree(trained, bare, ignore=shutil.ignore_patterns(PREDICTIONS_FILE))
    assert main(["report", str(bare), "-o", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "Not shown: 4 finished runs have no predictions.npz" in page


def test_bad_input_is_one_line(trained, tmp_path, capsys):
    def refused(*words: str) -> str:
        assert main(["images", *words]) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        return line

    folder = str(trained)
    assert "the rows are: Baseline; Pooling" in refused("baseline", "attenton", folder)
    assert "must be a PNG file" in refused("baseline", "attention", folder, "-o", "sheet.jpg")
    assert "only --data.root" in refused("baseline", "attention", folder, "--optim.lr", "1")
    copy = tmp_path / "runs"
    shutil.copytree(trained, copy)
    path = next(copy.glob(f"*/{PREDICTIONS_FILE}"))
    path.write_bytes(path.read_bytes()[:100])
    assert f"{path} is truncated" in refused("baseline", "attention", str(copy))
    path.unlink()
    assert "1 finished run has no predictions.npz" in refused("baseline", "attention", str(copy))
