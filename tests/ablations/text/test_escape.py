"""Text from outside is inert in every medium, and stays readable."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import unicodedata
import warnings
from xml.etree import ElementTree

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from ablations.tables.folding import fold_footnote
from ablations.text import escape
from tests.factories.hostile import HOSTILE

ANY = st.text(st.characters(exclude_categories=[]), max_size=40)  # lone surrogates too
ANY |= st.text("ab -#=>+19.)(*`|_~[]!<>/&;\\$:^\n\t\x1b", max_size=40)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("a\x1b]0;title\x07b", r"a\x1b]0;title\x07b"),
        ("two\nlines\t\r", r"two\nlines\t\r"),
        ("\u202egnp", r"\u202egnp"),
        ("a\x00b\x9bc\u2028d\ud800", r"a\x00b\x9bc\u2028d\ud800"),
        ("注意 é Ω عرب 🙂", "注意 é Ω عرب 🙂"),
        (3.5, "3.5"),
    ],
)
def test_a_terminal_gets_no_control_characters(text, shown):
    assert escape.terminal(text) == shown


def test_line_breaks_can_be_kept():
    assert escape.terminal("a\r\nb\tc\rd\x1b[2J", lines=True) == "a\nb\tc\\rd"


@given(ANY)
def test_text_for_a_terminal_is_printable_and_encodable(text):
    shown = escape.terminal(text)
    assert all(each.isprintable() or unicodedata.category(each) == "Zs" for each in shown)
    assert shown.encode() and escape.terminal(shown) == shown if shown else not shown


@pytest.mark.parametrize("text", HOSTILE)
def test_rich_prints_text_unchanged(text):
    console = Console(file=io.StringIO(), width=10_000, force_terminal=False)
    console.print(escape.rich_text(text))
    assert console.file.getvalue() == escape.terminal(text) + "\n"


def _read(source: str) -> list[tuple[str, str]]:
    """The kind and content of each inline token."""
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    return [
        (piece.type, piece.content)
        for block in reader.parse(source)
        for piece in block.children or []
    ]


@given(ANY)
def test_a_markdown_cell_contains_only_text_and_code(text):
    rows = _read(f"| a | b |\n|---|---|\n| {escape.markdown(text)} | end |\n")
    assert rows[:2] == [("text", "a"), ("text", "b")]
    assert rows[-1] == ("text", "end")
    assert {kind for kind, _ in rows} <= {"text", "code_inline", "text_special"}
    expected = re.sub("`([^`]+)`", lambda m: m[1].strip() or m[1], escape.terminal(text))
    read = "".join(content for _, content in rows[2:-1])
    assert "".join(read.split()) == "".join(expected.split())


@given(ANY)
def test_a_markdown_line_is_one_list_item(text):
    reader = MarkdownIt("commonmark").enable("table")
    kinds = [block.type for block in reader.parse(f"- {escape.markdown(text, cell=False)}\n")]
    inside = (
        ["paragraph_open", "inline", "paragraph_close"] if escape.terminal(text).strip() else []
    )
    assert kinds == [
        "bullet_list_open",
        "list_item_open",
        *inside,
        "list_item_close",
        "bullet_list_close",
    ]


@given(ANY, st.integers(3, 40))
@example("$", 3)
@example(" 0", 3)
def test_a_folded_markdown_line_is_one_list_item(text, width):
    source = fold_footnote(f"Row {text}", width)
    blocks = MarkdownIt("commonmark").enable("table").parse(source)
    assert [block.type for block in blocks][2:-2] == ["paragraph_open", "inline", "paragraph_close"]


def test_code_in_markdown_is_unchanged():
    assert escape.markdown("`a_b *c* | d` <b> x_y _z_") == r"`a_b *c* \| d` \<b> x_y \_z\_"
    assert escape.markdown("<0.001 [Pool,Pool] ¹ -0.10 ± 3") == "<0.001 [Pool,Pool] ¹ -0.10 ± 3"


def test_latex_has_real_minus_signs_and_straight_commands():
    shown = escape.latex("[-0.35, +0.15] -.5 a-1 2026-11-25 x -> y `run --a 'b'` c--d")
    assert shown == (
        r"{[}$-$0.35, +0.15] $-$.5 a-1 2026-11-25 x $\rightarrow$ y "
        r"\texttt{run {-}{-}a \textquotesingle{}b\textquotesingle{}} c-{}-d"
    )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles_without_packages(tmp_path):
    letters = "".join(map(chr, [*range(0x20, 0x7F), *range(0xA0, 0x400), 0x1F642, 0x4E00, 0xFE0F]))
    lines = [*HOSTILE, *(f"X{each}`" for each in letters), *letters]
    body = "\\\\\n".join(map(escape.latex, [line[:300] for line in lines]))
    source = f"\\documentclass{{article}}\\begin{{document}}\n{body}\n\\end{{document}}\n"
    (tmp_path / "t.tex").write_text(source)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")


@given(ANY)
def test_html_and_xml_parse_back_to_the_text(text):
    shown = escape.terminal(text, lines=True).replace("\t", " ")
    made = ElementTree.fromstring(f'<p title="{escape.html(text)}">{escape.html(text)}</p>')
    assert (made.text or "").replace("\t", " ") == shown
    element = ElementTree.Element("text")
    element.text = escape.svg(text)
    assert ElementTree.fromstring(ElementTree.tostring(element)).text == (element.text or None)
    assert escape.html(escape.html(text)) == escape.html(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_plot_has_a_glyph_for_each_character(text):
    from matplotlib.figure import Figure

    from ablations.figures.drawing import to_png

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = Figure(figsize=(2, 1))
        figure.text(0, 0.5, escape.plot(text)[:200], parse_math=False)
        assert to_png(figure, dpi=20)
    assert escape.plot("注 Δ → ± −") == "U+6CE8 Δ → ± −"


@pytest.mark.parametrize("text", ["=cmd()", "+x", "-x", "@x", " =1+1", "＝1", "-1+2", "=1", "--1"])
def test_a_formula_is_text_to_a_spreadsheet(text):
    assert escape.csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-0.10", "+0.5", "-1e-3", ".5", "-inf", "nan", "a=b", "", "–"])
def test_numbers_and_plain_text_are_no_formulas(text):
    assert escape.csv_cell(text) == text


def test_csv_reads_back_with_its_numbers():
    frame = pd.DataFrame(
        {
            "=a": ["=x", "\ty", None],
            "b": [-0.1, 1 / 3, None],
            "c": [1, -2, 3],
            "d": ["-0.10", 2, None],
        }
    )
    read = pd.read_csv(io.StringIO(escape.csv(frame)))
    assert list(read.columns) == ["'=a", "b", "c", "d"]
    assert list(read["'=a"][:2]) == ["'=x", r"\ty"]
    for name in "bc":
        assert read[name].equals(frame[name])
    assert list(read["d"][:2]) == [-0.1, 2.0]


def test_long_text_is_cut_in_the_middle():
    assert escape.shorten("a" * 50 + "b" * 50, 11) == "aaaaa…bbbbb"
    assert escape.shorten("abc", 3) == "abc"
