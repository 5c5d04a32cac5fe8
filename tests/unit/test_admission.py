"""Whether a controller serves an Ingress, HTTPRoute or Route, read from objects in the form of the API."""

import pytest

from deployer.core.remedies import Remedy
from deployer.core.status.admission import http_route_problem, ingress_problem, route_state


def ingress(of_class="nginx", served=False):
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}} if served else {"loadBalancer": {}}
    return {"metadata": {"name": "mlflow"}, "spec": {"ingressClassName": of_class}, "status": status}


def test_an_ingress_without_a_controller_is_reported_with_its_class():
    assert ingress_problem(ingress(served=True)) is None
    assert "of class 'nginx'" in ingress_problem(ingress()).reason
    assert "names no class" in ingress_problem(ingress(None)).reason
    assert ingress_problem({"metadata": {"name": "mlflow"}, "spec": {}}).hint is Remedy.CHOOSE_INGRESS_CLASS


def test_the_gateway_s_reason_for_refusing_an_http_route_is_quoted():
    spec = {"parentRefs": [{"namespace": "ingress", "name": "shared"}]}

    def route(*conditions):
        return {"spec": spec, "status": {"parents": [{"conditions": list(conditions)}] if conditions else []}}

    taken = {"type": "Accepted", "status": "True"}
    assert http_route_problem(route(taken)) is None
    assert "no controller has accepted the HTTPRoute to Gateway ingress/shared" in http_route_problem(route()).reason
    refused = {"status": "False", "reason": "NotAllowedByListeners", "message": "other\nnamespaces"}
    assert "(NotAllowedByListeners: other\\nnamespaces)" in http_route_problem(route(taken, refused)).reason


HOST = "mlflow-team-a.apps.example.org"


def verdict(status, host=HOST, reason=None, **more):
    """Return a router's status of a Route (route.openshift.io/v1, RouteIngress)."""
    condition = {"type": "Admitted", "status": status, "reason": reason, "message": "because\nof it"}
    return {"host": host, "conditions": [{"type": "Other", "status": "True"}, condition], **more}


@pytest.mark.parametrize(
    ("ingress", "host", "problem", "hint"),
    [
        ([], None, None, None),
        ([{"host": HOST}], None, None, None),
        ([verdict("True", routerCanonicalHostname="router.example.org")], HOST, None, None),
        ([verdict("True", host="older.example.org")], None, None, None),
        ([verdict("False", reason="NoGood")], None, "(NoGood: because\\nof it)", Remedy.ASK_OR_CHOOSE_EXPOSURE),
        (
            [verdict("False", reason="HostAlreadyClaimed")],
            None,
            "HostAlreadyClaimed",
            Remedy.CHOOSE_OTHER_HOST_OR_NAME,
        ),
        ([verdict("False", reason="NoGood"), verdict("True")], HOST, None, None),
    ],
)
def test_the_state_of_a_route_comes_from_its_routers(ingress, host, problem, hint):
    state = route_state({"spec": {"host": HOST}, "status": {"ingress": ingress}})
    assert state.host == host
    assert (state.problem is None) == (problem is None)
    if state.problem:
        assert problem in state.problem.reason
        assert hint is state.problem.hint
    assert state.cname == (ingress[-1].get("routerCanonicalHostname") if host else None)
