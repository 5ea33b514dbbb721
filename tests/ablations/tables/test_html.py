"""Tables as HTML, read back by a parser: what is drawn equals the numbers, all is escaped."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ablations import page as pages
from ablations.analysis.scale import Scale
from ablations.store.records import read_records
from ablations.tables import interval_plots, render
from ablations.tables.ablation import PAGE
from ablations.tables.html_tables import PLOT, RUNS, VERDICT, Link, html_page, html_table
from ablations.tables.interval_plots import common_scale, interval_svg
from ablations.tables.table import Badge, Column, PlottedDifference, RowNotes, Table
from tests.factories.pages import HOSTILE, Cells
from tests.factories.records import BASE, IDENTITY, record


def table(cells: dict[str, list[str]], differences=(), badges=(), bold=None, **more) -> Table:
    """A table of these cells; the heading of a bold one by its row."""
    columns = [Column(name, name, words=name in ("Section", "Name")) for name in cells]
    lines = [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
    section = "Section" if "Section" in cells else None
    for name, values in (("_difference", differences), ("_badge", badges)):
        for line, value in zip(lines, values, strict=False):
            line[name] = value
    for row, heading in (bold or {}).items():
        lines[row]["_bold"] = {heading}
    return Table("A title", columns, lines, section, **more)


def test_the_cells_are_those_of_the_table_under_its_sections():
    text = html_table(
        table({"Section": ["A", "A", "B"], "Name": ["x", "y", "z"], "n": ["1", "2", "3"]})
    )
    assert Cells(text).rows == [["Name", "n"], ["A"], ["x", "1"], ["y", "2"], ["B"], ["z", "3"]]
    assert "A title" in text


def test_the_same_cells_as_in_markdown():
    found = [*BASE, *IDENTITY, record(preset="pppa")]
    text = render(found, "md", columns=PAGE)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    expected = [row[1:] for row in (rows[0], *rows[2:])]
    shown = [row for row in Cells(render(found, "html")).rows if len(row) > 1]
    place = rows[0].index("95% CI")  # the plot and the verdict are right of it
    assert shown[0][place : place + 2] == [PLOT, VERDICT]
    assert {row[place + 1] for row in shown[1:]} == {"", "undetermined"}
    shown = [row[:place] + row[place + 2 :] for row in shown]
    assert shown == [[cell.replace("->", "→") for cell in row] for row in expected]


@pytest.mark.parametrize("text", HOSTILE)
def test_every_string_is_escaped_once(text):
    made = table(
        {"Section": [text] * 2, "Name": [text, "b"], text: [text] * 2, VERDICT: [f"{text} ¹"] * 2},
        row_notes=RowNotes({text: 1}),
        footnotes=[text],
        badges=[Badge(text, marks=" ¹")] * 2,
        differences=[PlottedDifference(1.0)] * 2,
    )
    made.title = text
    whole = html_page([made])
    cells = Cells(html_table(made, links=[[[Link(text, text, text)]], []]))
    assert cells.rows[0] == ["Name", text, VERDICT, PLOT, RUNS]
    texts = [text, f"{text} ¹", ""]
    assert cells.rows[1:] == [[text], [text, *texts, text], ["b", *texts, ""]]
    for name in ("script", "b", "strong"):
        assert cells.count(name) == 0
    assert [name for name, _ in Cells(whole).elements].count("script") == 1
    assert not any("onload" in attributes for _, attributes in Cells(whole).elements)
    links = [attributes for name, attributes in cells.elements if name == "a"]
    assert links == [{"href": f"#{text}", "title": text}]


def test_bold_cells_are_bold():
    made = table({"Name": ["x", "y"], "n": ["1", "2"]}, bold={1: "n"})
    assert re.findall(r"font-weight: bold[^>]*>(?:<span[^>]*>)?(\d)", html_table(made)) == ["2"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("81.93 ± 0.20", "81.93"),
        ("+0.27ʷ", "+0.27"),
        ("[-0.35, +0.15]", "-0.35"),
        ("<0.001", "0"),
        ("82.15 81.75", "82.15"),
        ("missing (1 failed: oom)", None),
        ("no spread", None),
        ("–", None),
        ("", None),
    ],
)
def test_cells_have_the_number_to_sort_by(text, value):
    found = re.findall(r'data-sort="([^"]*)"', html_table(table({"Name": ["7"], "n": [text]})))
    assert found == ([] if value is None else [value])


PLOTTED = [
    PlottedDifference(),
    PlottedDifference(mean=-0.1, low=-0.35, high=0.15, paper=-2.9),
    PlottedDifference(mean=1.58, low=0.59, high=2.58, paper=3.8),
    PlottedDifference(mean=-0.35, low=-1.78, high=1.08, paper=-31.1),
    PlottedDifference(mean=-71.93, low=-72.44, high=-71.43, paper=-77.1),
    PlottedDifference(mean=0.5),
    PlottedDifference(paper=0.9),
]


def value_at(x: float, scale: Scale) -> float:
    share = (x - interval_plots.MARGIN) / (interval_plots.WIDTH - 2 * interval_plots.MARGIN)
    return scale.low + share * (scale.high - scale.low)


def shapes(drawn: PlottedDifference, scale: Scale) -> dict[str, dict[str, str]]:
    svg = ElementTree.fromstring(interval_svg(drawn, scale))
    return {element.get("class") or element.tag: dict(element.attrib) for element in svg}


@pytest.mark.parametrize("drawn", PLOTTED, ids=str)
def test_bars_are_where_the_numbers_are_on_one_scale(drawn):
    scale = common_scale(PLOTTED)
    assert (scale.low, scale.high, scale.step) == (-4, 4, 2)
    found = shapes(drawn, scale)
    near = pytest.approx(0, abs=0.03)  # points; a pixel is 0.04
    if drawn.mean is not None and abs(drawn.mean) <= 4:
        assert value_at(float(found["mean"]["cx"]), scale) - drawn.mean == near
    else:
        assert "mean" not in found
    if drawn.low is not None and drawn.high is not None and abs(drawn.low) <= 4:
        left = float(found["interval"]["x"])
        right = left + float(found["interval"]["width"])
        assert value_at(left, scale) - drawn.low == near
        assert value_at(right, scale) - drawn.high == near
    if drawn.paper is not None and abs(drawn.paper) <= 4:
        places = [float(corner.split(",")[0]) for corner in found["paper"]["points"].split()]
        assert value_at(sum(places) / 4, scale) - drawn.paper == near
    assert ("beyond ours" in found) == (drawn.mean == -71.93)
    assert ("beyond paper" in found) == (drawn.paper in (-31.1, -77.1))
    assert value_at(float(found["zero"]["d"][1:].split()[0]), scale) == near


def test_plots_have_a_description():
    assert (
        interval_plots.description(PLOTTED[1])
        == "-0.10 points, 95% interval -0.35 to +0.15; the paper: -2.9"
    )
    assert interval_plots.description(PLOTTED[6]) == "no difference of ours; the paper: +0.9"
    text = html_table(table({"Name": [*"abcdefg"], "n": ["1"] * 7}, differences=PLOTTED))
    assert text.count('<svg class="bar" role="img"') == 7
    assert text.count("<title>") == 8  # and the scale
    assert "An arrow points at a value beyond the scale" in text
    assert "An arrow" not in html_table(
        table({"Name": ["a"], "n": ["1"]}, differences=PLOTTED[1:2])
    )


def test_an_interval_that_leaves_the_scale_ends_in_an_arrow():
    scale = common_scale(
        [*PLOTTED[:3], *PLOTTED[:3], wide := PlottedDifference(mean=1, low=-30, high=32)]
    )
    found = shapes(wide, scale)
    assert float(found["interval"]["x"]) == interval_plots.MARGIN
    assert float(found["interval"]["width"]) == interval_plots.WIDTH - 2 * interval_plots.MARGIN
    assert interval_svg(wide, scale).count("beyond ours") == 2
    assert "mean" in found


@pytest.mark.parametrize(
    "rows", [[], [PlottedDifference()], [PlottedDifference(mean=0.0, low=0.0, high=0.0)]], ids=len
)
def test_missing_differences_can_be_drawn(rows):
    scale = common_scale(rows)
    assert scale.low <= 0 < scale.high
    assert all("svg" in interval_svg(row, scale) for row in rows)


def test_a_table_without_differences_has_no_plots():
    assert Cells(html_table(table({"Name": ["x"]}, differences=[PlottedDifference()]))).rows == [
        ["Name"],
        ["x"],
    ]


def test_a_verdict_is_a_badge_with_its_word():
    made = table(
        {"Name": ["x", "y", "z"], "n": ["1"] * 3}, badges=[Badge("agrees"), Badge("not run"), None]
    )
    text = html_table(made)
    assert '<span class="badge badge-agrees">agrees</span>' in text
    assert '<span class="badge badge-not-run">not run</span>' in text
    assert text.count("badge ") == 2
    assert Cells(text).rows[0] == ["Name", "n", VERDICT]


def test_a_verdict_in_words_becomes_the_badge_and_keeps_its_footnotes():
    made = table(
        {"Name": ["x"], VERDICT: ["agrees ¹"], "n": ["1"]}, badges=[Badge("agrees", marks=" ¹")]
    )
    assert Cells(html_table(made)).rows == [["Name", VERDICT, "n"], ["x", "agrees ¹", "1"]]
    assert '<span class="badge badge-agrees">agrees</span> ¹' in html_table(made)


def test_a_table_without_rows_is_a_table():
    assert Cells(html_table(table({"Section": [], "Name": [], "n": []}))).rows == [["Name", "n"]]


def test_a_page_loads_nothing():
    text = render([*BASE, *IDENTITY, record(5, recipe="fashion")], "html")
    elements = Cells(text).elements
    assert not [1 for _, attributes in elements if {"src", "srcset", "data"} & set(attributes)]
    assert not [1 for name, _ in elements if name in ("link", "iframe", "object", "img", "base")]
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert text.count("<figure") == 2


def test_a_page_is_complete_without_its_script():
    text = re.sub(r"<script>.*</script>", "", render([*BASE, *IDENTITY], "html"), flags=re.S)
    assert "Pooling → Identity mapping" in text
    assert "hidden" in re.findall(r'<div class="controls"([^>]*)>', text)[0]


def test_the_security_policy_allows_only_our_script():
    import base64
    import hashlib

    text = pages.html_document("t", pages.typeset("x"))
    (script,) = re.findall(r"<script>(.*)</script>", text, flags=re.S)
    seal = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{seal}'" in text


def test_other_formats_do_not_import_great_tables():
    code = "import sys, ablations.tables; sys.exit('great_tables' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_verdict_that_does_not_survive_holm_is_called_uncorrected():
    made = table(
        {"Name": ["x", "y"], VERDICT: ["agrees ¹", "agrees"]},
        badges=[Badge("agrees", True, " ¹"), Badge("agrees")],
    )
    text = html_table(made)
    assert [row[1] for row in Cells(text).rows] == [VERDICT, "agrees, uncorrected ¹", "agrees"]
    assert 'class="badge badge-agrees-uncorrected"' in text
    shown = render(read_records([Path("results/mini")])[0], "html")
    assert "uncorrected" not in Cells(shown).text  # simultaneous intervals need no correction


def test_code_in_notes_is_code():
    text = html_table(table({"Name": ["x"]}, footnotes=["see `ablations claims` <b>"]))
    assert "see <code>ablations claims</code> &lt;b&gt;" in text
