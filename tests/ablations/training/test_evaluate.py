"""`ablations eval`: the accuracy is that of timm's code, and of a run's record."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform

from ablations.cli.main import main
from ablations.training.evaluate import (
    _crop,
    evaluate_model,
    model_from_checkpoint,
    model_from_run,
    validation_images,
)
from ablations.training.train import train
from poolformer import MODELS, ConfigError, MetaFormer, create
from poolformer.checkpoints import LAYOUTS, convert_layout, matching_models
from tests.factories.models import perturbed, write_weights


@pytest.fixture(scope="module")
def timm_model() -> torch.nn.Module:
    return perturbed(timm.create_model("poolformer_s12", num_classes=3))


@pytest.fixture(scope="module")
def timm_predictions(timm_model, image_folder) -> list[int]:
    """The class that timm predicts for each validation image, in order."""
    transform = create_transform(
        (3, 224, 224), interpolation="bicubic", crop_pct=0.9, is_training=False
    )
    files = sorted((image_folder / "val").rglob("*.jpg"))
    batch = torch.stack([transform(Image.open(file)) for file in files])
    with torch.no_grad():
        return timm_model(batch).argmax(dim=1).tolist()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_checkpoint_has_the_accuracy_of_timms_model(
    layout, timm_model, timm_predictions, image_folder, tmp_path, capsys
):
    """Our own layout and the paper's have the paper's head: almost the same predictions."""
    labels = [label for label in range(3) for _ in range(8)]
    right = sum(a == b for a, b in zip(timm_predictions, labels, strict=True))
    write_weights(convert_layout(timm_model.state_dict(), layout), tmp_path / "poolformer_s12.pth")
    words = ["eval", "--checkpoint", str(tmp_path / "poolformer_s12.pth"), "--data.name", "folder"]
    assert main([*words, "--data.root", str(image_folder), "--system.accelerator=cpu"]) == 0
    out, err = capsys.readouterr()
    header, images, result = out.splitlines()
    assert header == f"poolformer_s12; {layout} layout"
    assert "24 images of 3 classes at 224x224, crop 0.9, bicubic, cpu, 32-true" in images
    assert "top-5 100.00%, 24 images, " in result
    if layout == "timm":
        assert f"top-1 {100 * right / 24:.2f}%" in result
    assert "Traceback" not in err


def test_a_run_has_the_accuracy_of_its_record(tiny, tmp_path, capsys):
    config = tiny(**{"model.norm": "batch"})
    record = train(config, tmp_path)
    subject = model_from_run(config.run_id, tmp_path, {"system.accelerator": "cpu"})
    found = evaluate_model(subject, validation_images(subject.config))
    assert found.top1 == record.metric("val/top1")
    assert found.top5 == record.metric("val/top5")
    assert found.images == 2000
    assert main(["eval", config.run_id, "--results", str(tmp_path)]) == 0
    assert f"its record has top-1 {found.top1:.2f}%" in capsys.readouterr().out
    wrong = "x" + config.run_id[1:]
    assert main(["eval", wrong, "--results", str(tmp_path)]) == 2
    assert f"did you mean '{config.run_id}'" in capsys.readouterr().err
    (tmp_path / config.run_id / "weights.pt").unlink()
    assert main(["eval", config.run_id, "--results", str(tmp_path)]) == 2
    assert f"run {config.run_id} (finished) has no weights.pt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("crop", "names"),
    [
        # SOURCES.md: 0.9 for the S models, identity and PPPF, 0.95 for the others.
        (0.9, ["poolformer_s12", "poolformer_s24", "poolformer_s36", "metaformer_id_s12"]),
        (0.9, ["metaformer_pppf_s12_224", "poolformer_s12_pool5", "poolformer_s12_layer_norm"]),
        (0.95, ["poolformer_m36", "poolformer_m48", "metaformer_ppff_s12_224"]),
        (0.95, ["metaformer_pppa_s12_224", "metaformer_ppaa_s12_224"]),
    ],
)
def test_the_crop_is_that_of_the_paper(crop, names):
    for name in names:
        assert _crop(MODELS[name]) == crop
        assert _crop(replace(MODELS[name], num_classes=3)) == crop


@pytest.mark.parametrize("name", [n for n in MODELS if "m36" not in n and "m48" not in n])
def test_weights_determine_the_model_and_the_file_name_breaks_ties(name):
    with torch.device("meta"):
        weights = MetaFormer(MODELS[name]).state_dict()
    assert name in matching_models(weights)
    assert matching_models(weights, f"downloads/{name}.pth.tar")[0] == name
    assert matching_models(weights, "weights.pth")[0] == matching_models(weights)[0]
    assert matching_models(weights, "poolformer_s12.pth")[0] == (
        "poolformer_s12"
        if "poolformer_s12" in matching_models(weights)
        else matching_models(weights)[0]
    )


def test_evaluation_needs_no_training_images(timm_model, image_folder, tmp_path):
    shutil.copytree(image_folder / "val", tmp_path / "only" / "val")
    write_weights(timm_model.state_dict(), tmp_path / "w.safetensors")
    fields = {"data.root": str(tmp_path / "only"), "system.accelerator": "cpu"}
    subject = model_from_checkpoint(tmp_path / "w.safetensors", fields, arch="metaformer_id_s12")
    assert subject.model.config.token_mixers == "identity"
    assert len(validation_images(subject.config).val) == 24


def test_a_position_embedding_is_resized_when_asked_for(image_folder, tmp_path, capsys):
    model = perturbed(create("metaformer_ppaa_s12_224", num_classes=3))
    write_weights(convert_layout(model.state_dict(), "official"), tmp_path / "w.pth")
    words = ["eval", "--checkpoint", str(tmp_path / "w.pth"), f"--data.root={image_folder}"]
    words += ["--data.image_size=96", "--system.accelerator=cpu"]
    assert main(words) == 2
    assert "[1, 320, 14, 14] for [1, 320, 6, 6]" in capsys.readouterr().err
    assert main([*words, "--resize-position-embedding"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("metaformer_ppaa_s12_224; official layout; ")
    assert "is resized from [14, 14] to [6, 6]" in out
    assert "at 96x96, crop 0.95" in out


def test_wrong_input_is_one_line_and_exit_2(
    timm_model, image_folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    root = f"--data.root={image_folder}"
    write_weights(timm_model.state_dict(), "w.pth")
    write_weights(create("poolformer_s12").state_dict(), "thousand.pth")
    write_weights(create("poolformer_s12", num_classes=0).state_dict(), "headless.pth")
    write_weights(create("poolformer_s12", dims=(8, 8, 8, 8)).state_dict(), "small.pth")
    torch.save(timm.create_model("resnet18").state_dict(), "resnet.pth")
    torch.save(timm.create_model("resnet18"), "module.pth")
    Path("short.pth").write_bytes(Path("w.pth").read_bytes()[:5000])
    Path("text.safetensors").write_text("no weights")
    for words, message in (
        ([], "needs either a run id or --checkpoint"),
        (["abc", "--checkpoint", "w.pth"], "needs either a run id or --checkpoint"),
        (["abc", "--arch", "poolformer_s12"], "need --checkpoint"),
        (["abc"], "unknown run 'abc': runs has 0 records"),
        ([""], "unknown run ''"),
        (["../other/0123456789ab"], "unknown run '../other/0123456789ab'"),
        (["/0123456789ab"], "unknown run '/0123456789ab'"),
        (["--checkpoint", "none.pth", root], "none.pth is missing"),
        (["--checkpoint", ".", root], "is a folder"),
        (["--checkpoint", "short.pth", root], "short.pth cannot be read: it is truncated"),
        (["--checkpoint", "text.safetensors", root], "no file of weights"),
        (["--checkpoint", "module.pth", root], "it asks for timm.models.resnet.ResNet"),
        (["--checkpoint", "resnet.pth", root], "weights of an unknown layout"),
        (["--checkpoint", "headless.pth", root], "has no head"),
        (["--checkpoint", "small.pth", root], "its weights fit no named model"),
        (["--checkpoint", "w.pth", root, "--arch", "poolformer_s24"], "120 missing: stages.0"),
        (["--checkpoint", "w.pth", root, "--arch", "poolformr_s12"], "did you mean"),
        (["--checkpoint", "w.pth", root, "--model.pool_siz=3"], "did you mean"),
        (["--checkpoint", "w.pth", root, "--system.accelerator=gpu"], "this machine has none"),
        (["--checkpoint", "thousand.pth", root], "has 3 classes, the model 1000"),
        (["--checkpoint", "w.pth", "--data.name=imagenette"], "has 10 classes, the model 3"),
        (["--checkpoint", "w.pth"], "needs --data.root DIR"),
        (["--checkpoint", "w.pth", "--data.root=nowhere"], "no folder nowhere/val"),
    ):
        assert main(["eval", *words]) == 2, words
        out, err = capsys.readouterr()
        assert message in err
        assert err.count("\n") == 1
        assert out == ""


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_named(timm_model, image_folder, tmp_path, capsys, workers):
    shutil.copytree(image_folder / "val", tmp_path / "val")
    broken = next((tmp_path / "val").rglob("*.jpg"))
    broken.write_bytes(b"not an image")
    write_weights(timm_model.state_dict(), tmp_path / "w.pth")
    words = ["eval", "--checkpoint", str(tmp_path / "w.pth"), f"--data.root={tmp_path}"]
    assert main([*words, "--system.accelerator=cpu", f"--system.loader_workers={workers}"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"ablations: {broken} cannot be decoded")
    assert err.count("\n") == 1


def test_logits_that_are_not_finite_are_reported(timm_model, image_folder, tmp_path, capsys):
    weights = {key: value * float("nan") for key, value in timm_model.state_dict().items()}
    write_weights(weights, tmp_path / "w.pth")
    words = ["eval", "--checkpoint", str(tmp_path / "w.pth"), f"--data.root={image_folder}"]
    assert main([*words, "--system.accelerator=cpu"]) == 1
    assert "24 images gave logits that are NaN" in capsys.readouterr().err


def test_changed_fields_of_the_model_are_noted(timm_model, image_folder, tmp_path):
    write_weights(timm_model.state_dict(), tmp_path / "w.pth")
    fields = {"data.root": str(image_folder), "model.pool_size": "5"}
    subject = model_from_checkpoint(tmp_path / "w.pth", fields)
    assert subject.config.model.pool_size == 5
    assert "with model.pool_size=5" in subject.notes
    assert subject.notes[-1].startswith("the same weights fit metaformer_id_s12, ")
    with pytest.raises(ConfigError, match="must be odd"):
        model_from_checkpoint(tmp_path / "w.pth", {**fields, "model.pool_size": "4"})
    small = create("poolformer_s12", dims=(8, 8, 8, 8), num_classes=3)
    write_weights(small.state_dict(), tmp_path / "small.pth")
    fields = {"data.root": str(image_folder), "model.dims": "[8, 8, 8, 8]"}
    subject = model_from_checkpoint(tmp_path / "small.pth", fields, arch="poolformer_s12")
    assert torch.equal(subject.model.head.weight, small.head.weight)
