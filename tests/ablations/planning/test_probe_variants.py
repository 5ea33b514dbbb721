"""Which variants are probed, and how the others are estimated."""

from __future__ import annotations

import json

import pytest

from ablations.cli.main import main
from ablations.planning import probe_variants
from ablations.planning.probe import Measurement
from ablations.training.cost import model_cost
from tests.factories.plans import CPU


@pytest.fixture
def slow_probes(monkeypatch):
    """``slow_probes(seconds, image_seconds)``: probes that take a while, with these results."""

    def make(seconds: float, image_seconds: float) -> None:
        class Clock:
            now = 0.0

        def probes(jobs, at_once, gpus):
            for name, (config, _) in jobs.items():
                Clock.now += seconds
                cost = model_cost(config.model)
                yield (
                    name,
                    Measurement(
                        cost, CPU, 4, image_seconds, image_seconds, 1000, 3000, True, 1.0, seconds
                    ),
                )

        monkeypatch.setattr(probe_variants.time, "monotonic", lambda: Clock.now)
        monkeypatch.setattr(probe_variants, "measure_in_processes", probes)

    return make


def test_probes_that_take_over_a_tenth_of_the_planned_time_warn(slow_probes, tmp_path, capsys):
    """Four variants, two seeds, 3 epochs of 10,000 images of 1 ms: 240 s in all."""
    arguments = ["plan", "sweeps/pool_size.yaml", "--recipe=mini", "--seeds=0,1", "--workers=1"]
    arguments += ["--results", str(tmp_path), "--optim.epochs=3", "--optim.warmup_epochs=0"]
    for seconds, message in ((5.0, False), (7.0, True)):
        slow_probes(seconds, 0.001)
        assert main(arguments) == 0
        err = capsys.readouterr().err
        assert ("more than a tenth" in err) == message
    assert "probing 4 variants takes about 28 s, more than a tenth of the 4" in err
    assert "--probes 1" in err
    assert len(err.splitlines()) == 1


def test_variants_that_are_not_probed_are_estimated_by_their_macs(slow_probes, tmp_path, capsys):
    slow_probes(1.0, 0.001)
    arguments = [
        "sweeps/token_mixer.yaml",
        "--recipe=mini",
        "--seeds=0",
        "--results",
        str(tmp_path),
    ]
    assert main(["plan", *arguments, "--probes=1", "--json"]) == 0
    base, *others = json.loads(capsys.readouterr().out)["variants"]
    assert base["probed"]
    assert others
    for each in others:
        assert not each["probed"]
        ratio = each["macs"] / base["macs"]
        assert each["step_seconds"] == pytest.approx(base["step_seconds"] * ratio)
        assert each["params"] != 0
    assert main(["plan", *arguments, "--probes=1"]) == 0
    message = (
        f"{len(others)} variants not probed (--probes): estimated from the others by their MACs"
    )
    assert message in " ".join(capsys.readouterr().out.split())
    assert main(["plan", *arguments, "--probes=0"]) == 2
    assert "--probes: '0' must be a whole number" in capsys.readouterr().err
