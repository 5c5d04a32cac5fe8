"""Error answers of an API server, in the words of Kubernetes, and the messages for users."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.cli.remedies import words
from deployer.core.errors import Conflict, DeployerError, Forbidden, NotFound, StateError
from deployer.core.remedies import Remedy
from deployer.kube.refusals import (
    Call,
    ClusterUnreachable,
    FieldsOwned,
    QuotaExceeded,
    Rejected,
    Unauthorized,
    Vanished,
    refusal,
    status_of,
)

from .strategies import hostile

CALL = Call("patch", "deployments.apps", "mlflow", "team-a")
CREATE = Call("create", "persistentvolumeclaims", "mlflow-data", "team-a")
LIST = Call("list", "pods", "", "team-a")
RBAC = (
    'deployments.apps "mlflow" is forbidden: User "system:serviceaccount:team-a:anna" cannot patch resource '
    '"deployments" in API group "apps" in the namespace "team-a"'
)
RBAC_CORE = 'pods is forbidden: User "anna" cannot list resource "pods" in API group "" in the namespace "team-a"'
RBAC_OTHER_VERB = RBAC.replace("cannot patch", "cannot create")
QUOTA = (
    'persistentvolumeclaims "mlflow-data" is forbidden: exceeded quota: storage, requested: requests.storage=10Gi, '
    "used: requests.storage=95Gi, limited: requests.storage=100Gi"
)
TERMINATING = (
    'deployments.apps "mlflow" is forbidden: unable to create new content in namespace team-a because it is being '
    "terminated"
)
POD_SECURITY = (
    'pods "mlflow" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false '
    '(container "server" must set securityContext.allowPrivilegeEscalation=false)'
)
LIMIT_RANGE = 'pods "mlflow" is forbidden: [maximum memory usage per Container is 1Gi, but limit is 4Gi]'
WEBHOOK = 'admission webhook "validate.kyverno.svc" denied the request: label team is required'
INVALID = 'Deployment.apps "mlflow" is invalid: spec.selector: Invalid value: {"matchLabels":{}}: field is immutable'
OWNED = [
    {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "kubectl-edit" using apps/v1',
        "field": ".spec.replicas",
    },
    {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "argocd-controller" using apps/v1',
        "field": '.spec.template.spec.containers[name="server"].image',
    },
]
STALE = (
    'Operation cannot be fulfilled on leases.coordination.k8s.io "mlflow-lock": the object has been modified; please '
    "apply your changes to the latest version and try again"
)


def answer(code, reason="", message="", **details):
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code}
    parts = {"reason": reason, "message": message, "details": details}
    return json.dumps({**status, **{key: value for key, value in parts.items() if value}}).encode()


CASES = {
    "credentials that ran out": (CALL, 401, "Unauthorized", "Unauthorized", {}, Unauthorized, 4, "credentials (401)"),
    "a right that is missing": (
        CALL,
        403,
        "Forbidden",
        RBAC,
        {},
        Forbidden,
        4,
        "you may not patch deployments.apps in namespace 'team-a'",
    ),
    "one of the core group": (
        LIST,
        403,
        "Forbidden",
        RBAC_CORE,
        {},
        Forbidden,
        4,
        "you may not list pods in namespace 'team-a'",
    ),
    "an apply that would create": (
        CALL,
        403,
        "Forbidden",
        RBAC_OTHER_VERB,
        {},
        Forbidden,
        4,
        "you may not create deployments.apps in",
    ),
    "no reason at all": (
        CALL,
        403,
        "Forbidden",
        "",
        {},
        Forbidden,
        4,
        "you may not patch deployments.apps in namespace 'team-a'",
    ),
    "quota": (CREATE, 403, "Forbidden", QUOTA, {}, QuotaExceeded, 4, "the quota of namespace 'team-a' has no room: "),
    "a namespace that goes": (
        CALL,
        403,
        "Forbidden",
        TERMINATING,
        {},
        Conflict,
        5,
        "namespace 'team-a' is being deleted",
    ),
    "PodSecurity": (CALL, 403, "Forbidden", POD_SECURITY, {}, Rejected, 1, "violates PodSecurity"),
    "a LimitRange": (CALL, 403, "Forbidden", LIMIT_RANGE, {}, Rejected, 1, "maximum memory usage per Container is 1Gi"),
    "a webhook that forbids": (CALL, 403, "Forbidden", WEBHOOK, {}, Rejected, 1, "label team is required"),
    "a webhook that refuses": (CALL, 400, "BadRequest", WEBHOOK, {}, Rejected, 1, "label team is required"),
    "an object that is wrong": (CALL, 422, "Invalid", INVALID, {}, Rejected, 1, "field is immutable"),
    "a form nobody takes": (CALL, 415, "UnsupportedMediaType", "no", {}, Rejected, 1, "cannot patch deployments.apps"),
    "a verb nobody takes": (CALL, 405, "MethodNotAllowed", "", {}, Rejected, 1, "HTTP 405"),
    "no such object": (
        CALL,
        404,
        "NotFound",
        'deployments.apps "mlflow" not found',
        {"kind": "deployments"},
        Vanished,
        1,
        "not found",
    ),
    "no such kind": (CALL, 404, "NotFound", "", {}, Vanished, 1, "the cluster does not know this kind of object"),
    "no such namespace": (
        CREATE,
        404,
        "NotFound",
        'namespaces "team-a" not found',
        {"kind": "namespaces"},
        Vanished,
        1,
        "there is no namespace 'team-a'",
    ),
    "an object that is there": (
        CREATE,
        409,
        "AlreadyExists",
        'persistentvolumeclaims "mlflow-data" already exists',
        {},
        Conflict,
        5,
        "already exists",
    ),
    "a version that is old": (CALL, 409, "Conflict", STALE, {}, Conflict, 5, "the object has been modified"),
    "fields of others": (
        CALL,
        409,
        "Conflict",
        "Apply failed with 2 conflicts",
        {"causes": OWNED},
        FieldsOwned,
        5,
        '.spec.replicas belongs to "kubectl-edit" using apps/v1; .spec.template',
    ),
    "a field that there is not": (
        CALL,
        500,
        "",
        "failed to create typed patch object (a/mlflow; /v1, Kind=Service): .spec.prots: field not declared in schema",
        {},
        Rejected,
        1,
        ".spec.prots: field not declared",
    ),
    "too many requests": (
        CALL,
        429,
        "TooManyRequests",
        "try again later",
        {},
        ClusterUnreachable,
        1,
        "try again later",
    ),
    "an error of its own": (
        CALL,
        500,
        "InternalError",
        "etcdserver: request timed out",
        {},
        ClusterUnreachable,
        1,
        "etcdserver: request timed out",
    ),
    "a webhook that is not there": (
        CALL,
        500,
        "InternalError",
        'failed calling webhook "a"',
        {},
        ClusterUnreachable,
        1,
        "failed calling webhook",
    ),
    "not now": (CALL, 503, "ServiceUnavailable", "", {}, ClusterUnreachable, 1, "HTTP 503"),
    "too slow": (CALL, 504, "Timeout", "", {}, ClusterUnreachable, 1, "HTTP 504"),
    "another address": (CALL, 302, "", "", {}, ClusterUnreachable, 1, "HTTP 302"),
}


@pytest.mark.parametrize("case", CASES)
def test_every_refusal_is_an_error_with_its_exit_code_and_a_hint(case):
    call, code, reason, message, details, kind, exit_code, shown = CASES[case]
    error = refusal(code, answer(code, reason, message, **details), call)
    assert (type(error), error.exit_code) == (kind, exit_code)
    assert shown in error.message
    assert error.hint or kind in (Rejected, Vanished)


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case not in ("credentials that ran out", "a namespace that goes", "quota")],
)
def test_every_refusal_names_the_namespace_and_the_action(case):
    call, code, reason, message, details, *_ = CASES[case]
    shown = refusal(code, answer(code, reason, message, **details), call).message
    assert repr(call.namespace) in shown
    if case not in ("no such namespace", "an apply that would create"):
        assert f"{call.verb} {call.resource}" in shown


def test_a_conflict_names_every_owner_and_field_and_how_to_overwrite_them():
    error = refusal(409, answer(409, "Conflict", "Apply failed with 2 conflicts", causes=OWNED), CALL)
    assert 'containers[name="server"].image belongs to "argocd-controller" using apps/v1' in error.message
    assert "conflict with" not in error.message
    assert error.hint is Remedy.OVERWRITE_FIELDS


ROUTE = Call("patch", "routes.route.openshift.io", "mlflow", "team-a")


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        (CALL, INVALID, "a patch in it"),
        (
            ROUTE,
            f'spec.host: Invalid value: "{"m" * 64}.a.org": must be no more than 63 characters',
            Remedy.CHOOSE_HOST,
        ),
        (
            ROUTE,
            "spec.host: Forbidden: you do not have permission to set the host field of the route",
            Remedy.LEAVE_HOST_OUT,
        ),
    ],
)
def test_an_invalid_object_has_a_hint(call, message, hint):
    assert words(hint) in words(refusal(422, answer(422, "Invalid", message), call).hint)


@pytest.mark.parametrize("causes", [None, [], [{"reason": "FieldValueInvalid", "message": "a", "field": "b"}]])
def test_a_conflict_without_fields_quotes_the_cluster(causes):
    error = refusal(409, answer(409, "Conflict", STALE, causes=causes), CALL)
    assert STALE in error.message
    assert error.hint is not Remedy.OVERWRITE_FIELDS


@pytest.mark.parametrize(
    ("kind", "base"),
    [(Unauthorized, Forbidden), (QuotaExceeded, Forbidden), (Rejected, StateError), (Vanished, NotFound)],
)
def test_a_refusal_is_a_subclass_of_the_error_with_its_exit_code(kind, base):
    assert issubclass(kind, base)
    assert kind.exit_code == base.exit_code


BODIES = [
    *(b"", b"<html>S3cret</html>", b"S3cret", b"\xffS3cret", b'"S3cret"', b"[1, 2]", b"null", b"{S3cret", b"5"),
    b'{"kind": "Secret", "data": {"message": "S3cret"}, "message": "S3cret", "reason": "S3cret"}',
    b'{"message": "S3cret", "details": {"causes": [{"message": "S3cret"}]}}',
]
CODES = (301, 400, 401, 403, 404, 405, 409, 410, 415, 422, 429, 500, 502, 503, 504)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("code", CODES)
def test_a_body_that_is_not_a_status_is_never_shown(code, body):
    error = refusal(code, body, CALL)
    assert isinstance(error, DeployerError)
    assert status_of(body) == {}
    assert "S3cret" not in f"{error.message}{error.hint}{error!r}"
    assert error.message


@given(st.sampled_from(CODES), st.one_of(st.binary(), hostile.map(str.encode)))
def test_any_body_with_any_code_is_a_printable_error(code, body):
    error = refusal(code, body, CALL)
    assert isinstance(error, DeployerError)
    assert error.message.isprintable()


@given(st.sampled_from(CODES), hostile, hostile, hostile, hostile)
def test_any_text_of_a_cluster_becomes_one_printable_line(code, reason, message, field, owner):
    causes = [{"reason": "FieldManagerConflict", "field": field, "message": owner}]
    for why in (reason, "Conflict"):
        error = refusal(code, answer(code, why, message, causes=causes), CALL)
        assert error.message.isprintable()


def test_a_call_without_a_name_describes_all_objects_of_its_kind():
    assert str(LIST) == "list pods in 'team-a'"
    assert str(CALL) == "patch deployments.apps 'mlflow' in namespace 'team-a'"


def test_a_conflict_lists_the_field_managers():
    error = refusal(409, answer(409, "Conflict", "Apply failed with 2 conflicts", causes=OWNED), CALL)
    assert isinstance(error, FieldsOwned)
    assert error.managers == {"kubectl-edit", "argocd-controller"}
