"""The default table fits 100 columns of a screen, whatever its labels."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from ablations.cli.main import main
from ablations.errors import ConfigError
from ablations.tables import render
from ablations.tables.ablation import COLUMNS, EVERY, WIDTH, parse_columns
from ablations.tables.folding import align_table, fold_footnote, fold_table
from ablations.tables.formats import render_markdown
from ablations.tables.table import Table, word_columns
from tests.factories.records import BASE, IDENTITY, record

LABELS = st.text(st.sampled_from("ab ,[]->(|注é¹"), min_size=1, max_size=60)


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


@given(st.lists(st.tuples(st.sampled_from("AB"), LABELS), min_size=1, max_size=6), st.booleans())
def test_long_names_are_folded_and_lose_nothing(rows, failed):
    frame = pd.DataFrame(rows, columns=["Section", "Name"]).sort_values("Section")
    frame["Top-1 (%)"] = "13.00 ± 1.41 (1 diverged, 1 failed: oom)" if failed else "13.00 ± 1.41"
    numbers = {"n": "12", "Δ ± 95% CI": "-71.93 ± 10.50", "p": "<0.001", "Params": "0.123M"}
    for name, text in {**numbers, "MACs": "1.82G", "Paper Δ": "-77.1"}.items():
        frame[name] = text
    found = fold_table(frame, ["Section", "Name"], "Section", WIDTH)
    assert {cell_len(line) <= WIDTH for line in align_table(found, ["Name"]).splitlines()} == {True}
    kept = "".join(name for name in found["Name"] if name not in ("**A**", "**B**")).replace(
        " ", ""
    )
    assert kept == "".join(frame["Name"]).replace(" ", "")


def test_the_default_table_fits_a_screen_and_names_what_it_shows():
    mixers = ["attention", "pool", "depthwise", "spatial_fc"]
    found = [*BASE, *IDENTITY, record(preset="ppaa"), record(model__token_mixers=mixers)]
    found += [record(model__norm="batch", model__mlp_ratio=2.0, optim__lr=0.0123456)]
    found += [record(0, None, model__norm="none", status="failed")]
    text = render(found, "md")
    assert max(len(line) for line in lines(text)) <= WIDTH
    assert [cell.strip() for cell in lines(text)[0].split("|")[1:-1]] == [
        "Variant", "Top-1 (%)", "n", "Δ ± 95% CI", "p", "Params", "MACs", "Paper Δ",
    ]  # fmt: skip
    notes = [line for line in text.splitlines() if line.startswith("- ")]
    assert any(note.startswith("- Paper: arXiv") and "ImageNet-1K" in note for note in notes)
    assert not any(word in text for word in ("MDE", "\n- r:", "Bootstrap", "AWES"))
    assert all(len(note) <= WIDTH for note in notes if "`" not in note)


def test_the_papers_style_and_notes_fit_a_screen_too():
    long = {"model__norm": "batch", "model__mlp_ratio": 2.0, "optim__lr": 0.0123456}
    found = [*BASE, record(data__batch_size=64, optim__weight_decay=0.123456, **long)]
    assert "| Ablation" in render(BASE, "md", style="paper")
    text = render(found, "md", style="paper")
    assert "weight decay 0.123456" in " ".join(text.split())
    assert all(cell_len(line) <= WIDTH for line in text.splitlines() if line.startswith("|"))
    for note in ("注意 " * 80, "é" * 250, "two " * 70, f"{'a' * 150} b c"):
        folded = fold_footnote(note, WIDTH)
        assert all(cell_len(line) <= WIDTH for line in folded.splitlines())
        assert "".join(folded.split()) == "-" + "".join(note.split())


def test_what_is_bold_is_bold_in_every_line():
    frame = pd.DataFrame({"S": ["A + B " * 20], "Name": ["x"], "n": ["**1**"]})
    found = fold_table(frame, ["S", "Name"], "S", 40)
    assert len(found) > 3
    assert all(name.count("**") == 2 for name in found["Name"][:-1])


def test_empty_columns_are_left_out():
    text = render([BASE[0], record(0, 70.0, model__mlp_ratio=2.0)], "md")
    shown = [cell.strip() for cell in lines(text)[0].split("|")[1:-1]]
    assert shown == ["Variant", "Top-1 (%)", "n", "Δ", "Params", "MACs"]
    assert "interval" not in text.replace("neither interval nor p-value", "")
    assert "Paper" not in text


def test_columns_can_be_chosen(tmp_path, capsys):
    for run in (*BASE, *IDENTITY):
        run.write(tmp_path)
    command = ["table", str(tmp_path), "--columns"]
    assert main([*command, "all"]) == 0
    shown = [cell.strip() for cell in lines(capsys.readouterr().out)[0].split("|")[1:-1]]
    assert {"Seeds", "MDE", "r", "Paper top-1", "95% CI"} <= set(shown)
    assert main([*command, "top1,n,MDE,paper_top1"]) == 0
    out = capsys.readouterr().out
    shown = [cell.strip() for cell in lines(out)[0].split("|")[1:-1]]
    assert shown == ["Ablation", "Variant", "Top-1 (%)", "n", "MDE", "Paper top-1"]
    assert "MDE: smallest" in out
    assert "Params" not in out
    wrong = [["tpo1"], ["mde", "--format", "csv"], ["all", "--style", "paper"], ["bootstrap"]]
    for words in (*wrong, ["all,n"]):
        assert main([*command, *words]) == 2
    err = capsys.readouterr().err
    assert "did you mean 'top1'" in err
    assert "--columns bootstrap needs --bootstrap SEED" in err
    assert "leave the others out" in err


def test_every_column_has_a_name_that_can_be_typed():
    for column in COLUMNS:
        heading = [column.heading]
        assert parse_columns(column.name) == parse_columns(column.heading.lower()) == heading
        assert column.name.isascii()
    assert parse_columns("all") == EVERY
    with pytest.raises(ConfigError, match="unknown column 'x'"):
        parse_columns("n,x")


def test_a_table_without_a_width_is_not_folded():
    columns, lines = word_columns(name="Name"), [{"name": "x" * 150}]
    text = render_markdown(Table("T", columns, lines, footnotes=["y " * 80]))
    assert "x" * 150 in text
    assert text.endswith(f"- {' '.join(['y'] * 80)}\n")


def test_a_footnote_with_a_command_stays_on_one_line_to_be_copied():
    note = f"Missing: `ablations run {'sweeps/norm.yaml ' * 9}`"
    assert fold_footnote(note, WIDTH) == f"- {note}"
    assert len(fold_footnote(note.replace("`", ""), WIDTH).splitlines()) > 1
