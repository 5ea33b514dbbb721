"""Hostile text in records is inert text in the output of every command and format."""

from __future__ import annotations

import io
import itertools
import json
import re
import shutil
import subprocess
import unicodedata
import warnings
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from ablations.cli.main import main
from ablations.config.resolve import resolve
from ablations.config.schema import run_id_of
from ablations.scheduling.progress import Progress
from ablations.text import escape
from tests.factories.hostile import HOSTILE
from tests.factories.records import BASE, record

# A lone surrogate cannot be part of an id.
LABELS = [text.replace("\ud800", "").replace("\udcff", "") for text in HOSTILE]
HISTORY = "epoch,val/top1,train/loss\n1,50,2\n2,60,1\n3,70,0.5\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of runs that have hostile text in every text field."""
    home = tmp_path_factory.mktemp("hostile") / "ru|ns $x$ [b] 注"
    found = list(BASE)
    for number, label in enumerate(LABELS):
        for seed in range(2):
            made = record(seed, 50.0 + number + seed)
            made.config["model"]["token_mixers"] = label
            made = replace(made, run_id=run_id_of(made.config))
            versions = {label or "none": label}
            made.environment.update(device=label, platform=label, versions=versions)
            made.environment.update(plugins=versions, commit=label)
            found.append(made)
    failed = record(5, None, status="failed")
    assert failed.failure
    failed.failure.update(kind="e\x1b[31m[/x]", message="\n".join(LABELS))
    for each in [*found, failed]:
        run_folder = home / each.run_id
        run_folder.mkdir(parents=True)
        (run_folder / "record.json").write_text(json.dumps(asdict(each)))
        (run_folder / "history.csv").write_text(HISTORY)
    return home


def output_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints; checks that it has no control characters."""
    assert main(list(arguments)) in (0, 1)
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        odd = {each for each in text if not each.isprintable() and each not in "\n\t"}
        assert all(unicodedata.category(each) == "Zs" for each in odd), odd
    return captured.out


@pytest.mark.parametrize("arguments", [["status"], ["status", "--json"], ["clean", "--dry-run"]])
def test_terminal(folder, arguments, capsys):
    shown = output_of(capsys, *arguments, "--results", str(folder))
    if arguments == ["status"]:
        assert "[pool,pool,attention,attention]" in shown
        assert "[/x] [bold]b[/bold] [red" in shown
    elif "--json" in arguments:
        runs = {run["cell"] for run in json.loads(shown)["runs"]}
        assert any("[/x] [bold]b[/bold] [red" in run for run in runs)


def test_live_progress():
    console = Console(file=io.StringIO(), width=10_000)
    runs = [resolve("mini", {"seed": seed}) for seed in range(len(LABELS))]
    shown = Progress(runs, runs, console)
    for run, label in zip(runs, LABELS, strict=True):
        shown.say(label)
        shown.started(run, label)
    console.print(shown._table())
    text = console.file.getvalue()
    assert all(
        each.isprintable() or unicodedata.category(each) == "Zs" for each in set(text) - {"\n"}
    )
    for label in LABELS:
        assert escape.terminal(label).rstrip() in text
    for label in ("[pool,pool,attention,attention]", "[/x] [bold]b[/bold] [red"):
        assert text.count(label) == 2  # said, and in the table, which shows the first ones


@pytest.mark.parametrize("command", ["table", "claims"])
def test_markdown(folder, command, capsys):
    text = output_of(capsys, command, str(folder))
    reader = MarkdownIt("commonmark").enable("table")
    blocks = reader.parse(text)
    assert sum(block.type == "table_open" for block in blocks) == 1
    assert not any(block.type.startswith(("html", "fence", "code_block")) for block in blocks)
    inside = {piece.type for block in blocks for piece in block.children or []}
    plain = {"text", "code_inline", "text_special", "softbreak"}  # long footnotes are folded
    assert inside <= plain | {"strong_open", "strong_close"}
    if command == "table":
        shown = "".join(piece.content for block in blocks for piece in block.children or [])
        for label in LABELS:
            if 2 < len(label) < 100 and "`" not in label:
                assert escape.terminal(label).strip() in shown


@pytest.mark.parametrize("command", ["table", "claims"])
def test_csv(folder, command, capsys):
    frame = pd.read_csv(io.StringIO(output_of(capsys, command, str(folder), "--format", "csv")))
    words = [column for column in frame if not pd.api.types.is_numeric_dtype(frame[column])]
    for value in itertools.chain(words, *(frame[column].dropna() for column in words)):
        number = re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", str(value))
        assert number or not str(value).startswith(("=", "+", "-", "@", "\t", "\r")), value
    if command == "table":
        assert frame["delta_mean"].dtype == float
        assert (frame["delta_mean"] < 0).any()


class Elements(HTMLParser):
    """The names of all elements of a page, and the attributes that can run scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.running: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.names.append(tag)
        self.running += [name for name, _ in attributes if name.startswith("on")]
        links = [value for name, value in attributes if name in ("href", "src")]
        self.running += [value for value in links if not re.match("#|https://arxiv", value)]


def check_page(page: str) -> None:
    made = Elements(page)
    assert made.names.count("script") == 1
    assert not made.running
    assert not {"b", "iframe", "img"} & set(made.names)
    for drawn in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ElementTree.fromstring(drawn)
    odd = {each for each in page if not each.isprintable() and each not in "\n\t"}
    assert all(unicodedata.category(each) == "Zs" for each in odd), odd


@pytest.mark.parametrize("command", ["table", "claims"])
def test_html(folder, command, capsys):
    check_page(output_of(capsys, command, str(folder), "--format", "html"))


def test_report(folder, tmp_path, capsys):
    output_of(capsys, "report", str(folder), "-o", str(tmp_path / "r.html"))
    page = (tmp_path / "r.html").read_text()
    check_page(page)
    assert page.count('class="plot"') >= 3


def test_figures(folder):
    from ablations import figures, tables

    (study,) = tables.load_studies(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a glyph that is missing, a layout that collapses
        assert figures.forest_plot(study)._repr_png_()[0]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("command", [["table"], ["table", "--wide"], ["claims"]])
def test_latex(folder, command, tmp_path, capsys):
    (tmp_path / "t.tex").write_text(output_of(capsys, *command, str(folder), "--format", "tex"))
    run = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")


def test_explain(folder, capsys):
    shown = output_of(
        capsys, "table", str(folder), "--explain", "Pooling -> [/x] [bold]b[/bold] [red"
    )
    assert "[/x] [bold]b" in shown


def test_compare(folder, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    for form in ("md", "csv", "html", "tex"):
        output_of(capsys, "table", str(folder), str(other), "--compare", "--format", form)
