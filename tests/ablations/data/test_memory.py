"""Images that do not fit into memory: the error says what to do, the failure kind is oom."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ablations import data
from ablations.config.resolve import resolve
from ablations.data import batches, memory
from ablations.data.batches import create_loaders, create_validation_loader
from ablations.errors import DataError, InsufficientMemoryError
from ablations.scheduling.events import OutOfMemory
from ablations.scheduling.local_worker import train_run
from ablations.training.error_summary import failure_kind, summarize_error


@pytest.fixture
def folder_config(image_folder):
    values = {"data.root": str(image_folder), "data.name": "folder", "data.image_size": 32}
    return resolve("imagenet", {**values, "data.batch_size": 8, "model.num_classes": 3}).data


@pytest.mark.parametrize("fit", ["pad", "resize"])
@pytest.mark.parametrize("size", [40_000, 10**9])
def test_images_that_do_not_fit_into_memory_are_refused_before_allocation(fit, size):
    config = resolve("mini", {"data.fit": fit, "data.image_size": size}).data
    with pytest.raises(InsufficientMemoryError, match=f"8000 images .* {size} take .*B of memory"):
        create_loaders(data.load_dataset(config), config, seed=0)
    with pytest.raises(InsufficientMemoryError, match=f"2000 images of mini at {size}"):
        create_validation_loader(data.load_dataset(config), config)


def test_a_failed_allocation_is_reported_in_one_line(monkeypatch):
    monkeypatch.setattr(batches, "check_memory", lambda *_: None)
    config = resolve("mini", {"data.image_size": 40_000}).data
    with pytest.raises(InsufficientMemoryError, match="image_size 40000: .*llocat") as caught:
        create_loaders(data.load_dataset(config), config, seed=0)
    assert "\n" not in str(caught.value)
    assert failure_kind(caught.value) == "oom"


def test_a_run_whose_images_do_not_fit_into_memory_fails_as_oom(tmp_path):
    config = resolve("mini", {"data.image_size": 40_000, "system.tracker": "none"})
    event = train_run(config, tmp_path, True, lambda _: None)
    assert isinstance(event, OutOfMemory)
    assert "8000 images of mini at 40000" in event.reason


def test_a_data_source_that_does_not_fit_into_memory_is_reported(monkeypatch):
    def refuse(*_):
        return np.empty(2**62, np.uint8)

    monkeypatch.setattr(data, "_load", refuse)
    with pytest.raises(InsufficientMemoryError, match="images of mini: Unable to allocate 4"):
        data.load_dataset(resolve("mini").data)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
        RuntimeError("Storage size calculation overflowed with sizes=[8000, 1, 10, 10]"),
        RuntimeError(
            "Caught _ArrayMemoryError in DataLoader worker process 0.\nOriginal Traceback:\n"
            "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 4.00 EiB for an array"
        ),
        RuntimeError(
            "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback:\n"
            "RuntimeError: unable to allocate shared memory(shm) for file </torch_1>: No space left"
        ),
    ],
    ids=lambda error: str(error)[-20:],
)
def test_every_out_of_memory_error_is_recognised(error):
    assert failure_kind(error) == "oom"
    assert "\n" not in summarize_error(error)
    with pytest.raises(InsufficientMemoryError), memory.memory_guard("x"):
        raise error


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), RuntimeError("shape"), KeyError(1)]
)
def test_other_errors_pass_unchanged(error):
    assert failure_kind(error) == "error"
    with pytest.raises(type(error)) as caught, memory.memory_guard("x"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("signal", "kind", "message"),
    [
        ("Bus error", "oom", "--system.loader_workers 0, or a larger /dev/shm"),
        ("Killed", "killed", "a loader process was killed by signal: Killed"),
        ("", "killed", "a loader process ended unexpectedly"),
    ],
)
def test_killed_loader_processes_are_reported_with_their_signal(signal, kind, message):
    before = f"DataLoader worker (pid 7) is killed by signal: {signal}. It is"
    error = RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")
    error.__cause__ = RuntimeError(before if signal else "Empty")
    assert failure_kind(error) == kind
    assert message in summarize_error(error)
    with pytest.raises(DataError, match="x: "), memory.memory_guard("x"):
        raise error


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(("free", "fit"), [(0, 0), (1_300_000, 0), (1_450_000, 1)])
def test_loader_processes_are_limited_by_shared_memory(
    folder_config, monkeypatch, caplog, free, fit
):
    monkeypatch.setattr(batches, "usable_cores", lambda: 3)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    memory._warn_once.cache_clear()
    dataset = data.load_dataset(folder_config)
    assert create_loaders(dataset, folder_config, seed=0, workers=0)[0].num_workers == 0
    assert not caplog.records
    for _ in range(2):
        assert create_loaders(dataset, folder_config, seed=0, workers=3)[0].num_workers == fit
    messages = [record.getMessage() for record in caplog.records]
    assert len(set(messages)) == len(messages)
    for words in (f"using {fit} of them", "--shm-size", f"--system.loader_workers {fit}"):
        assert words in messages[0]


def test_unknown_memory_is_not_checked(folder_config, monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "SHARED_MEMORY", tmp_path / "none")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(memory, "control_groups", lambda _: [tmp_path / "none"])
    assert memory.available_memory() is None
    memory.check_memory(10**30, "x")
    create_loaders(
        data.load_dataset(folder_config), replace(folder_config, image_size=40), seed=0, workers=1
    )


@pytest.mark.parametrize("name", memory._LIMIT_FILES)
def test_the_memory_limit_of_a_container_counts(monkeypatch, tmp_path, name):
    groups = [tmp_path / "inner", tmp_path / "outer"]
    for group, text in zip(groups, ("max\n", "1000\n"), strict=True):
        group.mkdir()
        (group / name).write_text(text)
    monkeypatch.setattr(memory, "control_groups", lambda _: groups)
    assert memory.available_memory() == 1000
    monkeypatch.setattr(memory, "control_groups", lambda _: groups[:1])
    assert memory.available_memory() > 1000
