"""The paper's files: what they say, and that nonsense in them is left out and told in one line."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ablations.cli.main import main
from ablations.config import diff
from ablations.paper import csv_schema, matching, published
from ablations.paper.csv_schema import Words
from ablations.tables import KINDS, render
from poolformer import SIZES
from tests.factories.paper import PaperCopy
from tests.factories.records import BASE, IDENTITY

# The files as they were given: a change of one is a change of the facts.
SHIPPED = {
    "SOURCES.md": "71874f72bc834fa50d7f2f8437238900081a5d52138268ffa316854339c8b43a",
    "ablation.csv": "cd9b7940bffe54751c3353a43c26aa169409dc33ec6d2cdadcd135a458541cf9",
    "ade20k.csv": "0b7761999e3718b0610924df9d38c133ba5a271e75e9ee5e6757f53fc67702c3",
    "claims.csv": "6d04738efa218540106205e8872bca719d2f86839bbb3a2eb72ac8bdbbcb5986",
    "coco_maskrcnn.csv": "71cf97563937f08cd88ac539da8856223c0b08fa8ab5eb7f3f1673ffe218d53b",
    "coco_retinanet.csv": "14fef097cae181edf60ded35c81740be100236af93556351fc8dfd9cdbfdb756",
    "hyperparams.csv": "8b87dc4c608aaf7a6352bc114b31d2f201979eab056b49113a036145f67c7351",
    "imagenet.csv": "8e7d888947e47cbc3fc482542d5d41d6372d22aacdd965c709dfafdff67eb72b",
    "longer_training.csv": "a126ced6abdcdd345d3d9a0a77b821d2e38a1063539ebe850b9fc0f643340636",
    "speed.csv": "4072cffdc35a37b8addfff421065d4dafabf012083beac3a72c6ca62052a95f5",
    "table1_config.csv": "311b6fcfea50cb2e234fd84e86945e654f9962db63ddb83b89e23e5120950e29",
}


def test_the_files_are_the_ones_that_were_given():
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in published.PAPER_DIR.iterdir()
        if path.suffix in (".csv", ".md")
    }
    assert found == SHIPPED


def test_nothing_of_the_shipped_files_is_left_out():
    assert published.problems() == []
    assert matching.problems() == []


@pytest.mark.parametrize("name", published.SHEETS)
def test_every_line_of_a_file_is_read(name):
    lines = [line for line in (published.PAPER_DIR / name).read_text().splitlines() if line]
    read, problems = csv_schema.read(published.PAPER_DIR / name, published.SHEETS[name])
    assert (len(read), problems) == (len(lines) - 1, [])
    assert published.SHEETS[name].lines == len(read)


def test_rows_as_the_paper_prints_them():
    """A row a file, held against SOURCES.md's source by hand."""
    row = published.ablation_rows()["Pooling -> Global random matrix"]
    assert (row.axis, row.params_m, row.macs_g, row.top1) == ("Token mixers", 11.9, 3.3, 75.8)
    assert (row.delta, row.frozen_params_m, row.position) == (-1.4, 21, 2)
    assert row.place.endswith("ablation.csv, line 4")
    size = published.model_rows()["m36"]
    assert (size.variant, size.params_m, size.macs_g, size.macs_v2_g) == (
        "PoolFormer-M36",
        56.1,
        8.8,
        9.1,
    )
    assert (size.top1, size.delta) == (82.1, 4.9)
    swin = published.imagenet_rows()[17]
    assert (swin.model, swin.mixer, swin.image_size, swin.top1) == (
        "Swin-Mixer-T/D24",
        "Spatial MLP",
        256,
        79.4,
    )
    assert published.retinanet_rows()[1].values == {
        "AP": 36.2, "AP50": 56.2, "AP75": 38.2, "APS": 20.8, "APM": 39.1, "APL": 48.0,
    }  # fmt: skip
    assert published.maskrcnn_rows()[-1].values == {
        "APb": 41.0, "APb50": 63.1, "APb75": 44.8, "APm": 37.7, "APm50": 60.1, "APm75": 40.0,
    }  # fmt: skip
    s12 = published.ade20k_rows()[2]
    assert (s12.backbone, s12.params_m, s12.setting) == ("PoolFormer-S12", 15.7, "Semantic FPN")
    assert list(s12.values.values()) == [37.2, 37.15, 37.07]
    assert published.ade20k_rows()[0].values["mIoU_official_ckpt_eval"] is None
    last = published.longer_rows()[-1]
    assert (last.model, last.epochs, last.top1) == ("PoolFormer-S12", 3000, 78.8)
    speeds = published.speed_rows()
    assert speeds[0].value is None
    assert speeds[0].claim == "about ResNet-34 speed, top-1 77.2"
    assert (speeds[4].value, speeds[4].unit, speeds[4].batch_size) == (9045.63, "img/s", 1024)


