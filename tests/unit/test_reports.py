"""The output of pytest is searched for secrets: an inner run has one secret in each place that pytest may print."""

import secrets
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
INNER = """
import os, sys, warnings
import pytest
from tests.support.witness import SESSION, Witness

CANARY = os.environ["CANARY"]
SESSION.learn("the canary", CANARY)

@pytest.fixture
def talkative():
    print("set up with", CANARY)
    yield
    print("torn down with", CANARY, file=sys.stderr)

def test_its_output_shows_it():
    print("https://admin:" + CANARY + "@host/")

def test_its_assertion_shows_it():
    assert CANARY == "nothing"

def test_its_traceback_shows_it():
    raise ValueError(f"'latin-1' codec can't encode {CANARY!r}")

def test_a_failure_among_its_output():
    print(CANARY)
    assert False

def test_its_fixture_shows_it(talkative):
    pass

@pytest.mark.xfail
def test_expected_to_fail_with_it():
    assert CANARY == "nothing"

def test_what_was_heard_before_it_was_known():
    above = Witness(SESSION)
    above.listen("a command")(os.environ["LATER"].encode())
    above.learn("the later canary", os.environ["LATER"])

def test_innocent():
    print("nothing to hide")
"""


@pytest.mark.parametrize("options", [(), ("--numprocesses", "2")], ids=["alone", "with workers"])
def test_a_canary_in_the_output_of_pytest_fails_the_test_and_is_not_printed(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    canaries = {"CANARY": secrets.token_urlsafe(24), "LATER": secrets.token_urlsafe(24)}
    (tmp_path / "test_inner.py").write_text(INNER)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.support.reports", "-rA", "--showlocals", *options, str(tmp_path)],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT), **canaries},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert not [name for name, canary in canaries.items() if canary in printed]
    assert done.returncode == 1
    lines = printed.splitlines()
    for test in INNER.split("def test_")[1:]:
        name = "test_" + test.partition("(")[0]
        passed = any(line.startswith("PASSED") and line.endswith(name) for line in lines)
        # the fixture shows its secret before and after the test; a secret that is known too late is reported at the end
        assert passed == (name in ("test_innocent", "test_what_was_heard_before_it_was_known")), (name, printed)
    assert "the later canary is in a command, raw, at byte 0" in printed
    assert "the canary is in" in printed
    assert "2 secrets looked for" in printed or options
