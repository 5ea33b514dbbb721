"""Plugins: token mixers of the user, their versions, and plugins that cannot be used."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ablations.cli.main import main
from ablations.config import plugins
from ablations.config.resolve import resolve
from ablations.store import records
from poolformer import ConfigError, MetaFormerConfig, register_mixer
from poolformer.config import MIXER_NAMES
from poolformer.mixers import MIXERS, REGISTERED_BY
from tests.factories.configs import TINY_FLAGS

SHIFT = """
from torch import nn
from poolformer import register_mixer

@register_mixer("{name}")
class Shift(nn.Module):
    def __init__(self, config, stage):
        super().__init__()

    def forward(self, x):
        return x.roll({by}, dims=3)
"""
SHORT = [*TINY_FLAGS, "--optim.epochs=1"]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; mixers that a test registers are removed afterwards."""
    monkeypatch.chdir(tmp_path)
    modules, path = set(sys.modules), list(sys.path)
    mixers, names, registrars = dict(MIXERS), list(MIXER_NAMES), dict(REGISTERED_BY)
    yield tmp_path
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]
    sys.path[:] = path
    MIXERS.clear()
    MIXERS.update(mixers)
    REGISTERED_BY.clear()
    REGISTERED_BY.update(registrars)
    MIXER_NAMES[:] = names


def test_a_config_can_name_a_plugins_mixer_and_other_ids_stay():
    Path("shifty.py").write_text(SHIFT.format(name="shift", by=1))
    before = resolve("mini").run_id
    with pytest.raises(ConfigError, match="unknown token mixer 'shift'"):
        resolve("mini", {"model.token_mixers": "shift"})
    found = resolve("mini", {"model.token_mixers": "shift", "system.plugins": ["shifty"]})
    assert found.model.mixers == ("shift",) * 4
    assert resolve("mini", {"system.plugins": ["shifty"]}).run_id == before
    assert set(plugins.mixer_versions(["pool", "shift"])) == {"shift"}


