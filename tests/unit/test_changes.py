import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.manifests.changes import Change, foreign_changes, is_fixed, object_changes, spec_changes
from deployer.core.manifests.manifest import ref_of
from deployer.core.spec import document

from .strategies import HEADER, hostile, patch_values, specs


def spec(**parts):
    return document.validate({**HEADER, **parts}, "file")


@given(specs())
def test_a_spec_does_not_differ_from_itself(one):
    assert spec_changes(one, one) == ()


@given(specs(), specs())
def test_changes_are_reported_exactly_if_two_specs_differ(one, other):
    changes = spec_changes(one, other)
    assert (changes == ()) == (one == other)
    assert all(change.before != change.after for change in changes)


@given(specs(), specs())
def test_comparing_in_reverse_order_reverses_each_change(one, other):
    there = spec_changes(one, other)
    assert spec_changes(other, one) == tuple(Change(c.path, c.after, c.before) for c in there)


def test_a_change_is_named_by_its_path_with_both_values():
    before, after = spec(), spec(spec={"auth": {"defaultPermission": "READ"}, "volume": {"storageClass": "fast"}})
    assert [str(change) for change in spec_changes(before, after)] == [
        'spec.auth.defaultPermission: "NO_PERMISSIONS" -> "READ"',
        'spec.volume.storageClass: (not set) -> "fast"',
    ]


def test_a_removed_label_is_a_change():
    before, after = spec(metadata={"labels": {"team": "a", "kept": ""}}), spec(metadata={"labels": {"kept": ""}})
    assert [str(change) for change in spec_changes(before, after)] == ['metadata.labels.team: "a" -> (not set)']


def test_another_type_of_exposure_is_one_change():
    (change,) = spec_changes(spec(), spec(spec={"exposure": {"type": "none"}}))
    assert (change.path, change.before, change.after) == ("spec.exposure", None, {"type": "none"})


def patched(patch):
    return spec(spec={"patches": [{"kind": "Deployment", "patch": patch}]})


def test_a_patch_with_null_differs_from_a_patch_without_the_field():
    assert spec_changes(patched({"spec": {"replicas": None}}), patched({"spec": {}})) != ()


def test_a_patch_without_a_name_is_not_shown_as_named_none():
    (change,) = spec_changes(spec(), patched({"spec": {}}))
    assert change.path == "spec.patches"
    (change,) = spec_changes(patched({"spec": {"replicas": 1}}), patched({"spec": {"replicas": 2}}))
    assert "None" not in change.path


DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "mlflow",
        "namespace": "team-a",
        "uid": "4d1c",
        "resourceVersion": "71",
        "generation": 3,
        "creationTimestamp": "2026-11-21T12:00:00Z",
        "managedFields": [{"manager": "mlflow-deployer", "operation": "Apply"}],
        "labels": {"team": "a"},
    },
    "spec": {
        "replicas": 1,
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "server",
                        "image": "a:1",
                        "args": ["a", "b"],
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                        "volumeMounts": [{"name": "data", "mountPath": "/a"}, {"name": "data", "mountPath": "/b"}],
                        "ports": [{"containerPort": 5000}],
                    }
                ],
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
            }
        },
    },
    "status": {"readyReplicas": 1, "observedGeneration": 3},
}
CONTAINER = "Deployment/mlflow spec.template.spec.containers[server]"

MOUNTS = '[{"name": "data", "mountPath": "/a"}, {"name": "data", "mountPath": "/%s"}]'


def container(made):
    return made["spec"]["template"]["spec"]["containers"][0]


def changed(change, base=DEPLOYMENT):
    """Return the shown changes after `change` has modified a copy of the object."""
    after = copy.deepcopy(base)
    change(after)
    return [str(each) for each in object_changes(ref_of(base), base, after)]


