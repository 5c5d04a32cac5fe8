"""MLflow's pages on a server of deployer, in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Page

from tests.support import browser
from tests.support.load import API
from tests.support.machine import Machine

NEW = "a-password-chosen-at-the-browser"
REFUSED = "You are not authenticated"
HOME = "Welcome to MLflow"


class Person:
    """A user of a page: answers each prompt with the next login in `types`, or cancels the prompt without any."""

    def __init__(self, page: Page, pictures: Path) -> None:
        self.page = page
        self.types: list[tuple[str, str]] = []
        self._pictures = pictures
        # a headless browser shows no prompt: it asks the client of its DevTools protocol
        self._protocol = page.context.new_cdp_session(page)
        self._protocol.on("Fetch.requestPaused", self._go_on)
        self._protocol.on("Fetch.authRequired", self._answer)
        self._protocol.send("Fetch.enable", {"handleAuthRequests": True})

    def _go_on(self, event: dict[str, Any]) -> None:
        self._protocol.send("Fetch.continueRequest", {"requestId": event["requestId"]})

    def _answer(self, event: dict[str, Any]) -> None:
        answer = {"response": "CancelAuth"}
        if self.types:
            username, password = self.types.pop(0)
            answer = {"response": "ProvideCredentials", "username": username, "password": password}
        self._protocol.send(
            "Fetch.continueWithAuth", {"requestId": event["requestId"], "authChallengeResponse": answer}
        )

    def sees(self, text: str, picture: str) -> None:
        """Wait for a text, and store a screenshot of the page."""
        # match headings exactly: the closed panel of MLflow's assistant also contains "welcome"
        self.page.get_by_text(text, exact=text == HOME).first.wait_for()
        self.page.screenshot(path=self._pictures / f"{picture}.png")

    def opens_the_menu(self) -> None:
        """Open the menu with the user's name."""
        self.page.get_by_role("button", name="admin").click()


def test_a_person_logs_in_changes_the_password_and_logs_out(machine: Machine, tmp_path: Path) -> None:
    browser.ensure()
    address = machine.create()["address"]
    old = machine.password()
    machine.witness.learn("the password chosen at the browser", NEW)
    with browser.chromium() as chromium:
        page = chromium.new_context(viewport=browser.WINDOW).new_page()
        page.set_default_timeout(browser.SECONDS * 1000)
        person = Person(page, tmp_path)
        page.goto(address)
        person.sees(REFUSED, "1-cancelled")

        person.types = [("admin", "mistyped"), ("admin", old)]
        page.goto(address)
        person.sees(HOME, "2-home")
        assert person.types == []
        person.opens_the_menu()
        person.sees("Logout", "3-menu")

        page.get_by_role("menuitem", name="Account").click()
        person.sees("Logged in as admin", "4-account")
        page.get_by_role("button", name="Change password").click()
        page.get_by_placeholder("Enter current password").fill("mistyped")
        page.get_by_placeholder("Enter new password").fill(NEW)
        page.get_by_placeholder("Confirm new password").fill(NEW)
        page.get_by_role("button", name="Update password").click()
        person.sees("Current password does not match", "5-mistyped")
        page.get_by_placeholder("Enter current password").fill(old)
        person.types = [("admin", old), ("admin", NEW)]
        page.get_by_role("button", name="Update password").click()
        person.sees(HOME, "6-changed")
        assert person.types == []

        person.opens_the_menu()
        page.get_by_role("menuitem", name="Logout").click()
        person.sees(REFUSED, "7-logged-out")
        page.goto(address)
        person.sees(REFUSED, "8-still-out")
    for password, status in ((old, 401), (NEW, 200)):
        assert (
            requests.get(f"{address}/{API}/users/current", auth=("admin", password), timeout=60).status_code == status
        )