def test_the_sizes_are_the_models():
    assert list(published.model_rows()) == list(SIZES)
    assert diff.AXES["model.depths"] == published.SIZE_AXIS
    with (published.PAPER_DIR / "table1_config.csv").open() as file:
        assert file.readline().startswith("model,blocks_s1")
    for line, size in zip(
        csv_schema.read(
            published.PAPER_DIR / "table1_config.csv", published.SHEETS["table1_config.csv"]
        )[0],
        SIZES.values(),
        strict=True,
    ):
        assert [line.values[name] for name in published.SHAPE] == [*size.depths, *size.dims]
        assert line.values["layer_scale_init"] == size.layer_scale_init


def test_reading_them_needs_the_standard_library_only():
    code = (
        "import sys, ablations.paper.published as p; p.problems(); "
        "sys.exit(str({'torch', 'pandas', 'numpy', 'yaml', 'scipy'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize(
    ("name", "line", "column", "value", "told"),
    [
        ("ablation.csv", 4, "top1", "abc", "line 4: top1 'abc' must be a number from 0 to 100"),
        ("ablation.csv", 4, "top1", "", "line 4: top1 '' must be a number from 0 to 100"),
        ("ablation.csv", 4, "top1", "nan", "'nan' must be a number"),
        ("ablation.csv", 4, "top1", "inf", "'inf' must be a number"),
        ("ablation.csv", 4, "top1", "1_0", "'1_0' must be a number"),
        ("ablation.csv", 4, "top1", "７７", "must be a number"),
        ("ablation.csv", 4, "top1", "758", "'758' must be a number from 0 to 100"),
        ("ablation.csv", 4, "top1", "-1", "'-1' must be a number from 0 to 100"),
        ("ablation.csv", 4, "params_m", "0", "params_m '0' must be a number from 0.01"),
        (
            "ablation.csv",
            4,
            "params_m",
            "119",
            "line 4: params_m 119 must be within 0.05 of params_m_recomputed 11.915",
        ),
        ("ablation.csv", 4, "macs_g_prefvcore", "x", "from 0.01 to 10000 or nothing"),
        (
            "ablation.csv",
            3,
            "delta_vs_baseline",
            "2.9",
            "line 3: delta_vs_baseline '2.9' must be within 0.1 of -2.9: top1 is 74.3, the "
            "baseline of the other lines 77.2",
        ),
        ("ablation.csv", 3, "top1", "84.3", "line 3: delta_vs_baseline '-2.9' must be within"),
        ("ablation.csv", 2, "top1", "87.2", "line 2: delta_vs_baseline '0' must be within"),
        ("ablation.csv", 3, "variant", "Pooling -> Pooling", "must be one of PoolFormer-S12, Pool"),
        ("ablation.csv", 3, "variant", "", "line 3: variant '' must be words on one line"),
        ("ablation.csv", 3, "ablation", "Activation", "Identity mapping must be Token mixers"),
        (
            "ablation.csv",
            3,
            "variant",
            "Pooling -> Global random matrix",
            "line 4: variant 'Pooling -> Global random matrix' stands in line 3 already",
        ),
        ("table1_config.csv", 2, "model", "PoolFormer-S13", "must be one of PoolFormer-S12, Pool"),
        ("table1_config.csv", 3, "params_m_v3_table1", "24.1", "within 0.1 of params_m_recomputed"),
        ("table1_config.csv", 3, "blocks_s1", "2.5", "must be a whole number from 1"),
        ("table1_config.csv", 3, "drop_path", "1.5", "must be a number from 0 to 1"),
        ("imagenet.csv", 9, "general_arch", "Transformer", "one of Convolutional, MetaFormer"),
        ("imagenet.csv", 9, "image_size", "224.5", "whole number"),
        ("imagenet.csv", 9, "note", "a\nb", r"note 'a\nb' must be words on one line"),
        ("coco_retinanet.csv", 3, "APL", "?", "coco_retinanet.csv, line 3: APL '?'"),
        ("coco_maskrcnn.csv", 3, "APm75", "?", "coco_maskrcnn.csv, line 3: APm75 '?'"),
        ("ade20k.csv", 4, "mIoU_official_ckpt_eval", "?", "from 0 to 100 or nothing"),
        ("longer_training.csv", 4, "epochs", "many", "epochs 'many' must be a whole number"),
        ("longer_training.csv", 3, "epochs", "300", "'PoolFormer-S12', '300' stands in line 2"),
        ("speed.csv", 9, "value", "fast", "speed.csv, line 9: value 'fast'"),
        ("speed.csv", 9, "unit", "km/h", "one of img/s, fps"),
        ("speed.csv", 9, "value", "9" * 60, f"value '{'9' * 40}...' must be"),
        ("ade20k.csv", 1, "mIoU", "miou", "ade20k.csv lacks the column mIoU"),
        (
            "ade20k.csv",
            1,
            "head",
            "mIoU",
            "has the column mIoU more than once and lacks the column head",
        ),
        ("ade20k.csv", 1, "note", "notes", "ade20k.csv lacks the column note"),
    ],
)
def test_nonsense_in_a_cell_is_told_in_one_line(paper, name, line, column, value, told):
    paper.edit(name, line, column, value)
    (problem,) = set(matching.problems()) | set(published.problems())
    assert problem.startswith(str(paper.folder / name))
    assert told in problem
    assert problem.isprintable()


