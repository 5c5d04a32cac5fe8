"""Logs in to a server with a browser, opens a run and saves screenshots, like a person.

Run it as a program in a network that resolves the server's name: `browser.py ADDRESS EXPERIMENT_ID RUN FOLDER`, with
the login in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Error

from tests.support.browser import SECONDS, WINDOW, chromium, ensure

EXPERIMENT = "digits"


def prepare(home: Path, ca_file: Path) -> None:
    """Install Chromium if necessary, and let the user with this home trust a certificate authority."""
    ensure()
    # Chromium reads the first folder; since release 143 it reads the second
    for folder in (home / ".pki" / "nssdb", home / ".local" / "share" / "pki" / "nssdb"):
        folder.mkdir(parents=True)
        certutil = ["certutil", "-d", f"sql:{folder}"]
        subprocess.run([*certutil, "-N", "--empty-password"], check=True, timeout=60)
        subprocess.run([*certutil, "-A", "-t", "C,,", "-n", "test", "-i", str(ca_file)], check=True, timeout=60)


def main(address: str, experiment: str, run: str, folder: str) -> None:
    login = {"username": os.environ["MLFLOW_TRACKING_USERNAME"], "password": os.environ["MLFLOW_TRACKING_PASSWORD"]}
    with chromium() as browser:
        try:
            browser.new_page().goto(address, timeout=SECONDS * 1000)
        except Error as error:  # a headless browser fails where others would ask for a login
            print("stranger", re.search("ERR_[A-Z_]+", error.message)[0])
        page = browser.new_context(http_credentials=login, viewport=WINDOW).new_page()
        page.set_default_timeout(SECONDS * 1000)
        answer = page.goto(address)
        print("member", answer.status if answer else None)
        page.get_by_role("link", name=EXPERIMENT, exact=True).first.wait_for()
        page.screenshot(path=f"{folder}/home.png")
        page.goto(f"{address}/#/experiments/{experiment}/runs")
        page.get_by_text(run, exact=True).first.click()
        page.get_by_text("loss").first.wait_for()
        page.screenshot(path=f"{folder}/run.png")
        print("seen", run)


if __name__ == "__main__":
    main(*sys.argv[1:])
