"""The notebooks run offline, and give the outputs that are committed with them."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ablations import figures, tables
from ablations.errors import RecordError
from ablations.store.history_csv import read_history
from scripts import run_notebooks

NOTEBOOKS = sorted(Path("notebooks").glob("*.ipynb"))
MINI = Path("results/mini")
LARGEST = 600_000  # bytes

# Runs first in every kernel: network access is an error.
OFFLINE = """
import socket

def refuse(self, address, connect=socket.socket.connect):
    if self.family != socket.AF_UNIX:
        raise OSError(f"a notebook asks for the network: {address}")
    return connect(self, address)

socket.socket.connect = socket.socket.connect_ex = refuse
"""


@pytest.fixture
def offline(tmp_path) -> dict[str, str]:
    """The environment of a reader without a network or an account."""
    (tmp_path / "sitecustomize.py").write_text(OFFLINE)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    closed = dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://[::1]:9"
    )
    return (
        kept
        | closed
        | {
            "PYTHONPATH": str(tmp_path),
            "IPYTHONDIR": str(tmp_path / "ipython"),
            "NETRC": str(tmp_path / "netrc"),
            "WANDB_MODE": "offline",
        }
    )


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: Any) -> list[tuple[str, dict[str, Any]]]:
    """The outputs of a notebook: the cell's id, and type -> content."""
    return [(cell.id, output.data) for cell in code_cells(notebook) for output in cell.outputs]


def images(notebook: Any) -> list[Image.Image]:
    shown = [data["image/png"] for _, data in outputs(notebook) if "image/png" in data]
    return [Image.open(io.BytesIO(base64.b64decode(text))) for text in shown]