def test_several_odd_cells_of_a_line_are_one_line(paper):
    paper.edit("ade20k.csv", 4, "mIoU", "x")
    paper.edit("ade20k.csv", 4, "params_m", "y")
    (problem,) = published.problems()
    assert problem.endswith(
        "line 4: params_m 'y' must be a number from 0.01 to 10000; "
        "mIoU 'x' must be a number from 0 to 100"
    )
    assert len(published.ade20k_rows()) == 13


def test_blanks_around_a_value_and_a_byte_order_mark_are_no_nonsense(paper):
    paper.edit("ade20k.csv", 4, "mIoU", " 37.2 ")
    text = (paper.folder / "ade20k.csv").read_text()
    paper.write("ade20k.csv", f"\ufeff{text}\n\n,,,,,,,,,\n".replace("\n", "\r\n"))
    assert published.problems() == []
    assert published.ade20k_rows()[2].values["mIoU"] == 37.2


def test_a_line_more_is_a_row_more(paper):
    text = (paper.folder / "imagenet.csv").read_text()
    paper.write("imagenet.csv", text + "MetaFormer,Pooling,Mine,224,12,1.8,,78.5,me,v3,,\n")
    assert published.problems() == []
    assert published.imagenet_rows()[-1].model == "Mine"
    assert "| Mine " in render([], "md", of="imagenet")


