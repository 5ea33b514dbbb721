"""`ablations table --of`: with records and without, wrong words, and LaTeX that compiles."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from ablations.cli.main import main
from ablations.tables import FORMATS, render
from ablations.tables.rendering import KINDS
from tests.factories.reference import SIZED, big, measured


@pytest.mark.parametrize("of", KINDS[1:])
@pytest.mark.parametrize("form", [form for form in FORMATS if form != "html"])
def test_the_published_tables_need_no_records(of, form, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["table", "--of", of, "--format", form]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "PoolFormer-S12" in out or "S12" in out
    assert {"md": "### ", "csv": "source,", "tex": r"\toprule"}[form] in out
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_given_must_exist(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["table", "none", "--of", "ade20k"]) == 2
    assert "no folder none" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["table", "empty", "--of", "ade20k"]) == 1
    out, err = capsys.readouterr()
    assert "PoolFormer-M48" in out
    assert err == "left out: empty has no records\n"


def test_the_default_folder_is_read_where_it_has_records(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "begun").mkdir(parents=True)
    assert main(["table", "--of", "sizes"]) == 0
    assert "Model sizes (the paper's" in capsys.readouterr().out
    for run in (*SIZED, measured({"val/AP": 30.0})):
        run.write(tmp_path / "runs")
    assert main(["table", "--of", "sizes"]) == 0
    out, err = capsys.readouterr()
    assert "Model sizes: recipe mini" in out
    assert err == "skipped: runs for --of retinanet: 1\n"
    assert main(["table"]) == 0
    out, err = capsys.readouterr()
    assert out.count("### ") == 1
    assert err == "skipped: runs for --of retinanet: 1\n"
    (tmp_path / "runs" / "begun" / "record.json").write_text("{")
    assert main(["table", "--of", "retinanet"]) == 1
    out, err = capsys.readouterr()
    assert "n = 1" in out
    assert err.startswith("left out: runs/begun/record.json is not a record")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--of", "imagent"], "unknown table 'imagent': did you mean 'imagenet'? valid are abl"),
        (["--of", "ade20k", "--style", "paper"], "--style is not for --of ade20k"),
        (["--of", "ade20k", "--baseline", "a"], "--baseline is not for --of ade20k"),
        (["--of", "sizes", "--publish"], "--publish is not for --of sizes"),
        (["--of", "sizes", "--baseline", "abc"], "--baseline abc is not the id of a run here"),
    ],
)
def test_wrong_arguments_are_an_error_of_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["table", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_help_names_the_tables(capsys):
    with pytest.raises(SystemExit):
        main(["table", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert f"{', '.join(KINDS[1:-1])} or {KINDS[-1]}" in out


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("of", KINDS[1:])
def test_latex_compiles(of, tmp_path):
    found = [big(), big(0, 70.0, preset="ppaa"), *SIZED, measured({"val/AP": 30.0})]
    (tmp_path / "t.tex").write_text(render(found, "tex", of=of))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
