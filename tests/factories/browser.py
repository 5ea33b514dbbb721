"""The browser that some tests need."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


NO_BROWSER = "install chromium and chromedriver (Debian: apt install chromium chromium-driver)"
