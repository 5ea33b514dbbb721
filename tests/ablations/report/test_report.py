"""The report: what it says is what the records say, all of it escaped, nothing from a network."""

from __future__ import annotations

import contextlib
import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from ablations.analysis.build import build_studies
from ablations.cli.main import main
from ablations.report import build_report, runs
from ablations.report.curves import curve_svg
from ablations.report.plots import inline_svg
from ablations.report.summary import seed_ranges, summary_sentences
from ablations.store import load, records
from ablations.store.load import LoadResult, select_usable_records
from tests.factories.pages import HOSTILE, Cells
from tests.factories.records import BASE, IDENTITY, record


@pytest.fixture
def bare(monkeypatch):
    """Without figures, which take seconds."""
    monkeypatch.setattr("ablations.report.plots", lambda *_: [])


def placed(*found) -> LoadResult:
    return select_usable_records([(each, f"runs/{each.run_id}/record.json") for each in found])


def words(page: str) -> str:
    """The page's text, without its markup, in one line."""
    body = re.sub(r"<(style|script|svg)\b.*?</\1>", " ", page, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def summary(*found) -> str:
    (study,) = build_studies(found)
    return " ".join(summary_sentences(study))


def test_the_summary_counts_runs_variants_and_seeds():
    text = summary(*BASE, *IDENTITY)
    assert "6 runs of 2 variants with seeds 0 to 2: 6 finished." in text
    assert "The baseline reaches 81.33 ± 1.53% top-1 (n = 3, the last epoch's)." in text
    # -2, -1, -3: t = -2 sqrt(3), p = 0.074
    assert "The variant tested does not differ from the baseline" in text
    assert "no proof of equality" in text
    assert "p is after Holm's correction)" in text
    # 80% power with three pairs: 3.26 deviations of the differences (statsmodels' TTestPower).
    assert "a true difference of 3.26 points in the median variant" in text


def test_the_summary_names_what_differs_beyond_chance():
    sure = [record(s, 70.0 + s / 10, model__norm="layer") for s in range(3)]
    text = summary(*(record(s, 80.0 + s / 20) for s in range(3)), *sure, *IDENTITY)
    assert "1 of 2 variants differs from the baseline" in text
    assert ": Modified LayerNorm -> LayerNorm (-9.95 points)." in text
    assert "The other one does not with these seeds" in text


def test_the_summary_has_failed_and_missing_runs():
    text = summary(
        *BASE,
        *IDENTITY[:2],
        record(0, 12.0, model__norm="none", status="diverged"),
        record(0, None, model__norm="layer", status="failed"),
    )
    assert "7 runs" in text
    assert "5 finished, 1 diverged, 1 failed" in text
    assert "Diverged: Modified LayerNorm -> None (1)." in text
    assert "Failed: Modified LayerNorm -> LayerNorm (1 oom)." in text
    assert "Pooling -> Identity mapping (seed 2)" in text


def test_without_a_baseline_nothing_is_said_to_differ():
    text = summary(*IDENTITY)
    assert "no baseline among these runs" in text
    assert "differ" not in text


def test_one_seed_is_no_test():
    assert "No variant could be tested against the baseline" in summary(BASE[0], IDENTITY[0])


@pytest.mark.parametrize(
    ("seeds", "text"),
    [([0, 1, 2], "0 to 2"), ([5], "5"), ([0, 1, 4], "0, 1, 4"), ([9, 1, 2, 3], "1 to 3, 9")],
)
def test_consecutive_seeds_are_a_range(seeds, text):
    assert seed_ranges(seeds) == text


def test_a_report_has_all_parts_and_links_rows_to_runs(bare):
    made = build_report(placed(*BASE, *IDENTITY))
    assert made.problems == []
    text = words(made.page)
    for part in ("Ablation:", "What is missing", "How it was run", "Runs", "How to cite"):
        assert part in text
    assert "ablations run sweeps/token_mixer.yaml --recipe mini --seeds 0,1,2" in text
    assert "yu2022metaformer" in text
    assert "author = {{The metaformer-ablations developers}}" in text
    elements = Cells(made.page).elements
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    within = {str(a["href"])[1:] for name, a in elements if name == "a" and a["href"][0] == "#"}
    assert within <= set(ids)
    for each in (*BASE, *IDENTITY):
        assert f"run-{each.run_id}" in within
        assert f"runs/{each.run_id}/record.json" in text


def test_a_run_shows_its_record(bare):
    failed = record(7, None, model__norm="layer", status="failed")
    text = words(build_report(placed(*BASE, failed)).page)
    for line in (
        "model.norm = &quot;layer&quot;",
        "optim.lr = 0.008",
        "precision = &quot;32-true&quot;",
        "commit = &quot;aaaa",
        "oom: no memory",
        "no result, failed",
        "val/top1 83 84",
    ):
        assert line.replace("&quot;", "&#34;") in text, line
    page = build_report(placed(*BASE, failed)).page
    assert "<mark>model.norm = &#34;layer&#34;</mark>" in page
    assert page.count("<mark>") == 1


def test_the_same_records_give_the_same_page(bare):
    found = placed(*BASE, *IDENTITY)
    assert build_report(found).page == build_report(found).page


def test_claims_are_shown_if_there_are_any(bare):
    page = build_report(placed(*BASE, *IDENTITY)).page
    assert "Claims: recipe mini" in page
    assert "claims on ablations: undetermined 1, not run 17." in page
    assert "Claims:" not in build_report(placed(*BASE)).page


def test_the_runs_of_a_claims_two_rows_are_separate(bare):
    rows = Cells(build_report(placed(*BASE, *IDENTITY)).page).rows
    shown = {row[0]: row[7] for row in rows if len(row) == 13}
    assert shown["identity token mixer below pooling baseline"] == "0 1 2 against 0 1 2"
    assert shown["global random matrix above identity"] == "– against 0 1 2"
    assert shown["SiLU within 0.5 of GELU"] == "– against 0 1 2"
    assert shown["hybrid [P,P,P,A] above pooling baseline"] == "– against 0 1 2"


def test_missing_runs_are_listed_once_with_their_command(bare):
    page = build_report(placed(*BASE, *IDENTITY[:2])).page
    line = "Missing Pooling → Identity mapping, seed 2:"
    assert words(page).count(line) == 1
    assert "--model.token_mixers identity --seed 2" in words(page)


def known(page: Cells) -> list[tuple[str, set[str]]]:
    return [(name, set(attributes)) for name, attributes in page.elements if name != "code"]


@pytest.mark.parametrize("text", HOSTILE)
def test_strings_of_records_are_no_markup(bare, text):
    hostile, plain = (record(3, None, model__norm="layer", status="failed") for _ in range(2))
    hostile.failure.update(kind=text, message=text)
    for run, odd in ((hostile, text), (plain, "x")):
        for group in (run.environment, run.tracker):
            group.update({odd: odd, "device": odd, "versions": {odd: odd}})
        run.timing.update({odd: 1.0})
    found = placed(*BASE, hostile)
    found.origins[hostile.run_id] = f"{text}/record.json"
    found.problems.append(f"{text}: not a record")
    page = Cells(build_report(found).page)
    usual = placed(*BASE, plain)
    usual.problems.append("x: not a record")
    # Element by element but for code, which backticks in a sentence make.
    for one, other in zip(*map(known, (page, Cells(build_report(usual).page))), strict=True):
        assert one == other
    for line in (f"{text}: {text}", f"{text}/record.json", f"{text}: not a record"):
        assert line in page.text


def test_nothing_is_loaded_from_a_network(bare):
    elements = Cells(build_report(placed(*BASE, *IDENTITY)).page).elements
    for name, attributes in elements:
        for key, value in attributes.items():
            if value and "://" in value:
                assert (name, key) == ("a", "href"), (name, key, value)
        assert not {"src", "srcset", "data", "action", "poster"} & set(attributes)
        assert name not in ("link", "iframe", "object", "embed", "img", "base", "form")


def test_studies_do_not_share_ids(bare):
    page = build_report(placed(*BASE, *IDENTITY, record(1, recipe="fashion"))).page
    assert "7 runs in 2 studies" in page
    ids = [attributes["id"] for _, attributes in Cells(page).elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_very_many_runs_are_shortened_and_the_page_says_so(bare, monkeypatch):
    found = placed(*BASE, *IDENTITY)
    long = build_report(found).page
    monkeypatch.setattr(runs, "MAX_FULL_RUNS", 5)
    short = build_report(found).page
    assert "too many runs to show everything" in short
    assert "too many runs" not in long
    assert "optim.lr = " in long
    assert "optim.lr = " not in short
    assert "token_mixers=identity" in short


def test_histories_are_drawn_and_broken_ones_reported(bare, tmp_path):
    for each in BASE:
        folder = each.write(tmp_path).parent
        (folder / records.HISTORY_FILE).write_text("epoch,val/top1,train/loss\n1,70,2\n2,80,nan\n")
    broken = tmp_path / BASE[0].run_id / records.HISTORY_FILE
    broken.write_text("epoch,val/top1\n1,many\n")
    made = build_report(load.load_records([tmp_path]))
    assert made.page.count('<svg class="curve"') == 2  # val/top1 of two runs; one loss is no curve
    assert "val/top1, epoch 1 to 2: from 70 to 80" in made.page
    assert made.problems == [f"{broken} is not a history: 'many' is not a number"]
    assert "Not on this page, because it could not be read" in made.page


def test_a_curve_is_where_its_numbers_are_and_has_gaps():
    history = [
        {"epoch": 1, "m": 10.0},
        {"epoch": 2, "m": 20.0},
        {"epoch": 3, "m": float("nan")},
        {"epoch": 5, "m": 30.0},
    ]
    plot = curve_svg(history, "m")
    (path,) = re.findall(r'class="line" d="([^"]*)"', plot)
    # 44 to 252 pixels for epochs 1 to 5, 78 to 10 for 10 to 30.
    assert path == "M44.0 78.0L96.0 44.0M252.0 10.0"
    assert curve_svg(history, "other") == ""
    assert curve_svg(history[:1], "m") == ""


def test_a_long_history_is_thinned_and_keeps_its_ends():
    plot = curve_svg([{"epoch": e, "m": float(e)} for e in range(1, 1001)], "m")
    (path,) = re.findall(r'class="line" d="([^"]*)"', plot)
    assert 60 < path.count("L") < 125
    assert path.endswith("252.0 10.0")


def test_figures_get_ids_of_their_own_and_lose_addresses():
    drawn = (
        '<?xml version="1.0"?><svg xmlns:xlink="http://www.w3.org/1999/xlink" '
        'xmlns="http://www.w3.org/2000/svg"><metadata>http://x</metadata><defs><path id="a" '
        'd="M0.123456 1"/></defs><style>*{x}</style><g id="b" clip-path="url(#c)">'
        '<use xlink:href="#a"/><text>&lt;b&gt;</text></g><clipPath id="c"/></svg>'
    )
    made = inline_svg(drawn, "f1", "one & two")
    assert 'id="f1-a"' in made
    assert 'href="#f1-a"' in made
    assert 'clip-path="url(#f1-c)"' in made
    assert 'id="f1-b"' not in made  # nothing refers to it
    assert "http" not in made
    assert "style" not in made
    assert 'd="M0.12 1"' in made
    assert 'aria-label="one &amp; two"' in made
    assert "&lt;b&gt;" in made


def test_the_command_writes_the_page_and_says_what_is_left_out(bare, tmp_path, capsys):
    for each in (*BASE, *IDENTITY):
        each.write(tmp_path / "runs")
    page = tmp_path / "page.html"
    assert main(["report", str(tmp_path / "runs"), "-o", str(page)]) == 0
    assert capsys.readouterr().out.startswith(f"{page}: 0.")
    (tmp_path / "runs" / "odd").mkdir()
    (tmp_path / "runs" / "odd" / "record.json").write_text("{")
    assert main(["report", str(tmp_path / "runs"), "-o", str(page)]) == 1
    assert "left out: " in capsys.readouterr().err
    assert "odd/record.json is not a record" in page.read_text()


@pytest.mark.parametrize("command", ["report", "table"])
def test_a_pipe_or_device_is_written_to_and_never_replaced(bare, tmp_path, command):
    """As root, `-o /dev/null` would else leave a file in the place of the device."""
    BASE[0].write(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDWR)  # its own reader, so that writing does not wait
    os.set_blocking(descriptor, False)
    with ThreadPoolExecutor() as pool:
        written = pool.submit(main, [command, str(tmp_path), "-o", str(pipe)])
        text = b""
        done = False
        while not done:
            done = written.done()  # asked first: what came before it is read after it
            with contextlib.suppress(BlockingIOError):
                text += os.read(descriptor, 1 << 20)
    os.close(descriptor)
    assert written.result() == 0
    assert pipe.is_fifo()
    assert b"Ablation" in text


def test_runs_of_wandb_have_an_address_and_no_curve(bare):
    found = select_usable_records([(each, f"lab/ablations/{each.run_id}") for each in BASE])
    text = words(build_report(found).page)
    assert "Records lab/ablations " in text
    assert f"Record: lab/ablations/{BASE[0].run_id}" in text


def test_wrong_input_is_one_line(bare, tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "no records in" in capsys.readouterr().err
    BASE[0].write(tmp_path)
    assert main(["report", str(tmp_path), "--baseline", "0" * 12]) == 2
    capsys.readouterr()
    assert main(["report", str(tmp_path), "-o", str(tmp_path / "none" / "x.html")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_the_committed_records_make_a_page_of_modest_size(mini_report):
    page = mini_report.read_text()
    assert len(page) < 3e6
    assert "54 runs in 1 study" in page
    assert page.count("<details") == 54
    assert page.count('<svg class="curve"') == 108
    assert page.count('class="plot"') >= 7
    ids = [attributes["id"] for _, attributes in Cells(page).elements if "id" in attributes]
    assert len(ids) == len(set(ids))