def test_there_are_notebooks():
    names = ["ablation_table", "accuracy_and_cost", "speed", "training_curves"]
    assert [path.stem for path in NOTEBOOKS] == names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_fresh_run_gives_the_committed_outputs(path, offline):
    committed = nbformat.read(path, as_version=4)
    fresh = run_notebooks.execute(path, env=offline)  # raises where a cell does
    assert [cell.source for cell in fresh.cells] == [cell.source for cell in committed.cells]
    assert [name for name, _ in outputs(fresh)] == [name for name, _ in outputs(committed)]
    for (name, ours), (_, theirs) in zip(outputs(fresh), outputs(committed), strict=True):
        assert set(ours) == set(theirs)
        for kind in ("text/plain", "text/markdown", "text/html"):
            # A study's numbers, and nothing that differs between two runs.
            assert ours.get(kind) == theirs.get(kind), f"{name}: `make notebooks` has not been run"
    for ours, theirs in zip(images(fresh), images(committed), strict=True):
        assert ours.size == theirs.size
        apart = np.asarray(ours.convert("L"), float) - np.asarray(theirs.convert("L"), float)
        # Of 255: another machine may draw an edge differently, but no other figure.
        assert np.abs(apart).mean() < 0.5, "a figure has changed: `make notebooks`"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_is_complete(path):
    text = path.read_text()
    assert len(text) < LARGEST
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata == run_notebooks.METADATA
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells)
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert kinds <= {"execute_result", "display_data"}  # neither errors nor warnings
    assert images(notebook)
    for cell in notebook.cells:
        assert not cell.metadata  # no times
    assert notebook.cells[0].source.startswith("# ")
    assert notebook.cells[0].source.splitlines()[0].endswith("?")
    assert "not show" in notebook.cells[-1].source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_no_trace_of_a_machine(path):
    notebook = nbformat.read(path, as_version=4)
    cells = [cell.source for cell in notebook.cells]
    cells += [str(content) for _, data in outputs(notebook) for content in data.values()]
    words = "\n".join(text for text in cells if len(text) < 20_000)  # without images
    assert not re.search(r"(^|[\s'\"(=])(/\w+/\w|[A-Z]:\\|~/)", words)
    assert not re.search(r"\d\d:\d\d:\d\d|0x[0-9a-f]{6}", words)
    for image in images(notebook):
        assert set(image.info) <= {"dpi", "transparency"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_no_logic(path):
    """Only calls, and loops over their results; one variable at the top names the folder."""
    cells = code_cells(nbformat.read(path, as_version=4))
    source = "\n".join(cell.source for cell in cells)
    assert not re.search(r"\b(def|class|lambda|if|while|try|with)\b", source)
    assert source.count("results/mini") == 1
    assert 'RESULTS = "results/mini"' in cells[0].source
    assert all(len(cell.source.splitlines()) <= 10 for cell in cells)
    imported = set(re.findall(r"^(?:from|import) (\w+)", source, flags=re.MULTILINE))
    assert imported <= {"ablations", "IPython", "pandas"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_reads_another_study(path, tmp_path):
    """One seed of the baseline and of one axis: no interval, no other sections."""
    folder = tmp_path / "runs"
    (study,) = tables.load_studies(MINI)
    rows = [row for row in study.rows if row is study.baseline or row.axis == "Activation"]
    assert len(rows) == 3
    for row in rows:
        run_id = row.records[0].run_id
        shutil.copytree(MINI / run_id, folder / run_id)
    shown: list[Any] = []
    names = {"display": shown.append}
    with pd.option_context("display.float_format", None):  # a notebook may choose another
        for cell in code_cells(nbformat.read(path, as_version=4)):
            source = cell.source.replace('"results/mini"', repr(str(folder)))
            exec(compile(source, str(path), "exec"), names)
    assert len(names["study"].rows) == 3
    assert len(shown) == (path.stem == "training_curves")


def test_a_study_is_found_from_the_notebooks_and_from_the_repository(monkeypatch):
    assert tables.find_folder("results/mini") == Path("results/mini")
    monkeypatch.chdir("notebooks")
    assert tables.find_folder("results/mini") == Path("../results/mini")
    monkeypatch.chdir("..")
    here = Path.cwd() / "results"
    assert tables.find_folder(here) == here
    with pytest.raises(RecordError, match="no folder results/none, here or above"):
        tables.find_folder("results/none")


def test_histories_are_those_of_the_runs():
    found = tables.load_histories(MINI)
    assert set(found) == {path.parent.name for path in MINI.glob("*/record.json")}
    for run, rows in found.items():
        assert rows == read_history(MINI / run / "history.csv")
        assert [row["epoch"] for row in rows] == [1, 2, 3]


def test_a_run_without_a_history_has_no_rows(tmp_path):
    run = min(MINI.glob("*/record.json")).parent
    shutil.copytree(run, tmp_path / run.name)
    (tmp_path / run.name / "history.csv").unlink()
    assert tables.load_histories(tmp_path) == {run.name: []}
    (tmp_path / run.name / "history.csv").write_text("epoch,val/top1\n1,high\n")
    with pytest.raises(RecordError, match="is not a history"):
        tables.load_histories(tmp_path)


def test_a_failing_cell_leaves_the_file_unchanged(tmp_path):
    notebook = nbformat.v4.new_notebook(metadata=run_notebooks.METADATA)
    notebook.cells = [nbformat.v4.new_code_cell("1 / 0")]
    path = tmp_path / "broken.ipynb"
    nbformat.write(notebook, path)
    before = path.read_text()
    with pytest.raises(run_notebooks.CellExecutionError, match="ZeroDivisionError"):
        run_notebooks.main([str(path)])
    assert path.read_text() == before


def test_network_access_fails_in_a_notebook(tmp_path, offline):
    notebook = nbformat.v4.new_notebook(metadata=run_notebooks.METADATA)
    source = "import socket\nsocket.create_connection(('127.0.0.1', 9))"
    notebook.cells = [nbformat.v4.new_code_cell(source)]
    path = tmp_path / "online.ipynb"
    nbformat.write(notebook, path)
    with pytest.raises(run_notebooks.CellExecutionError, match="asks for the network"):
        run_notebooks.execute(path, env=offline)


def test_the_texts_agree_with_the_numbers_of_the_study():
    """Every number in their texts, and every statement that numbers can check."""
    (study,) = tables.load_studies(MINI)
    rows = {row.label: row for row in study.rows if row is not study.baseline}
    base = study.baseline
    said = {path.stem: " ".join(texts(path)) for path in NOTEBOOKS}

    def says(name: str, *words: str) -> None:
        for word in words:
            assert word in said[name], word

    deltas = {label: row.delta for label, row in rows.items()}
    residual, ppaa = "Residual connection -> None", "[Pool,Pool,Attention,Attention]"
    none, mlp = "Modified LayerNorm -> None", "Channel MLP -> None"
    assert [label for label, delta in deltas.items() if delta.significant] == [residual, ppaa]
    median = np.median([row.minimum_effect for row in rows.values()])
    assert sum(abs(row.paper.delta) < median for row in rows.values()) > len(rows) / 2
    says("ablation_table", f"{rows[residual].top1.mean:.2f}%", "0.1% of a thousand classes")
    says(
        "ablation_table", f"{deltas[ppaa].mean:.2f} points above", f"differ by {median:.2f} points"
    )
    for label, name in (
        (none, "ablation_table"),
        (mlp, "ablation_table"),
        (mlp, "accuracy_and_cost"),
    ):
        says(name, f"{-rows[label].paper.delta:.1f}", f"{-deltas[label].mean:.2f}")

    macs = rows[mlp].cost["macs"] / base.cost["macs"]
    params = rows[mlp].cost["params"] / base.cost["params"]
    says(
        "accuracy_and_cost",
        f"{100 * macs:.0f}% of the MACs and {100 * params:.0f}% of the parameters",
    )
    says("accuracy_and_cost", "Three of seventeen")
    assert figures.cost_of_study(study).get_suptitle().startswith("3 of 17")

    histories = tables.load_histories(MINI)
    for epoch in (0, 2):
        values = [histories[run.run_id][epoch]["val/top1"] for run in base.records]
        says("training_curves", f"{max(values) - min(values):.2f} ")
    assert all(abs(row.delta.mean) < 0.3 for row in rows.values() if row.axis == "Token mixers")
    norms = [row for row in rows.values() if row.axis == "Normalization"]
    assert max(norms, key=lambda row: np.ptp(row.top1.values)) is rows[none]
    assert all(
        value < base.top1_by_seed[seed] for seed, value in rows["GELU -> SiLU"].top1_by_seed.items()
    )
    starts = {
        label: np.mean(
            [
                histories[run.run_id][0]["val/top1"] - histories[usual.run_id][0]["val/top1"]
                for run, usual in zip(row.records, base.records, strict=True)
            ]
        )
        for label, row in rows.items()
    }
    ahead = [label for label in rows if rows[label].axis == "Token mixers" and starts[label] > 0.1]
    assert ahead == ["Pooling -> Identity mapping", "Pooling -> Global random matrix"]
    assert starts["Pooling -> Depthwise convolution"] < 0
    for label in ("[Pool,Pool,Pool,Attention]", ppaa, "Modified LayerNorm -> BatchNorm"):
        assert starts[label] < 0 < deltas[label].mean
    assert {
        line["val/top1"] for run in rows[residual].records for line in histories[run.run_id]
    } == {10.0}

    speeds = {
        label: np.mean([run.timing["pictures_per_second"] for run in row.records])
        / np.mean([run.timing["pictures_per_second"] for run in base.records])
        for label, row in rows.items()
    }
    depthwise = "Pooling -> Depthwise convolution"
    more = rows[depthwise].cost["macs"] / base.cost["macs"] - 1
    says("speed", f"adds {100 * more:.0f}%", f"{speeds[depthwise]:.2f} of its speed")
    says("speed", f"{speeds[mlp]:.2f} of it", f"{speeds[ppaa]:.2f} of the baseline")
    says("speed", f"at {speeds['[Pool,Pool,Pool,Attention]']:.2f} and")
    for range_ in re.findall(r"[\d.]+ to [\d.]+", figures.published_speed().get_suptitle()):
        says("speed", range_)


def texts(path: Path) -> list[str]:
    """The text cells of a notebook, with line breaks as blanks."""
    cells = nbformat.read(path, as_version=4).cells
    return [" ".join(cell.source.split()) for cell in cells if cell.cell_type == "markdown"]
