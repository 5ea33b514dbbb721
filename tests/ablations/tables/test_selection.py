"""Rows of a table: chosen, sorted and renamed."""

from __future__ import annotations

import csv
import io
import re

import pytest

from ablations.cli.main import main
from tests.factories.records import BASE, IDENTITY, record

RELU = [record(seed, 84.0 + seed, model__activation="relu") for seed in range(3)]


@pytest.fixture
def results(tmp_path):
    for run in (*BASE, *IDENTITY, *RELU):
        run.write(tmp_path)
    return tmp_path


def table(capsys, *arguments):
    assert main(["table", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments):
    assert main(["table", *map(str, arguments)]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    return error


def variants(text):
    return [row["variant"] for row in csv.DictReader(io.StringIO(text))]


def test_chosen_rows_are_shown_beside_the_baseline(results, capsys):
    text = table(capsys, results, "--rows", "identity")
    assert "Identity" in text
    assert "Baseline" in text
    assert "ReLU" not in text
    assert re.search(r"1 row is not shown; intervals and p-values are\s+of all rows\.", text)
    whole = table(capsys, results, "--format", "csv").splitlines()
    chosen = table(capsys, results, "--format", "csv", "--rows", "identity").splitlines()
    assert set(chosen) < set(whole)  # the same numbers


def test_rows_are_sorted_by_their_difference(results, capsys):
    text = table(capsys, results, "--sort", "difference", "--format", "csv")
    assert variants(text) == ["Baseline", "GELU -> ReLU", "Pooling -> Identity mapping"]
    text = table(capsys, results, "--sort", "difference")
    assert "Activation" not in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("form", ["md", "csv", "tex", "html"])
def test_a_renamed_row_has_its_name_in_all_formats(results, capsys, form):
    text = table(capsys, results, "--rename", "identity=Nothing", "--format", form)
    assert "Nothing" in text
    assert "Identity mapping" not in text


def test_labels_beside_the_results_rename_rows_and_the_flag_wins(results, capsys):
    labels = "Pooling -> Identity mapping: Nothing\nGELU -> ReLU: Rectifier\n"
    (results / "labels.yaml").write_text(labels)
    text = table(capsys, results, "--rename", "relu=ReLU only", "--format", "csv")
    assert variants(text) == ["Baseline", "Nothing", "ReLU only"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rows", "identiti mapping"], "Identity mapping"),
        (["--rename", "silu=Swish"], "--rename: .*silu"),
        (["--rename", "identity"], "must be OLD=NEW"),
        (["--rename", "identity="], "must be OLD=NEW"),
        (["--rename", "identity=A", "--rename", "Pooling -> Identity mapping=B"], "two names"),
        (["--rename", "identity=A", "--rename", "relu=A"], "two rows would be called 'A'"),
        (["--compare", "--rows", "identity"], "--rows is not for --compare"),
    ],
)
def test_rows_that_are_not_there_are_refused_in_one_line(results, capsys, flags, message):
    assert re.search(message, refused(capsys, results, *flags))


@pytest.mark.parametrize("text", ["- a\n", "words\n", "GELU -> ReLU: 3\n", "", "GELU -> ReLU:\n"])
def test_labels_that_are_no_mapping_are_refused(results, capsys, text):
    (results / "labels.yaml").write_text(text)
    error = refused(capsys, results)
    assert "labels.yaml must be a mapping of rows to names" in error


def test_labels_of_a_row_that_is_not_there_are_refused(results, capsys):
    (results / "labels.yaml").write_text("Swish: S\n")
    assert "labels.yaml: " in refused(capsys, results)
