"""Headless Chromium, for tests of the web pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.testbed import packages

SECONDS = 120
WINDOW = {"width": 1280, "height": 800}
PROGRAM = Path(packages.BROWSER["chromium"])


def ensure() -> None:
    """Install Chromium if it is missing."""
    if not PROGRAM.exists() and os.geteuid() != 0:
        pytest.skip("Chromium is not installed, and only root may install it")
    packages.install(packages.BROWSER)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium until the block ends."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
