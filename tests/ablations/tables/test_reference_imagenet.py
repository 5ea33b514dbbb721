"""The paper's table of ImageNet-1K, with rows of ours from records made by hand."""

from __future__ import annotations

import pytest

from ablations import tables
from ablations.analysis.build import build_studies
from ablations.paper import published
from ablations.tables.our_rows import name_model
from tests.factories.records import BASE, record
from tests.factories.reference import big, csv_rows, line, names, plain


def test_published_models_are_as_in_the_papers_table_2():
    table = tables.imagenet_table()
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
    assert next(iter(table.row_notes)).startswith("300-epoch ResNet-strikes-back result")
    assert not any("the the" in note for note in table.row_notes)
    foot = "\n".join(table.footnotes)
    assert "PoolFormer-S12 2.0, PoolFormer-S24 3.6, PoolFormer-S36 5.2, PoolFormer-M36 9.1" in foot
    assert "implies 77.7" in foot
    assert "No rows of ours: `ablations run sweeps/model_size.yaml --recipe imagenet" in foot


def test_our_rows_follow_the_published_row_of_their_model():
    found = build_studies(
        [
            *(big(seed, top1) for seed, top1 in enumerate((77.0, 77.4, 76.6))),
            big(0, 80.0, preset="s24"),
            big(0, 71.0, "imagenet-fast"),
        ]
    )
    table = tables.imagenet_table(found)
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
    made = [text for text in table.footnotes if "Made from" in text]
    assert [text.split(":")[0] for text in made] == [
        "Ours, imagenet, 300 epochs",
        "Ours, imagenet-fast, 60 epochs",
    ]
    assert "Made from 4 records, recipe imagenet, images ffff" in made[0]


def test_other_variants_end_their_section():
    found = build_studies(
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
    table = tables.imagenet_table(found)
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
    (note,) = [text for text in table.row_notes if "Attention,Attention" in text]
    assert "norm group -> layer" in note
    assert "batch_size 4096 -> 1024" in note
    assert "crop_pct 0.9 -> 0.95" in note
    assert "token_mixers" not in note


def test_another_training_is_a_marked_row_of_its_own():
    found = build_studies([big(0), big(0, 70.0, optim__lr=0.1), big(0, 60.0, optim__epochs=30)])
    table = tables.imagenet_table(found)
    ours = [name for name in names(table) if "ours" in name]
    assert ours == [
        "PoolFormer-S12 (ours: imagenet, 30 epochs, n = 1)",
        "PoolFormer-S12 (ours: imagenet, 300 epochs, n = 1)",
        "PoolFormer-S12 (ours: imagenet, 300 epochs, n = 1) ⁵",
    ]
    note = "PoolFormer-S12 (imagenet, 300 epochs) also changes lr 0.004 -> 0.1."
    assert table.row_notes[note] == 5


def test_studies_of_one_recipe_and_length_are_distinguished():
    half = big(1, 70.0)
    half.environment["precision"] = "bf16-mixed"
    table = tables.imagenet_table(build_studies([big(), half]))
    ours = [name for name in names(table) if "ours" in name]
    assert len(ours) == 2
    assert any("300 epochs, bf16-mixed, images ffffffff, n = 1" in name for name in ours)
    assert any("300 epochs, 32-true, images ffffffff, n = 1" in name for name in ours)


def test_a_changed_baseline_is_not_the_papers_model():
    changed = {"model__norm": "batch"}
    table = tables.imagenet_table(
        build_studies([big(0, **changed), big(0, preset="s24", **changed)])
    )
    assert [name.split(" (")[0] for name in names(table) if "ours" in name] == [
        "PoolFormer-S12 with Modified LayerNorm -> BatchNorm",
        "PoolFormer-S24 with Modified LayerNorm -> BatchNorm",
    ]


def test_other_images_are_left_out_and_counted():
    found = [*BASE, big(classes=10, recipe="imagenette"), big(classes=100)]
    table = tables.imagenet_table(build_studies(found))
    assert len(table.frame) == 27
    assert (
        "5 records left out, not of ImageNet-1K (a folder of 1000 classes): "
        "1 of folder (100 classes), 1 of imagenette (10 classes), 3 of mini (10 classes)."
    ) in table.footnotes
    assert not any("Made from" in text for text in table.footnotes)


def test_fewer_images_than_imagenet_has_are_noted():
    table = tables.imagenet_table(
        build_studies([big(), big(0, 70.0, "imagenet-fast", images=(9, 5))])
    )
    notes = [text for text in table.footnotes if "images to train on" in text]
    assert len(notes) == 1
    assert "PoolFormer-S12 (imagenet-fast, 60 epochs): 9 images to train on and 5 to" in notes[0]


def test_a_run_without_a_result_is_a_row_that_says_so():
    table = tables.imagenet_table(
        build_studies([big(), big(0, None, preset="m36", status="failed")])
    )
    row = line(table, "PoolFormer-M36 (ours: imagenet, 300 epochs, n = 0)")
    assert row["Top-1 (%)"] == "missing (1 failed: oom)"


def test_csv_of_imagenet():
    rows = csv_rows([big(seed, 77.0 + seed) for seed in range(2)], "imagenet")
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


@pytest.mark.parametrize("size", published.SIZE_NAMES)
@pytest.mark.parametrize("recipe", ["imagenet", "imagenet-fast"])
def test_a_model_is_named_after_its_config(recipe, size):
    config = record(recipe=recipe, preset=size, optim__lr=0.1).config
    assert name_model(config) == (published.SIZE_NAMES[size], {})