CHANGES = {
    "replicas": (lambda made: made["spec"].update(replicas=0), "Deployment/mlflow spec.replicas: 1 -> 0"),
    "a label": (
        lambda made: made["metadata"]["labels"].clear(),
        'Deployment/mlflow metadata.labels.team: "a" -> (not set)',
    ),
    "all labels": (
        lambda made: made["metadata"].pop("labels"),
        'Deployment/mlflow metadata.labels: {"team": "a"} -> (not set)',
    ),
    "an image": (lambda made: container(made).update(image="a:2"), f'{CONTAINER}.image: "a:1" -> "a:2"'),
    "a variable": (lambda made: container(made)["env"][1].update(value="3"), f'{CONTAINER}.env[B].value: "2" -> "3"'),
    "a variable that goes": (
        lambda made: container(made)["env"].pop(0),
        f'{CONTAINER}.env[A]: {{"name": "A", "value": "1"}} -> (not set)',
    ),
    "a new variable": (
        lambda made: container(made)["env"].insert(0, {"name": "C"}),
        f'{CONTAINER}.env[C]: (not set) -> {{"name": "C"}}',
    ),
    "another order": (
        lambda made: container(made)["env"].reverse(),
        f'{CONTAINER}.env: ["A", "B"] -> ["B", "A"]',
    ),
    "an argument": (lambda made: container(made).update(args=["a"]), f'{CONTAINER}.args: ["a", "b"] -> ["a"]'),
    "a port, which has no name": (
        lambda made: container(made)["ports"][0].update(containerPort=80),
        f'{CONTAINER}.ports: [{{"containerPort": 5000}}] -> [{{"containerPort": 80}}]',
    ),
    "one of two mounts of a volume": (
        lambda made: container(made)["volumeMounts"][1].update(mountPath="/c"),
        f"{CONTAINER}.volumeMounts: {MOUNTS % 'b'} -> {MOUNTS % 'c'}",
    ),
    "a toleration": (
        lambda made: made["spec"]["template"]["spec"]["tolerations"][0].update(effect="NoExecute"),
        'Deployment/mlflow spec.template.spec.tolerations[gpu].effect: (not set) -> "NoExecute"',
    ),
    "a list that was empty": (
        lambda made: made["spec"].update(empty=[{"name": "a"}]),
        'Deployment/mlflow spec.empty: (not set) -> [{"name": "a"}]',
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_change_of_an_object_is_named_by_its_path_with_both_values(case):
    change, shown = CHANGES[case]
    assert changed(change) == [shown]


@pytest.mark.parametrize(
    "key", ["managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"]
)
def test_metadata_set_by_the_api_server_is_no_change(key):
    assert changed(lambda made: made["metadata"].update({key: "other"})) == []
    assert changed(lambda made: made["metadata"].pop(key, None)) == []


def test_a_status_is_no_change():
    assert changed(lambda made: made.pop("status")) == []


def test_a_multiline_text_is_shown_as_its_line_count_and_a_long_value_is_cut():
    made = {"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"launch.py": "a\nb\nc\n", "long": "x"}}
    lines, long = changed(lambda made: made["data"].update({"launch.py": "a\n" * 9, "long": "y" * 500}), made)
    assert lines == "ConfigMap/a data.launch.py: (text of 3 lines) -> (text of 9 lines)"
    assert long.endswith("yyy...")
    assert len(long) < 260


@given(
    st.dictionaries(st.sampled_from("abc"), patch_values, max_size=3),
    st.dictionaries(st.sampled_from("abc"), patch_values, max_size=3),
)
def test_changes_are_reported_exactly_if_two_objects_differ(one, other):
    before, after = ({"kind": "ConfigMap", "metadata": {"name": "a"}, "data": data} for data in (one, other))
    changes = object_changes("ConfigMap/a", before, after)
    assert (changes == ()) == (one == other)
    assert all(str(change).isprintable() for change in changes)


@given(hostile.filter(lambda text: len(text) > 3), hostile)
def test_a_changed_secret_shows_keys_and_no_values(before_value, after_value):
    before, after = (
        {"kind": "Secret", "metadata": {"name": "a"}, "data": {"current": value}}
        for value in (f"S3{before_value}", f"S3{after_value}")
    )
    for change in object_changes("Secret/a", before, after):
        assert str(change) == 'Secret/a data.current: "***" -> "***"'
        assert "S3" not in repr(change)


@pytest.mark.parametrize(
    ("before_data", "after_data"), [({"a": "S3cret"}, {}), ({}, {"a": "S3cret"}), ({"a": "S3cret"}, None)]
)
def test_an_added_or_removed_secret_key_shows_no_value(before_data, after_data):
    before, after = ({"kind": "Secret", "metadata": {"name": "a"}, "data": data} for data in (before_data, after_data))
    (change,) = object_changes("Secret/a", before, after)
    assert "S3cret" not in repr(change)


def managed(manager, fields, **more):
    return {"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": fields}, **more}


ENV = {"f:containers": {'k:{"name":"server"}': {".": {}, "f:env": {'k:{"name":"NEW"}': {".": {}, "f:value": {}}}}}}
RESTART = {"f:metadata": {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/restartedAt": {}}}}


@pytest.mark.parametrize(
    ("entry", "paths"),
    [
        (managed("kubectl-set", {"f:template": {"f:spec": ENV}}), ["template.spec.containers[server].env[NEW].value"]),
        (managed("kubectl-patch", {"f:type": {}, "f:paused": {}}), ["paused", "type"]),
        (managed("kubectl-edit", {"f:finalizers": {'v:"a/b"': {}}}), ['finalizers["a/b"]']),
        (managed("kubectl-rollout", {"f:template": RESTART}), []),
        (managed("kube-controller-manager", {"f:volumeName": {}}), []),
        (managed("kubectl", {"f:replicas": {}}, subresource="scale"), []),
        (managed("kubectl-apply", {"f:replicas": {}}), []),  # the rendered value
        (managed("mlflow-deployer", {"f:other": {}}), []),
    ],
)
def test_changes_of_other_field_managers_are_shown_with_the_manager(entry, paths):
    own = managed("mlflow-deployer", {"f:replicas": {}})
    live = {"kind": "Deployment", "metadata": {"name": "mlflow", "managedFields": [own, entry]}}
    found = foreign_changes("Deployment/mlflow", live)
    assert [change.path for change in found] == [f"Deployment/mlflow spec.{path}" for path in paths]
    assert all(entry["manager"] in str(change) for change in found)


def test_an_object_without_managed_fields_has_no_foreign_changes():
    assert foreign_changes("Service/mlflow", {"metadata": {"name": "mlflow"}}) == ()


def route(host, *, applied=True, **tls):
    fields = {"f:spec": {"f:host": {}, "f:to": {}} if applied else {"f:to": {}}}
    return {
        "kind": "Route",
        "metadata": {
            "name": "a",
            "managedFields": [
                {"manager": "mlflow-deployer", "operation": "Apply", "fieldsV1": fields},
                # an admission plugin's changes during an apply are an update by the same manager
                {"manager": "mlflow-deployer", "operation": "Update", "fieldsV1": {"f:spec": {"f:host": {}}}},
            ],
        },
        "spec": {**({"host": host} if host else {}), "to": {"name": "a"}, "tls": {"termination": "edge", **tls}},
    }


@pytest.mark.parametrize(
    ("live", "wanted", "anew"),
    [
        (route("a.org"), route("a.org"), False),
        (route("a.org"), route("b.org"), True),
        (route("a.org"), route(None), True),
        (route("given.org", applied=False), route(None), False),
        (route("given.org", applied=False), route("own.org"), True),
        (route("a.org"), route("a.org", externalCertificate={"name": "b"}), True),
        (route("a.org", certificate="b"), route("a.org"), True),
        (route("a.org", insecureEdgeTerminationPolicy="Allow"), route("a.org"), False),
        ({**route("a.org"), "kind": "Ingress"}, route("b.org"), False),
    ],
)
def test_a_route_is_recreated_where_users_cannot_change_it(live, wanted, anew):
    assert is_fixed(live, wanted) is anew
