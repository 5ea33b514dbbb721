"""Images that flip between rows, by the majorities of seeds; McNemar's counts; bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ablations.analysis.build import build_studies
from ablations.analysis.flips import (
    Counts,
    Flips,
    compare_predictions,
    find_pair,
    load_images,
    most_different,
)
from ablations.config.schema import DataConfig
from ablations.data import load_dataset
from ablations.data.validation import MAX_SIDE, validation_images
from ablations.errors import ConfigError, DataError, RecordError
from ablations.store.predictions import Predictions
from tests.factories.records import BASE, IDENTITY, record
from tests.factories.samples import no_deadline


def predictions(predicted, labels) -> Predictions:
    predicted, labels = np.asarray(predicted), np.asarray(labels)
    top1 = predicted == labels
    return Predictions(predicted, top1, top1, labels, "f" * 16)


def compared(base, row, labels) -> Flips:
    """Flips between runs of seeds 0, 1, ... that predicted these classes."""
    runs = [record(seed, 80.0) for seed in range(len(base))]
    others = [record(seed, 79.0, model__token_mixers="identity") for seed in range(len(row))]
    (study,) = build_studies([*runs, *others])
    found = {
        run.run_id: predictions(each, labels)
        for run, each in zip([*runs, *others], [*base, *row], strict=True)
    }
    return compare_predictions(*find_pair([study], "baseline", "identity"), found)


def test_an_image_flips_where_most_seeds_do():
    #  image:        0  1  2  3  4
    labels = [0, 0, 0, 0, 0]
    base = [[1, 0, 0, 0, 2], [1, 0, 0, 1, 2], [2, 0, 1, 1, 1]]
    row = [[0, 2, 0, 0, 0], [0, 0, 0, 0, 0], [0, 2, 1, 1, 1]]
    gained, second, third, lost = compared(base, row, labels).flips
    # All three against none, then two of three against one or none, by index.
    assert (gained.image, gained.gained, gained.predicted, gained.right) == (
        0,
        True,
        (1, 0),
        (0, 3),
    )
    assert (second.image, second.predicted, second.right) == (4, (2, 0), (0, 2))
    assert (third.image, third.right) == (3, (1, 2))
    assert (lost.image, lost.gained, lost.predicted, lost.right) == (1, False, (0, 2), (3, 1))


def test_half_of_the_seeds_are_not_most():
    assert compared([[0], [0]], [[0], [1]], [0]).flips == []
    assert len(compared([[0], [0]], [[1], [1]], [0]).flips) == 1


outcomes = st.integers(1, 4).flatmap(
    lambda seeds: st.lists(
        st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=seeds, max_size=seeds
    )
)


@no_deadline
@given(outcomes, outcomes)
def test_flips_and_counts_agree_with_a_plain_count(base, row):
    labels = [0, 1, 2, 3, 0, 1]
    found = compared(base, row, labels)
    expected = set()
    for image, label in enumerate(labels):
        shares = [sum(run[image] == label for run in side) / len(side) for side in (base, row)]
        if min(shares) < 0.5 < max(shares):
            expected.add((image, shares[1] > 0.5))
    assert {(flip.image, flip.gained) for flip in found.flips} == expected
    for flip in found.flips:
        right, wrong = flip.predicted[flip.gained], flip.predicted[not flip.gained]
        assert right == flip.label != wrong
    for seed, counts in found.counts.items():
        right = [np.equal(side[seed], labels) for side in (base, row)]
        assert counts.gained == int((right[1] & ~right[0]).sum())
        assert counts.gained - counts.lost == int(right[1].sum()) - int(right[0].sum())
        assert counts.both + counts.gained + counts.lost + counts.neither == len(labels)
    assert found.summed.gained == sum(each.gained for each in found.counts.values())
    # The other way round, gained is lost.
    turned = compared(row, base, labels).flips
    assert {(f.image, not f.gained) for f in turned} == expected


@given(st.integers(0, 300), st.integers(0, 300))
def test_p_is_the_exact_binomial_one(gained, lost):
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert Counts(0, gained, lost, 0).p == pytest.approx(expected)


def test_runs_without_predictions_are_named():
    (study,) = build_studies([*BASE, *IDENTITY])
    pair = find_pair([study], "baseline", "identity")
    found = {run.run_id: predictions([0, 1], [0, 0]) for run in [*BASE, *IDENTITY[1:]]}
    with pytest.raises(RecordError, match=rf"1 finished run has no .*{IDENTITY[0].run_id}.*again"):
        compare_predictions(*pair, found)
    with pytest.raises(RecordError, match="6 finished runs have no"):
        most_different(study, {})
    found[IDENTITY[0].run_id] = predictions([0, 1], [0, 1])
    with pytest.raises(RecordError, match="no common images"):
        compare_predictions(*pair, found)
    found[IDENTITY[0].run_id] = replace(predictions([0, 1], [0, 0]), fingerprint="e" * 16)
    with pytest.raises(RecordError, match="no common images"):
        compare_predictions(*pair, found)


def test_a_diverged_run_without_predictions_is_left_out_by_name():
    row = [*IDENTITY[:2], record(2, 10.0, status="diverged", model__token_mixers="identity")]
    (study,) = build_studies([*BASE, *row])
    found = {run.run_id: predictions([0, 1], [0, 0]) for run in [*BASE, *IDENTITY[:2]]}
    flips = compare_predictions(*find_pair([study], "baseline", "identity"), found)
    assert list(flips.counts) == [0, 1]
    (note,) = flips.notes
    assert "seed 2: diverged" in note


def test_rows_are_found_by_name_or_refused():
    studies = build_studies(
        [*BASE, *IDENTITY, record(0, 70.0, optim__epochs=9), record(0, 70.0, model__norm="batch")]
    )
    with pytest.raises(ConfigError, match="unknown row 'Baselin"):
        find_pair(studies, "Baseline2", "identity")
    with pytest.raises(ConfigError, match="same row, Baseline"):
        find_pair(studies, "baseline", BASE[0].run_id)
    with pytest.raises(ConfigError, match="fits several rows: .*Identity.*BatchNorm"):
        find_pair(studies, "baseline", "->")
    other = build_studies([record(0, 70.0, recipe="fashion", model__norm="layer")])
    with pytest.raises(ConfigError, match="no study has both"):
        find_pair([*studies, *other], "identity", "layernorm -> layernorm")


def test_image_files_are_found_in_the_first_folder_that_exists(image_folder):
    config = DataConfig(name="folder", root=str(image_folder), batch_size=1, pipeline="timm")
    dataset = load_dataset(config)
    roots = (str(image_folder / "moved"), str(image_folder))
    found = validation_images("folder", dataset.fingerprint, dataset.val.labels, roots)
    assert found.classes == dataset.classes
    image = found.image(5)
    assert image.shape[2] == 3
    assert max(image.shape) <= MAX_SIDE
    with pytest.raises(DataError, match="images of folder are not in .*moved"):
        validation_images("folder", dataset.fingerprint, dataset.val.labels, roots[:1])


def test_images_of_another_fingerprint_are_refused():
    flips = compared([[0, 1]], [[1, 0]], [0, 0])
    with pytest.raises(DataError, match="have fingerprint .*, the runs were trained on ffff"):
        load_images(flips)


def test_images_that_are_not_at_hand_are_not_downloaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [record(0, 80.0, recipe="cifar10"), record(0, 70.0, "pppa", recipe="cifar10")]
    (study,) = build_studies(runs)
    found = {run.run_id: predictions([0, 1], [0, 0]) for run in runs}
    rows = [row for row in study.rows if row is not study.baseline]
    flips = compare_predictions(study, study.baseline, rows[0], found)
    with pytest.raises(DataError, match="images of cifar10 are not in data.*--data.root"):
        load_images(flips)
