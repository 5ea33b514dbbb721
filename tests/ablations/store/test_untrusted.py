"""Results folders are not trusted: no command runs code that one contains or names."""

from __future__ import annotations

import ast
import pickle
import sys
from pathlib import Path

import pytest
import torch

from ablations.cli.main import main
from ablations.errors import ConfigError
from ablations.store import records, run_state
from ablations.store.records import Record
from ablations.training import evaluate

MODULES = sorted([*Path("ablations").rglob("*.py"), *Path("poolformer").rglob("*.py")])


class Malicious:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "ran"))


@pytest.fixture
def malicious_results(tiny, tmp_path, monkeypatch) -> tuple[Path, Path, str]:
    """Results with malicious code, the file that it would write, and the id of a run.

    The records name a plugin in the working directory. The weights of the finished runs and the
    checkpoint of an unfinished one are pickles that run code.
    """
    monkeypatch.chdir(tmp_path)
    ran, results = tmp_path / "ran", tmp_path / "runs"
    text = f"import pathlib\npathlib.Path({str(ran)!r}).write_text('ran')\n"
    (tmp_path / "planted_mixer.py").write_text(text)
    for seed in (0, 1):
        config = tiny(seed=seed)
        tree = config.to_json()
        tree["system"]["plugins"] = ["planted_mixer"]
        Record(
            run_id=config.run_id,
            status="finished",
            config=tree,
            metrics={"val/top1": {"last": 50.0, "best": 50.0}},
            data={"fingerprint": "88d62a25161371fc", "classes": 10},
            environment={"precision": "32-true", "device": "cpu", "plugins": {"x": "0" * 12}},
        ).write(results)
        torch.save({"w": Malicious(ran)}, results / config.run_id / records.WEIGHTS_FILE)
    other = tiny(seed=2)
    start = run_state.RunState(other.run_id, {**other.to_json(), "system": tree["system"]})
    (results / other.run_id).mkdir()
    start.write(results)
    torch.save({"run_id": Malicious(ran)}, results / other.run_id / records.CHECKPOINT_FILE)
    yield results, ran, config.run_id
    sys.modules.pop("planted_mixer", None)


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["table"],
        ["table", "--format", "html"],
        ["claims"],
        ["report", "-o", "page.html"],
        ["clean", "--dry-run"],
        ["eval", "RUN"],
        ["eval", "RUN", "--data.batch_size=10"],
        ["eval", "--checkpoint", "runs/RUN/weights.pt"],
        ["convert", "runs/RUN/weights.pt", "converted.pt"],
    ],
    ids=" ".join,
)
def test_no_command_runs_code_from_a_results_folder(malicious_results, words, capsys):
    results, ran, run_id = malicious_results
    words = [word.replace("RUN", run_id) for word in words]
    if words[0] in ("table", "claims", "report"):
        words.insert(1, str(results))
    main(words)
    assert not ran.exists()
    assert "planted_mixer" not in sys.modules
    assert "Traceback" not in capsys.readouterr().err


def test_a_checkpoint_that_is_a_pickle_is_renamed(malicious_results, tiny, capsys):
    from ablations.training.train import load_run_checkpoint

    results, ran, _ = malicious_results
    run_id = tiny(seed=2).run_id
    assert load_run_checkpoint(results / run_id / records.CHECKPOINT_FILE, run_id) is None
    assert (results / run_id / records.BROKEN_CHECKPOINT_FILE).is_file()
    assert not ran.exists()
    assert "starting anew" in capsys.readouterr().err


def test_a_plugin_that_only_a_record_names_is_reported(malicious_results, tiny):
    """It is imported only if the user names it too."""
    results, ran, run_id = malicious_results
    record = records.find_record(results, run_id)
    record.config["model"]["token_mixers"] = ["not_built_in"] * 4
    record.write(results)
    with pytest.raises(ConfigError, match=r"'planted_mixer'.*--plugins planted_mixer") as refused:
        evaluate.model_from_run(run_id, results, {})
    assert "\n" not in str(refused.value)
    assert not ran.exists()
    with pytest.raises(ConfigError, match="plugin planted_mixer registers no token mixer"):
        evaluate.model_from_run(run_id, results, {"system.plugins": ["planted_mixer"]})
    assert ran.exists()


def test_no_module_calls_a_loader_that_can_run_code():
    """Pickle is used only between processes of a Ray cluster; torch.load uses weights_only."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if not isinstance(node.func.value, ast.Name):
                continue
            called = f"{node.func.value.id}.{node.func.attr}"
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if called == "torch.load":
                assert given.get("weights_only") == "True", path
            if called == "np.load":
                assert given.get("allow_pickle", "False") == "False", path
            assert called not in ("yaml.load", "yaml.unsafe_load", "joblib.load"), path
            if called in ("pickle.load", "pickle.loads"):
                assert path.as_posix() == "ablations/scheduling/ray/launcher.py"


def test_the_malicious_pickle_runs_without_weights_only(tmp_path):
    torch.save(Malicious(tmp_path / "ran"), tmp_path / "file")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "file", weights_only=True)
    torch.load(tmp_path / "file", weights_only=False)
    assert (tmp_path / "ran").exists()