@pytest.mark.parametrize(
    ("change", "told", "left"),
    [
        (lambda text: "", "lacks the columns backbone, params_m", 0),
        (lambda text: text.splitlines()[0], "has 0 lines and must have 14 or more", 0),
        (lambda text: text[: len(text) // 2].rsplit("\n", 1)[0], "lines and must have 14", 6),
        (lambda text: text.replace(",", ";"), "lacks the columns", 0),
        (lambda text: text.replace("32.9", "32,9"), "line 2: 11 cells where the header has 10", 13),
        (lambda text: text.replace("28.5", '"28.5'), "line 5 to ", 3),
        (lambda text: text.encode("utf-16"), "byte 0 is not UTF-8", 0),
        (lambda text: text.replace("PVT-Tiny", "\0"), "must be words on one line", 13),
    ],
)
def test_a_broken_file_is_told_and_what_is_good_of_it_kept(paper, change, told, left):
    paper.write("ade20k.csv", change((paper.folder / "ade20k.csv").read_text()))
    problems = published.problems()
    assert told in problems[0]
    assert all(p.startswith(f"{paper.folder}/ade20k.csv") and p.isprintable() for p in problems)
    assert len(published.ade20k_rows()) == left
    assert len(published.imagenet_rows()) == 27


def test_a_missing_file_and_a_folder_in_its_place_are_told(paper):
    for name in published.SHEETS:
        (paper.folder / name).unlink()
    (paper.folder / "speed.csv").mkdir()
    published.forget()
    assert [problem.split(" cannot ")[0] for problem in published.problems()] == [
        str(paper.folder / name) for name in published.SHEETS
    ]
    assert "speed.csv cannot be read: Is a directory" in published.problems()[-1]
    for of in KINDS:
        for form in ("md", "csv", "tex"):
            render([*BASE, *IDENTITY], form, of=of)


def test_a_table_is_printed_in_spite_of_it_and_the_exit_code_is_1(paper, tmp_path, capsys):
    for each in (*BASE, *IDENTITY):
        each.write(tmp_path / "runs")
    paper.edit("ablation.csv", 3, "top1", "7x4.3")
    assert main(["table", str(tmp_path / "runs"), "--columns", "all"]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("left out: ")
    assert err.count("\n") == 1
    assert "ablation.csv, line 3: top1 '7x4.3' must be a number from 0 to 100" in err
    assert "| Pooling -> Identity mapping " in out
    assert "79.33 ± 1.15" in out
    assert "74.3" not in out
    assert "77.2" in out


CELLS = [
    (name, line, column)
    for name in published.SHEETS
    for line, row in enumerate(PaperCopy(published.PAPER_DIR).lines(name), start=1)
    for column in range(len(row))
]


def test_a_word_in_any_cell_is_told_or_only_a_word(paper):
    """All cells of all files: told if it holds a number or a name, and no other line is touched."""
    for name, sheet in published.SHEETS.items():
        path = paper.folder / name
        before = [line.values for line in csv_schema.read(path, sheet)[0]]
        rows = paper.lines(name)
        header_row = list(rows[0])
        for _, line, column in (cell for cell in CELLS if cell[0] == name):
            header = header_row[column]
            kind = sheet.columns.get(header)
            shipped, rows[line - 1][column] = rows[line - 1][column], "some words"
            with path.open("w", newline="") as file:
                csv.writer(file).writerows(rows)
            rows[line - 1][column] = shipped
            found, told = csv_schema.read(path, sheet)
            after = [line.values for line in found]
            if kind is None or (line > 1 and isinstance(kind, Words) and not kind.among):
                assert (len(after), told) == (len(before), []), (name, line, header)
                continue
            (problem,) = told
            if line == 1:
                assert problem == f"{path} lacks the column {header}"
            else:
                assert problem.startswith(f"{path}, line {line}: {header} 'some words' must be ")
                assert after == before[: line - 2] + before[line - 1 :]


@pytest.mark.slow  # six tables an example
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    cell=st.sampled_from(CELLS),
    junk=st.one_of(st.text(max_size=20), st.floats().map(str), st.integers().map(str)),
)
def test_no_cell_stops_a_table(paper, cell, junk):
    """Whatever stands there, written as CSV or just between the commas."""
    name, line, column = cell
    shipped = (paper.folder / name).read_bytes()
    paper.edit(name, line, column, junk.replace("\ud800", ""))
    tables(paper)
    rows = shipped.decode().splitlines()
    rows[line - 1] = junk
    paper.write(name, "\n".join(rows).encode(errors="replace"))
    tables(paper)
    paper.write(name, shipped)


def tables(paper: PaperCopy) -> None:
    assert all(problem.isprintable() for problem in matching.problems())
    for of in KINDS:
        assert render([*BASE, *IDENTITY], "csv", of=of)
        assert render([*BASE, *IDENTITY], "md", of=of).count("### ") == 1
