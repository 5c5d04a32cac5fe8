"""Each refusal has its own message: who refuses, and what to do next."""

from __future__ import annotations

import pytest

from deployer.tracking.client import Refused
from deployer.tracking.refusals import meaning

CASES = [
    (Refused(401, "You are not authenticated."), "does not accept this user name or password"),
    (Refused(403, "Invalid Host header - possible DNS rebinding attack detected"), "MLFLOW_SERVER_ALLOWED_HOSTS"),
    (Refused(403, "Cross-origin request blocked"), "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"),
    (Refused(403, "Permission denied"), "this user may not do that"),
    (Refused(403, "No way", "PERMISSION_DENIED"), "this user may not do that"),
    (Refused(403, "<html>Forbidden</html>"), "not MLflow itself"),
    (Refused(403, ""), "not MLflow itself"),
    (Refused(407, ""), "wants a login of its own"),
    (Refused(302, ""), "leads on to another one"),
    (Refused(404, ""), "no MLflow with a login"),
    (Refused(503, "Application is not available"), "HTTP 503: Application is not available"),
]


@pytest.mark.parametrize(("refused", "words"), CASES)
def test_a_refusal_says_who_refuses_and_what_to_do_next(refused: Refused, words: str) -> None:
    said = meaning(refused)
    assert words in said.message
    assert said.hint


def test_no_two_kinds_of_403_read_alike() -> None:
    assert len({meaning(refused).message for refused, _ in CASES if refused.status == 403}) == 4
