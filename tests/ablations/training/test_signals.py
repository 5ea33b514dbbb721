"""Signals end a run in an orderly way; ignored signals stay ignored."""

from __future__ import annotations

import os
import signal

import pytest

from ablations.training.signals import Interrupted, Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_with_its_code(number):
    signals = Signals()
    with pytest.raises(Interrupted) as stopped, signals.handled():
        signal.raise_signal(number)
    assert stopped.value.code == 128 + number


def test_a_repeated_sighup_is_deferred_too():
    signals = Signals()
    with signals.handled():
        with signals.deferred():
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(Interrupted):
            signals.check()


def test_an_ignored_sighup_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signals = Signals()
        with signals.handled():
            os.kill(os.getpid(), signal.SIGHUP)
            signals.check()
    finally:
        signal.signal(signal.SIGHUP, before)
