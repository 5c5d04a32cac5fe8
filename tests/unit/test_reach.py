"""The meaning of answers from a public address: a router needs seconds to load a new Route or allow-list."""

import pytest

from deployer.core.status.reach import (
    ISSUE_SECONDS,
    RELOAD_SECONDS,
    STEADY_SECONDS,
    Answer,
    Asked,
    Course,
    Verdict,
    certificate_seconds,
    verdict,
)

SERVED, CLOSED, UNTRUSTED, OTHER = Answer
REACHED, SHUT_OUT, FAILED, AGAIN = Verdict
SOON, LATER = 0.5, RELOAD_SECONDS + 1


@pytest.mark.parametrize(
    ("asked", "certificate", "wanted"),
    [
        (Asked(SERVED, 0), 0, REACHED),
        (Asked(SERVED, 0, listed=True), 0, REACHED),
        # the list was replaced: the old list may still be in force
        (Asked(SERVED, SOON, listed=True, changed=SOON), 0, AGAIN),
        (Asked(SERVED, 0, listed=True, changed=SOON, turned=True), 0, REACHED),
        (Asked(SERVED, LATER, listed=True, changed=LATER), 0, REACHED),
        (Asked(SERVED, SOON, listed=False, changed=SOON), 0, AGAIN),
        # closed by the list, or by an earlier list
        (Asked(CLOSED, 0, listed=True), 0, AGAIN),
        (Asked(CLOSED, RELOAD_SECONDS - 1, listed=True), 0, AGAIN),
        (Asked(CLOSED, RELOAD_SECONDS, listed=True), 0, SHUT_OUT),
        (Asked(CLOSED, RELOAD_SECONDS - 1, listed=True, changed=RELOAD_SECONDS - 1), 0, AGAIN),
        (Asked(CLOSED, STEADY_SECONDS, listed=True, changed=SOON, turned=True), 0, SHUT_OUT),
        (Asked(CLOSED, SOON, listed=True, changed=SOON, turned=True), 0, AGAIN),
        (Asked(CLOSED, STEADY_SECONDS, listed=True, changed=LATER), 0, SHUT_OUT),
        (Asked(CLOSED, LATER), 0, AGAIN),
        # the 503 of a new Route
        (Asked(OTHER, LATER, listed=True), 0, AGAIN),
        (Asked(UNTRUSTED, 0), 0, FAILED),
        (Asked(UNTRUSTED, RELOAD_SECONDS - 1), RELOAD_SECONDS, AGAIN),
        (Asked(UNTRUSTED, LATER), RELOAD_SECONDS, FAILED),
        (Asked(UNTRUSTED, LATER), ISSUE_SECONDS, AGAIN),
    ],
)
def test_the_verdict_follows_from_the_answer_and_its_time(asked, certificate, wanted):
    assert verdict(asked, certificate) is wanted


def test_a_router_is_given_at_least_ten_seconds():
    assert RELOAD_SECONDS >= 10


@pytest.mark.parametrize(
    ("answers", "since", "turned"),
    [
        ([SERVED], 0, False),
        ([SERVED, SERVED, SERVED], 0, False),
        ([SERVED, SERVED, CLOSED, CLOSED], 2, True),
        ([CLOSED, SERVED, SERVED], 1, True),
        ([OTHER, SERVED], 1, False),
        ([OTHER, CLOSED], 1, False),
        ([CLOSED, OTHER, SERVED], 2, False),
        ([CLOSED, SERVED, OTHER, SERVED], 3, True),
    ],
)
def test_a_course_remembers_the_earlier_answers(answers, since, turned):
    course = Course(answers[0], 0)
    for now, answer in enumerate(answers[1:], 1):
        course = course.then(answer, now)
    assert course == Course(answers[-1], since, turned)


def exposed(kind, annotations=None, **spec):
    return {"kind": kind, "metadata": {"annotations": annotations} if annotations else {}, "spec": spec}


SECRET = [{"hosts": ["a"], "secretName": "a-tls"}]


@pytest.mark.parametrize(
    ("live", "seconds"),
    [
        (exposed("Ingress", tls=[{"hosts": ["a"]}]), 0),
        (exposed("Ingress"), 0),
        (exposed("Ingress", tls=SECRET), RELOAD_SECONDS),
        (exposed("Ingress", {"cert-manager.io/issuer": "a"}, tls=SECRET), ISSUE_SECONDS),
        (exposed("Ingress", {"cert-manager.io/cluster-issuer": "a"}), ISSUE_SECONDS),
        (exposed("Ingress", {"acme.cert-manager.io/http01-edit-in-place": "true"}), ISSUE_SECONDS),
        (exposed("Ingress", {"kubernetes.io/tls-acme": "true"}), ISSUE_SECONDS),
        (exposed("Ingress", {"traefik.ingress.kubernetes.io/router.tls.certresolver": "le"}), ISSUE_SECONDS),
        (exposed("Ingress", {"example.org/note": "cert-manager.io/issuer"}), 0),
        (exposed("Route"), RELOAD_SECONDS),
        (exposed("Route", {"cert-manager.io/issuer-name": "a"}), ISSUE_SECONDS),
        (exposed("HTTPRoute"), RELOAD_SECONDS),
        (None, RELOAD_SECONDS),
    ],
)
def test_the_wait_for_a_certificate_depends_on_the_exposure(live, seconds):
    assert certificate_seconds(live) == seconds
