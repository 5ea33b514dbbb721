"""The paper's other tables, with rows of ours from records made by hand."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess

import pytest

from ablations import published, reading
from ablations.__main__ import main
from ablations.study import studies
from ablations.tables import FORMATS, OF, Table, reference, render
from ablations.tables.ours import model_of
from tests.ablations.test_tables import BASE, IDENTITY, record

PICTURES = (1_281_167, 50_000)


def big(seed=0, top1=77.0, recipe="imagenet", classes=1000, pictures=PICTURES, **overrides):
    """A run on ImageNet-1K that was never trained."""
    run = record(seed, top1, recipe=recipe, **overrides)
    run.data.update(classes=classes, train=pictures[0], val=pictures[1])
    side = run.config["data"]["image_size"]
    run.cost.update(params=11_915_176, macs=1_822_678_528, image_size=side)
    return run


def measured(metrics, seed=0, params=21_700_000, **overrides):
    """A run of another task, with last values in percent."""
    run = record(seed, None, recipe="imagenet", **overrides)
    run.metrics.update({name: {"last": value, "best": 99.0} for name, value in metrics.items()})
    run.cost.update(params=params)
    return run


def names(table: Table) -> list[str]:
    return list(table.frame[table.words[-1]])


def plain(name: str) -> str:
    """Without the marks of footnotes."""
    return re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹ ]+$", "", name)


def tidy(records, of: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render(records, "csv", of=of))))


def line(table: Table, start: str) -> dict[str, str]:
    """The row of a name."""
    (found,) = [row for row in table.frame.to_dict("records") if start in row.values()]
    return found


# ImageNet-1K


def test_the_published_models_stand_as_in_the_papers_table_2():
    table = reference.imagenet()
    assert list(table.frame.columns) == [
        "General arch.",
        "Token mixer",
        "Outcome model",
        "Image size",
        "Params (M)",
        "MACs (G)",
        "Top-1 (%)",
    ]
    assert len(table.frame) == 27
    first, last = table.frame.iloc[0], table.frame.iloc[-1]
    assert list(first) == ["Convolutional", "–", "RSB-ResNet-18 ¹", "224", "12", "1.8", "70.6"]
    assert list(last) == ["", "Pooling", "PoolFormer-M48", "224", "73", "11.6", "82.5"]
    sections = dict.fromkeys(table.frame["Token mixer"])
    assert list(sections) == ["–", "Attention", "Spatial MLP", "Pooling"]
    assert [plain(name) for name in names(table)] == [
        row.model for row in published.imagenet_rows()
    ]
    assert next(iter(table.notes)).startswith("300-epoch ResNet-strikes-back result")
    foot = "\n".join(table.foot)
    assert "PoolFormer-S12 2.0, PoolFormer-S24 3.6, PoolFormer-S36 5.2, PoolFormer-M36 9.1" in foot
    assert "implies 77.7" in foot
    assert "No rows of ours: `ablations run sweeps/model_size.yaml --recipe imagenet" in foot


def test_rows_of_ours_stand_after_the_papers_of_the_same_model():
    found = studies(
        [
            *(big(seed, top1) for seed, top1 in enumerate((77.0, 77.4, 76.6))),
            big(0, 80.0, preset="s24"),
            big(0, 71.0, "imagenet-fast"),
        ]
    )
    table = reference.imagenet(found)
    assert names(table)[22:27] == [
        "PoolFormer-S12",
        "PoolFormer-S12 (ours: imagenet, 300 epochs, n = 3)",
        "PoolFormer-S12 (ours: imagenet-fast, 60 epochs, n = 1)",
        "PoolFormer-S24",
        "PoolFormer-S24 (ours: imagenet, 300 epochs, n = 1)",
    ]
    row = line(table, "PoolFormer-S12 (ours: imagenet, 300 epochs, n = 3)")
    assert row["Top-1 (%)"] == "77.00 ± 0.40"  # of 77.0, 77.4, 76.6: the deviation is 0.4
    assert (row["Params (M)"], row["MACs (G)"], row["Image size"]) == ("11.9", "1.8", "224")
    assert line(table, "PoolFormer-S12 (ours: imagenet-fast, 60 epochs, n = 1)")["Image size"] == (
        "160"
    )
    made = [text for text in table.foot if "Made from" in text]
    assert [text.split(":")[0] for text in made] == [
        "Ours, imagenet, 300 epochs",
        "Ours, imagenet-fast, 60 epochs",
    ]
    assert "Made from 4 records, recipe imagenet, pictures ffff" in made[0]


def test_other_variants_stand_at_the_end_of_their_section():
    found = studies(
        [
            big(),
            big(model__token_mixers="identity"),
            big(model__token_mixers="attention"),
            big(model__token_mixers="spatial_fc"),
            big(model__pool_size=5),
            big(preset="ppaa"),
            big(model__depths=[1, 1, 1, 1]),
        ]
    )
    table = reference.imagenet(found)
    frame = table.frame
    ours = frame[frame["Outcome model"].str.contains("ours")]
    assert [
        (mixer, name.split(" (")[0])
        for mixer, name in zip(ours["Token mixer"], ours["Outcome model"], strict=True)
    ] == [
        ("Attention", "PoolFormer-S12 with Pooling -> Attention"),
        ("Spatial MLP", "PoolFormer-S12 with Pooling -> Spatial FC"),
        ("Pooling", "PoolFormer-S12"),
        ("Pooling", "PoolFormer-S12 with Pooling size 3 -> 5"),
        ("Pooling", "MetaFormer of depths [1,1,1,1]"),
        ("Hybrid", "PoolFormer-S12 with [Pool,Pool,Attention,Attention]"),
        ("Identity mapping", "PoolFormer-S12 with Pooling -> Identity mapping"),
    ]
    places = [names(table).index(name) for name in ours["Outcome model"]]
    assert names(table)[places[0] - 1] == "PVT-Large"
    assert plain(names(table)[places[1] - 1]) == "gMLP-B"
    assert names(table)[places[3] - 1] == "PoolFormer-M48"
    (note,) = [text for text in table.notes if "Attention,Attention" in text]
    assert "norm group -> layer" in note
    assert "batch_size 4096 -> 1024" in note
    assert "crop_pct 0.9 -> 0.95" in note
    assert "token_mixers" not in note


def test_another_training_is_another_row_and_marked():
    found = studies([big(0), big(0, 70.0, optim__lr=0.1), big(0, 60.0, optim__epochs=30)])
    table = reference.imagenet(found)
    ours = [name for name in names(table) if "ours" in name]
    assert ours == [
        "PoolFormer-S12 (ours: imagenet, 30 epochs, n = 1)",
        "PoolFormer-S12 (ours: imagenet, 300 epochs, n = 1)",
        "PoolFormer-S12 (ours: imagenet, 300 epochs, n = 1) ⁵",
    ]
    told = "PoolFormer-S12 (imagenet, 300 epochs) also changes lr 0.004 -> 0.1."
    assert table.notes[told] == 5


def test_studies_of_one_recipe_and_length_are_told_apart():
    half = big(1, 70.0)
    half.environment["precision"] = "bf16-mixed"
    table = reference.imagenet(studies([big(), half]))
    ours = [name for name in names(table) if "ours" in name]
    assert len(ours) == 2
    assert any("300 epochs, bf16-mixed, pictures ffffffff, n = 1" in name for name in ours)
    assert any("300 epochs, 32-true, pictures ffffffff, n = 1" in name for name in ours)


def test_a_changed_baseline_is_not_the_papers_model():
    changed = {"model__norm": "batch"}
    table = reference.imagenet(studies([big(0, **changed), big(0, preset="s24", **changed)]))
    assert [name.split(" (")[0] for name in names(table) if "ours" in name] == [
        "PoolFormer-S12 with Modified LayerNorm -> BatchNorm",
        "PoolFormer-S24 with Modified LayerNorm -> BatchNorm",
    ]


def test_other_pictures_are_left_aside_and_told():
    found = [*BASE, big(classes=10, recipe="imagenette"), big(classes=100)]
    table = reference.imagenet(studies(found))
    assert len(table.frame) == 27
    assert (
        "5 records left aside, not of ImageNet-1K (a folder of 1000 classes): "
        "1 of folder (100 classes), 1 of imagenette (10 classes), 3 of mini (10 classes)."
    ) in table.foot
    assert not any("Made from" in text for text in table.foot)


def test_fewer_pictures_than_imagenet_has_are_told():
    table = reference.imagenet(studies([big(), big(0, 70.0, "imagenet-fast", pictures=(9, 5))]))
    told = [text for text in table.foot if "pictures to train on" in text]
    assert told == [
        "PoolFormer-S12 (imagenet-fast, 60 epochs): 9 pictures to train on and 5 to validate on, "
        "where ImageNet-1K has 1281167 and 50000."
    ]


def test_a_run_without_a_result_is_a_row_that_says_so():
    table = reference.imagenet(studies([big(), big(0, None, preset="m36", status="failed")]))
    row = line(table, "PoolFormer-M36 (ours: imagenet, 300 epochs, n = 0)")
    assert row["Top-1 (%)"] == "missing (1 failed: oom)"


def test_tidy_numbers_of_imagenet():
    rows = tidy([big(seed, 77.0 + seed) for seed in range(2)], "imagenet")
    assert len(rows) == 28
    paper, ours = rows[22], rows[23]
    assert (paper["source"], ours["source"]) == ("published", "ours")
    assert paper["model"] == ours["model"] == "PoolFormer-S12"
    assert (paper["params_m"], paper["macs_g"], paper["macs_g_paper_v2"]) == ("12.0", "1.8", "2.0")
    assert (paper["top1_mean"], paper["top1_std"], paper["n"]) == ("77.2", "", "")
    assert (ours["params_m"], ours["macs_g"]) == ("11.915176", "1.822678528")
    assert (ours["top1_mean"], ours["n"], ours["epochs"]) == ("77.5", "2", "300")
    assert float(ours["top1_std"]) == pytest.approx(0.5**0.5)
    assert (paper["cited"], ours["cited"]) == ("V3 Table 2", "")
    assert len(ours["run_ids"].split()) == 2


@pytest.mark.parametrize("size", published.MODELS)
@pytest.mark.parametrize("recipe", ["imagenet", "imagenet-fast"])
def test_a_model_is_known_by_what_it_is(recipe, size):
    config = record(recipe=recipe, preset=size, optim__lr=0.1).config
    assert model_of(config) == (published.MODELS[size], {})


# Sizes


SIZED = [
    *BASE,  # 80, 81, 83
    *(record(seed, top1, preset="s24") for seed, top1 in enumerate((82.0, 82.0, 86.0))),
    record(0, 84.0, preset="m48"),
]


def test_the_sizes_of_a_study_stand_beside_the_papers():
    (study,) = studies([*SIZED, *IDENTITY])
    table = reference.sizes(study)
    assert table.title.startswith("Model sizes: recipe mini, data mini")
    assert [plain(name) for name in table.frame["Model"]] == ["S12", "S24", "S36", "M36", "M48"]
    s12, s24, s36, _, m48 = table.frame.to_dict("records")
    assert (s12["Depths"], s12["Widths"]) == ("1-1-3-1", "16-32-80-128")
    assert (m48["Depths"], m48["Widths"]) == ("4-4-12-4", "24-48-96-192")
    assert (s12["Top-1 (%)"], s12["n"], s12["Δ from S12"]) == ("81.33 ± 1.53", "3", "0")
    # Differences 2, 1, 3: mean 2, deviation 1; t(0.975, 2 degrees) = 4.302653.
    assert (s24["Δ from S12"], s24["95% CI"]) == ("+2.00", "[-0.48, +4.48]")
    assert (s24["Paper params (M)"], s24["Paper MACs (G)"]) == ("21.4", "3.4")
    assert (s24["Paper top-1"], s24["Paper Δ"]) == ("80.3", "+3.1")
    assert (s36["Top-1 (%)"], s36["n"], s36["Params (M)"]) == ("missing", "0", "–")
    assert (m48["Δ from S12"], m48["95% CI"]) == ("+4.00", "")
    assert (s12["Params (M)"], s12["MACs (M)"]) == ("0.422", "1.34")
    assert (
        "Missing S36, M36: `ablations run sweeps/model_size.yaml --recipe mini --seeds 0,1,2`"
        in (table.foot)
    )
    (seeds,) = [text for text in table.foot if text.startswith("Missing M48, seeds 1, 2")]
    assert "ablations train --recipe mini --model.depths '[4,4,12,4]'" in seeds
    assert any(text.endswith("left to the ablation table: 1.") for text in table.foot)
    assert "Made from 7 records" in table.foot[-1]
    assert [drawn.mean for drawn in table.drawn] == [None, 2.0, None, None, 4.0]
    assert [drawn.paper for drawn in table.drawn] == [None, 3.1, 4.2, 4.9, 5.3]


def test_sizes_where_table_1_is_rounded_the_wrong_way_are_marked():
    table = reference.sizes()
    told = [note for note in table.notes if "Table 1 prints" in note]
    assert [note.split(":")[0] for note in told] == [
        "PoolFormer-S36",
        "PoolFormer-M36",
        "PoolFormer-M48",
    ]
    assert list(table.frame.columns) == [
        "Model",
        "Depths",
        "Widths",
        "Paper params (M)",
        "Paper MACs (G)",
        "Paper top-1",
        "Paper Δ",
    ]
    assert list(table.frame["Depths"])[2] == "6-6-18-6"
    assert list(table.frame["Widths"])[3] == "96-192-384-768"


def test_what_a_whole_sweep_changes_is_in_its_commands_and_a_size_stays_a_size():
    shared = {"optim__lr": 0.003, "model__drop_path": 0.1}
    found = [record(**shared), record(preset="s24", **shared), record(preset="m36")]
    small, other = studies(found), studies(found[:2])
    assert len(small) == 1
    (study,) = other
    table = reference.sizes(study)
    assert list(table.frame["n"]) == ["1", "1", "0", "0", "0"]
    (told,) = [text for text in table.foot if text.startswith("Missing S36")]
    assert "--model.drop_path 0.1 --optim.lr 0.003`" in told


def test_a_row_that_changes_more_than_its_size_is_no_size():
    (study,) = studies([*BASE, record(preset="s24", optim__lr=0.1), record(model__drop_path=0.1)])
    table = reference.sizes(study)
    assert list(table.frame["n"]) == ["3", "0", "0", "0", "0"]
    assert any(text.endswith("left to the ablation table: 2.") for text in table.foot)


def test_without_an_s12_there_is_no_difference_and_the_command_fits_all_sizes():
    (study,) = studies([record(preset="s36"), record(preset="m36"), record(preset="m48")])
    table = reference.sizes(study)
    assert list(table.frame["n"]) == ["0", "0", "1", "1", "1"]
    assert set(table.frame["Δ from S12"]) == {""}
    (told,) = [text for text in table.foot if text.startswith("Missing S12, S24")]
    assert told.endswith("`ablations run sweeps/model_size.yaml --recipe mini --seeds 0`")


def test_sizes_that_share_no_seeds_are_compared_by_their_means():
    found = [*BASE, record(7, 90.0, preset="s24"), record(8, 92.0, preset="s24")]
    table = reference.sizes(*studies(found))
    assert "Sizes that share fewer than two seeds with S12 are compared by Welch's t." in table.foot


def test_tidy_numbers_of_sizes():
    rows = tidy([*SIZED, record(0, 50.0, recipe="fashion")], "sizes")
    assert [row["source"] for row in rows] == ["ours"] * 10 + ["published"] * 5
    assert {row["recipe"] for row in rows[:5]} == {"fashion"}
    s24, paper = rows[6], rows[11]
    assert (s24["model"], s24["params"], s24["top1_mean"], s24["n"]) == (
        "S24",
        "421882",
        "83.33333333333333",
        "3",
    )
    assert (s24["delta_mean"], s24["delta_paired"]) == ("2.0", "True")
    assert float(s24["delta_high"]) == pytest.approx(2 + 4.302653 / 3**0.5, rel=1e-6)
    assert (paper["params"], paper["macs"], paper["macs_paper_v2"]) == (
        "21400000",
        "3400000000",
        "3600000000",
    )
    assert rows[7]["missing_command"].startswith("ablations run sweeps/model_size.yaml")


# COCO and ADE20K


@pytest.mark.parametrize(
    ("of", "heads", "row"),
    [
        (
            "retinanet",
            ["Backbone", "Params (M)", "AP", "AP50", "AP75", "APS", "APM", "APL"],
            ["PoolFormer-S12", "21.7", "36.2", "56.2", "38.2", "20.8", "39.1", "48.0"],
        ),
        (
            "maskrcnn",
            ["Backbone", "Params (M)", "APb", "APb50", "APb75", "APm", "APm50", "APm75"],
            ["PoolFormer-S12", "31.6", "37.3", "59.0", "40.1", "34.6", "55.8", "36.9"],
        ),
        (
            "ade20k",
            ["Backbone", "Params (M)", "mIoU (%)", "Checkpoint (%)", "Retrained (%)"],
            ["PoolFormer-S12 ¹", "15.7", "37.2", "37.15", "37.07"],
        ),
    ],
)
def test_published_rows_downstream(of, heads, row):
    table = reference.downstream(of)
    assert list(table.frame.columns) == heads
    assert row in table.frame.to_numpy().tolist()
    rows = {"retinanet": 6, "maskrcnn": 6, "ade20k": 14}[of]
    assert len(table.frame) == rows
    assert names(table)[0] == "ResNet-18"


def test_what_the_sources_contradict_stands_below_the_tables():
    assert "Running text (and ARTICLE) say 37.1" in next(iter(reference.ade20k().notes))
    assert any("+4.3 over ResNet-18 and +1.5" in text for text in reference.ade20k().foot)
    assert any("1e-4 in the text, 2e-4 in the" in text for text in reference.maskrcnn().foot)


def test_measured_rows_stand_beneath_the_same_backbone():
    found = [
        measured({"val/AP": 36.0, "val/AP50": 56.0, "val/AP_small": 20.0}, 0),
        measured({"val/AP": 36.6, "val/AP50": 57.0}, 1),
        measured({"val/AP": 39.0}, preset="s24", params=31_100_000),
        measured({"val/AP": 33.0}, model__token_mixers="identity"),
        measured({"val/box_AP": 37.0, "val/mask_AP": 34.0, "val/mask_AP75": 36.0}),
        measured({"val/mIoU": 37.3}),
        *BASE,
    ]
    table = reference.retinanet(found)
    assert names(table) == [
        "ResNet-18",
        "PoolFormer-S12",
        "PoolFormer-S12 (ours: imagenet, 300 epochs, n = 2)",
        "ResNet-50",
        "PoolFormer-S24",
        "PoolFormer-S24 (ours: imagenet, 300 epochs, n = 1)",
        "ResNet-101",
        "PoolFormer-S36",
        "PoolFormer-S12 with Pooling -> Identity mapping (ours: imagenet, 300 epochs, n = 1)",
    ]
    row = list(table.frame.iloc[2])[1:]
    # 36.0 and 36.6: mean 36.3, deviation 0.6 / sqrt(2).
    assert row == ["21.7", "36.30 ± 0.42", "56.50 ± 0.71", "–", "20.00 (n = 1)", "–", "–"]
    assert (
        "5 records left aside, without val/AP: 1 of ade20k, 1 of maskrcnn, 3 of recipe mini."
        in (table.foot)
    )
    assert "Made from 4 records" in table.foot[-1]
    row = list(reference.maskrcnn(found).frame.iloc[2])[2:]
    assert row == ["37.00", "–", "–", "34.00", "–", "36.00"]
    row = list(reference.ade20k(found).frame.iloc[3])[2:]
    assert row == ["37.30", "–", "–"]


def test_tidy_numbers_downstream():
    found = [measured({"val/mIoU": 37.0 + seed}, seed) for seed in range(3)]
    rows = tidy(found, "ade20k")
    assert len(rows) == 15
    ours = rows[3]
    assert (ours["source"], ours["backbone"], ours["mIoU"], ours["mIoU_std"], ours["n"]) == (
        "ours",
        "PoolFormer-S12",
        "38.0",
        "1.0",
        "3",
    )
    assert (rows[2]["source"], rows[2]["mIoU"], rows[2]["mIoU_official_ckpt_eval"]) == (
        "published",
        "37.2",
        "37.15",
    )
    assert rows[0]["setting"] == "Semantic FPN"


def test_the_tasks_have_the_papers_columns():
    assert list(reading.TASKS["retinanet"]) == published.RETINANET
    assert list(reading.TASKS["maskrcnn"]) == published.MASKRCNN
    assert list(reading.TASKS["ade20k"]) == published.ADE20K[:1]
    names = [metric for metrics in reading.TASKS.values() for metric in metrics.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("task", reading.TASKS)
def test_a_record_of_another_task_can_be_used(task):
    first = next(iter(reading.TASKS[task].values()))
    run = measured({first: 30.0})
    assert reading.trouble(run) is None
    assert reading.task(run) == task
    assert reading.trouble(measured({first: 300.0})) == (
        f"{first} 300.0 is not in percent, 0 to 100"
    )
    assert reading.trouble(measured({first: float("nan")})) == f"{first} is nan"


def test_a_record_without_any_outcome_cannot_be_used():
    assert reading.trouble(measured({"val/loss": 1.0})) == (
        "it is finished and has no val/top1 (nor val/AP, val/box_AP, val/mIoU)"
    )
    assert reading.task(BASE[0]) is None


# The command


@pytest.mark.parametrize("of", OF[1:])
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
    ("words", "told"),
    [
        (["--of", "imagent"], "unknown table 'imagent': did you mean 'imagenet'? valid are abl"),
        (["--of", "ade20k", "--style", "paper"], "--style is not for --of ade20k"),
        (["--of", "ade20k", "--baseline", "a"], "--baseline is not for --of ade20k"),
        (["--of", "sizes", "--publish"], "--publish is not for --of sizes"),
        (["--of", "sizes", "--baseline", "abc"], "--baseline abc is the id of no run here"),
    ],
)
def test_wrong_words_are_told_in_one_line(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["table", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert err.count("\n") == 1


def test_help_names_the_tables(capsys):
    with pytest.raises(SystemExit):
        main(["table", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert f"{', '.join(OF[1:-1])} or {OF[-1]}" in out


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("of", OF[1:])
def test_latex_compiles(of, tmp_path):
    found = [big(), big(0, 70.0, preset="ppaa"), *SIZED, measured({"val/AP": 30.0})]
    (tmp_path / "t.tex").write_text(render(found, "tex", of=of))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