def test_a_plugin_is_used_by_all_commands_and_a_changed_one_makes_runs_stale(capsys):
    """Workers are processes of their own, which import the plugin too."""
    Path("versioned.py").write_text(SHIFT.format(name="versioned_shift", by=1))
    Path("grid.yaml").write_text(
        "method: grid\nparameters:\n  model.token_mixers: {values: [pool, versioned_shift]}\n"
    )
    words = ["run", "grid.yaml", "--plugins", "versioned", "--results", "runs", *SHORT]
    assert main([*words, "--workers=1"]) == 0
    out = capsys.readouterr().out
    assert "Pooling -> versioned_shift" in out
    runs = [record for record in records.read_records([Path("runs")])[0] if record.environment]
    versions = [record.environment["plugins"] for record in runs]
    assert sorted(map(len, versions)) == [0, 1]
    assert main(["table", "runs"]) == 0  # without the plugin
    assert "Pooling -> versioned_shift" in capsys.readouterr().out
    run_id = next(record.run_id for record in runs if record.environment["plugins"])
    assert main(["eval", run_id, "--plugins", "versioned"]) == 0
    assert f"{run_id}; its record has top-1" in capsys.readouterr().out

    text = Path("versioned.py").read_text()
    Path("versioned.py").write_text(f"# a comment\n{text}")
    assert main([*words, "--dry-run"]) == 0
    assert "2 runs, 2 done, 0 to do" in capsys.readouterr().out
    assert main(words) == 0
    assert "0 trained, 2 reused, 0 failed" in capsys.readouterr().err

    Path("versioned.py").write_text(SHIFT.format(name="versioned_shift", by=2))
    changed = f"{run_id}: the code of its token mixer 'versioned_shift' (ast:"
    assert main([*words, "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert "2 runs, 1 done, 0 to do, 1 stale" in out
    assert changed in err
    train = ["train", *words[2:], "--model.token_mixers=versioned_shift"]
    for again in (train, ["eval", run_id, "--plugins", "versioned"]):
        assert main(again) == 2
        err = capsys.readouterr().err
        assert "is stale: the code of its token mixer 'versioned_shift'" in err
        assert err.count("\n") == 1
    assert main(["status", "--results", "runs"]) == 0
    assert "stale" in capsys.readouterr().out

    # A stale run blocks no other one.
    grid = Path("grid.yaml").read_text().replace("[pool,", "[pool, identity,")
    Path("grid.yaml").write_text(grid)
    assert main([*words, "--workers=1"]) == 1
    out, err = capsys.readouterr()
    assert "1 trained, 1 reused, 0 failed, 1 stale" in err
    assert changed in err
    (row,) = [line for line in out.splitlines() if "versioned_shift" in line and "|" in line]
    assert "missing" in row

    old = Path("runs", run_id, "record.json").read_text()
    assert main([*train, "--retrain-stale"]) == 0
    assert Path("runs", run_id, "stale-1", "record.json").read_text() == old
    assert main(words) == 0
    assert "0 trained, 3 reused" in capsys.readouterr().err


@pytest.mark.parametrize(
    "way", ["import helper", "import importlib\nhelper = importlib.import_module('helper')"]
)
def test_the_version_of_a_mixer_covers_imported_files_but_not_comments(workspace, way):
    Path("helper.py").write_text("BY = 1\n")
    text = SHIFT.format(name="helped", by="helper.BY")
    Path("helped.py").write_text(f"{way}\n{text}")

    def version() -> str:
        plugins.load_plugins(["helped"])
        return plugins.mixer_versions(["helped"])["helped"]

    first = version()
    before = {"helped": first}
    Path("helper.py").write_text('"""By how much."""\nBY = (1)  # one\n')
    assert version() == first
    assert plugins.changed_mixers(before, ["helped"]) is None
    assert plugins.changed_mixers_on_disk(["helped"], before) is None
    Path("helper.py").write_text("BY = 3\n")
    assert version() != first
    assert f"'helped' ({first} then, {version()} now)" in str(
        plugins.changed_mixers(before, ["helped"])
    )
    assert "'helped' has changed" in str(plugins.changed_mixers_on_disk(["helped"], before))
    # The edited code is what runs from now on.
    assert MIXERS["helped"].forward.__globals__["helper"].BY == 3


def test_code_of_other_mixers_in_a_file_does_not_count(workspace):
    first = SHIFT.format(name="first_of_two", by="BY").replace("@", "BY = 1\n\n@")
    Path("two.py").write_text(first)
    plugins.load_plugins(["two"])
    before = plugins.mixer_versions(["first_of_two"])
    one = first[first.index("BY = 1") :]
    other = one.replace("first_of", "second_of").replace("Shift", "Other").replace("BY", "MORE")
    both = first.replace("import nn", "import nn, optim") + other
    for text in (both, both.replace("MORE = 1", "MORE = 2")):
        Path("two.py").write_text(text)
        plugins.load_plugins(["two"])
        assert plugins.changed_mixers(before, ["first_of_two"]) is None
        assert plugins.changed_mixers_on_disk(["two"], before) is None
    for text in (both.replace("BY = 1", "BY = 2"), f"{both}nn.Module.forward = print\n"):
        Path("two.py").write_text(text)
        assert "'first_of_two' has changed" in str(plugins.changed_mixers_on_disk(["two"], before))
        assert "'first_of_two' (ast:" in str(plugins.changed_mixers(before, ["first_of_two"]))


@pytest.mark.parametrize(
    ("made", "other"),
    [
        ("functools.partial(built.make, by=1)", "functools.partial(built.make, by=2)"),
        ("built.make", "built.changed(built.make)"),
    ],
)
def test_the_module_that_registers_a_mixer_counts_too(workspace, made, other):
    Path("built.py").write_text(
        "from torch import nn\ndef make(config, stage, by=0):\n    return nn.Identity()\n"
        "def changed(build):\n    build.by = 2\n    return build\n"
    )
    head = "import functools\nimport built\nfrom poolformer import register_mixer\n"
    Path("builder.py").write_text(f'{head}register_mixer("built_here")({made})\n')
    plugins.load_plugins(["builder"])
    before = plugins.mixer_versions(["built_here"])
    assert plugins.changed_mixers(before, ["built_here"]) is None
    assert plugins.changed_mixers_on_disk(["builder"], before) is None
    Path("builder.py").write_text(f'{head}register_mixer("built_here")({other})\n')
    assert "'built_here' has changed" in str(plugins.changed_mixers_on_disk(["builder"], before))
    assert "'built_here' (ast:" in str(plugins.changed_mixers(before, ["built_here"]))


def test_a_run_without_a_mixer_version_is_stale(workspace):
    Path("unversioned.py").write_text(SHIFT.format(name="unversioned_shift", by=1))
    plugins.load_plugins(["unversioned"])
    assert "'unversioned_shift' (unknown then, ast:" in str(
        plugins.changed_mixers({}, ["unversioned_shift"])
    )
    assert plugins.changed_mixers({}, ["pool"]) is None


def test_old_records_have_the_version_of_a_whole_file(workspace):
    Path("older.py").write_text(SHIFT.format(name="older_shift", by=1))
    plugins.load_plugins(["older"])
    whole = hashlib.sha256(Path("older.py").read_bytes()).hexdigest()[:12]
    assert plugins.changed_mixers({"older_shift": whole}, ["older_shift"]) is None
    assert plugins.changed_mixers_on_disk(["older"], {"older_shift": whole}) is None
    message = plugins.changed_mixers({"older_shift": "0" * 12}, ["older_shift"])
    assert "whose comments count in this old record" in str(message)


def test_a_node_refuses_a_run_if_its_code_of_the_mixer_differs(workspace):
    from ablations.scheduling.events import Refused
    from ablations.scheduling.ray.remote_job import RemoteJob, run_remote_job

    Path("there.py").write_text(SHIFT.format(name="there_shift", by=1))
    config = resolve("mini", {"model.token_mixers": "there_shift", "system.plugins": ["there"]})
    job = RemoteJob("key", config, ".", "runs", True, True, mixers={"there_shift": "ast:0"})
    event, files = run_remote_job(job, lambda message: None)
    assert isinstance(event, Refused)
    assert files is None
    assert "this node has other code of it than the runner" in event.reason


def test_a_changed_plugin_is_detected_without_importing_it(workspace):
    Path("unsafe.py").write_text("raise SystemExit('imported')\n")
    message = plugins.changed_mixers_on_disk(["unsafe"], {"unsafe_mixer": "ast:" + "0" * 12})
    assert message == "the code of its token mixer 'unsafe_mixer' has changed"
    assert "unsafe" not in sys.modules
    for odd in ("../unsafe", "unsafe.py", 7, None, "no_such_module"):
        assert plugins.changed_mixers_on_disk([odd], {"unsafe_mixer": "0"}) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such module in"),
        ("x = 1", "registers no token mixer"),
        ("x = ", "does not import: SyntaxError"),
        ("import no_such_package", "does not import: No module named 'no_such_package'"),
        ("raise RuntimeError('two\\nlines')", "does not import: RuntimeError: two lines"),
        ("raise SystemExit(3)", "does not import: SystemExit: 3"),
        (SHIFT.format(name="pool", by=1), "the token mixer 'pool' exists already"),
        (SHIFT.format(name="my mixer", by=1), "letters, digits and underscores"),
    ],
)
def test_an_unusable_plugin_gives_exit_code_2_and_one_line(text, message, workspace, capsys):
    if text is not None:
        Path("faulty.py").write_text(text)
    assert main(["train", "--plugins", "faulty", *SHORT]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("ablations: plugin faulty")
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
    assert not Path("runs").exists()
    assert str(workspace) not in sys.path or text is not None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "'' is not a module name"),
        ("./faulty", "'./faulty' is not a module name"),
        ("faulty.py", "'faulty.py' is not a module name"),
        ("json", "plugin json registers no token mixer"),
        ("no", "plugin no: no such module"),
    ],
)
def test_an_invalid_plugin_name_is_reported_in_one_line(name, message, capsys):
    assert main(["train", f"--plugins={name}", *SHORT]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "lambda config, stage: nn.MaxPool2d(2)",
            "keep the shape of its input: in stage 1, (2, 8,",
        ),
        ("lambda config, stage: nn.Linear(1, 1)", "fails in stage 1"),
        ("lambda config, stage: config.dim", "AttributeError: 'MetaFormerConfig' object has no"),
        ("lambda config, stage: abs", "it is a builtin_function_or_method, not a torch module"),
        ("lambda: nn.Identity()", "TypeError"),
    ],
)
def test_a_mixer_that_breaks_its_contract_is_reported_by_name(body, message, capsys):
    text = "from torch import nn\nfrom poolformer import register_mixer\n"
    Path("broken_mixer.py").write_text(f'{text}register_mixer("broken")({body})\n')
    words = ["--plugins=broken_mixer", "--model.token_mixers=broken", *SHORT]
    assert main(["profile", "--recipe=mini", *[w for w in words if "system" not in w]]) == 2
    err = capsys.readouterr().err
    assert "token mixer 'broken'" in err
    assert message in err
    assert err.count("\n") == 1


def test_plugins_can_be_listed_in_several_ways(capsys):
    for name in ("one", "two"):
        Path(f"{name}.py").write_text(SHIFT.format(name=f"shift_{name}", by=1))
    for words in (["--plugins", "one,two"], ["--system.plugins=['one', 'two']"]):
        assert main(["profile", "--recipe", "mini", "--model.token_mixers=shift_two", *words]) == 0
    assert "S12" in capsys.readouterr().out
    assert main(["profile", "--recipe", "mini", "--system.plugins", "one"]) == 2
    assert "is not a list of names" in capsys.readouterr().err


def test_defining_a_mixer_again_replaces_it():
    """As in a notebook, where a cell runs many times."""

    def define(scale):
        @register_mixer("scaled")
        def scaled(config, stage):
            return scale

        return scaled

    define(1)
    define(2)
    config = MetaFormerConfig(token_mixers="scaled")
    assert MIXERS["scaled"](config, 0) == 2
    assert MIXER_NAMES.count("scaled") == 1
    with pytest.raises(ConfigError, match="'scaled' exists already"):
        register_mixer("scaled")(lambda config, stage: None)
