"""What the tests of several data sources share."""

from __future__ import annotations

import pytest


@pytest.fixture
def no_network(monkeypatch):
    """Downloads fail, as on a cluster node without access to the internet."""

    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
