"""The result of a proof: a failed check has a hint, and the output shows the hint beside the check."""

from __future__ import annotations

import pytest

from deployer.cli.output import print_report, report_document
from deployer.core.errors import VerificationFailed
from deployer.core.remedies import Remedy
from deployer.tracking.report import LOGIN, Check, Report

SENT = Check("artifact written", False, "the store does not answer", hint=Remedy.SEND_THROUGH_SERVER)
REJECTED = Check(LOGIN, False, "not accepted", hint="check both")
ADVICE = "--transfer proxied sends everything through the server"


@pytest.mark.parametrize(
    ("check", "hint"), [(SENT, Remedy.SEND_THROUGH_SERVER), (REJECTED, "check both"), (Check("a", False, "b"), None)]
)
def test_a_failed_check_gives_its_hint_to_the_error(check: Check, hint: object) -> None:
    with pytest.raises(VerificationFailed) as failed:
        Report((check,)).require()
    assert (failed.value.message, failed.value.hint) == (f"{check.name}: {check.detail}", hint)


@pytest.mark.parametrize(("check", "hint"), [(SENT, Remedy.SEND_THROUGH_SERVER), (REJECTED, Remedy.ADD_RECOVER)])
def test_a_caller_can_replace_only_the_hint_of_a_rejected_login(check: Check, hint: object) -> None:
    with pytest.raises(VerificationFailed) as failed:
        Report((check,)).require(lambda: Remedy.ADD_RECOVER)
    assert failed.value.hint is hint


def test_the_output_shows_the_hint_of_a_check_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report((Check("reachable", True, "OK"), SENT))
    print_report(report)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith(f"{SENT.name}  {SENT.detail}; {ADVICE}")
    assert [check["detail"] for check in report_document(report)] == ["OK", f"{SENT.detail}; {ADVICE}"]
