"""The paper's CSV files: hashes, valid values, and the rows that are read from them."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys

import pandas as pd
import pytest

from ablations.config import naming
from ablations.errors import SchemaError
from ablations.paper import published
from poolformer import SIZES

# The hashes of the files: changing one changes the paper's numbers.
HASHES = {
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
# The number of lines of a file, and the columns that identify a line.
LINES = {
    "ablation.csv": (18, ["variant"]),
    "ade20k.csv": (14, ["backbone", "head"]),
    "claims.csv": (34, ["id"]),
    "coco_maskrcnn.csv": (6, ["backbone", "schedule"]),
    "coco_retinanet.csv": (6, ["backbone", "schedule"]),
    "imagenet.csv": (27, ["model", "image_size"]),
    "longer_training.csv": (8, ["model", "epochs"]),
    "speed.csv": (76, ["model", "hardware", "precision", "batch_size", "mode", "source"]),
    "table1_config.csv": (5, ["model"]),
}
# The range of every numeric column, by a part of its name; the first part that fits counts.
RANGES = {
    "drop_path": (0, 1),
    "layer_scale_init": (0, 1),
    "eval_crop_pct": (0.05, 1),
    "delta": (-100, 100),
    "params_m": (0.01, 10_000),
    "macs_g": (0.01, 10_000),
    "top1": (0, 100),
    "AP": (0, 100),
    "mIoU": (0, 100),
}
# Columns with the same quantity, and how much they may differ by rounding (SOURCES.md).
AGREEING = [
    ("ablation.csv", "params_m", "params_m_recomputed", 0.05),
    ("ablation.csv", "macs_g", "macs_g_fvcore_recomputed", 0.05),
    ("table1_config.csv", "params_m_v3_table1", "params_m_recomputed", 0.1),
    ("table1_config.csv", "params_m_v3_table2", "params_m_recomputed", 0.5),
    ("table1_config.csv", "macs_g_v3_fvcore", "macs_g_fvcore_recomputed", 0.05),
]


def frame(name: str) -> pd.DataFrame:
    """A file as a table of texts."""
    return pd.read_csv(published.PAPER_DIR / name, dtype=str, keep_default_na=False)


def test_the_files_are_unchanged():
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in published.PAPER_DIR.iterdir()
        if path.suffix in (".csv", ".md")
    }
    assert found == HASHES


@pytest.mark.parametrize("name", LINES)
def test_lines_are_complete_and_unique(name):
    with (published.PAPER_DIR / name).open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file, strict=True)
    count, key = LINES[name]
    assert len(lines) == count
    assert {len(line) for line in lines} == {len(header)}
    assert len(set(header)) == len(header)
    assert all(
        cell.isprintable() and cell == cell.strip() for line in lines for cell in line if cell
    )
    assert not frame(name).duplicated(key).any()


@pytest.mark.parametrize("name", [name for name in LINES if name != "claims.csv"])
def test_numbers_are_within_their_range(name):
    for column, cells in frame(name).items():
        bounds = next((RANGES[part] for part in RANGES if part in column), None)
        if bounds and column not in ("source", "second_source"):
            numbers = pd.to_numeric(cells[cells != ""])
            assert numbers.between(*bounds).all(), column


@pytest.mark.parametrize(("name", "column", "other", "rounding"), AGREEING)
def test_columns_with_the_same_quantity_agree(name, column, other, rounding):
    table = frame(name)[[column, other]].apply(pd.to_numeric)
    assert ((table[column] - table[other]).abs() <= rounding + 1e-9).all()


def test_the_differences_of_the_ablation_table_imply_one_baseline():
    rows = published.ablation_rows()
    for row in rows.values():
        # Each number is rounded to 0.1: pool size 9 is 0.4 in the table and 0.5 in the text.
        assert row.top1 - row.delta == pytest.approx(rows[published.BASELINE].top1, abs=0.1001)


def test_rows_have_the_numbers_that_the_paper_prints():
    """One row per file, compared by hand with the sources in SOURCES.md."""
    row = published.ablation_rows()["Pooling -> Global random matrix"]
    assert (row.axis, row.params_m, row.macs_g, row.top1) == ("Token mixers", 11.9, 3.3, 75.8)
    assert (row.delta, row.frozen_params_m, row.position) == (-1.4, 21, 2)
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
    speeds = published.speed_rows()
    assert speeds[0].value is None
    assert (speeds[4].model, speeds[4].value) == ("ResNet-18", 9045.63)
    lines = frame("speed.csv")
    assert lines["qualitative_claim"][0] == "about ResNet-34 speed, top-1 77.2"
    assert lines.loc[4, ["unit", "batch_size"]].tolist() == ["img/s", "1024"]
    assert set(lines["unit"]) == {"", "img/s", "fps"}
    assert {row.mode for row in speeds} == {"inference", "training"}


def test_the_sizes_are_those_of_the_models():
    assert list(published.model_rows()) == list(SIZES)
    assert naming.AXES["model.depths"] == published.SIZE_AXIS
    table = frame("table1_config.csv").set_index("model")
    for name, size in SIZES.items():
        line = table.loc[published.SIZE_NAMES[name]]
        shape = [*size.depths, *size.dims]
        columns = [f"{what}_s{stage}" for what in ("blocks", "dim") for stage in (1, 2, 3, 4)]
        assert [int(line[column]) for column in columns] == shape
        assert float(line["layer_scale_init"]) == size.layer_scale_init


def test_an_edited_file_is_an_error_that_names_the_line(tmp_path, monkeypatch):
    text = (published.PAPER_DIR / "ade20k.csv").read_text().replace("35.7", "high")
    (tmp_path / "ade20k.csv").write_text(text)
    monkeypatch.setattr(published, "PAPER_DIR", tmp_path)
    published.ade20k_rows.cache_clear()
    with pytest.raises(SchemaError, match=r"ade20k\.csv, line 3: .*'high'"):
        published.ade20k_rows()


def test_reading_the_files_needs_only_the_standard_library():
    code = (
        "import sys, ablations.paper.published as p; p.ablation_rows(); "
        "sys.exit(str({'torch', 'pandas', 'numpy', 'yaml', 'scipy'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""
