"""The merge gives the results of `kubectl patch --type strategic` (k8s.io/apimachinery strategicpatch), except
for the order of new items: they come last here, after the variables that they refer to with $(NAME).
"""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.spec.patches import merged, problems

from .strategies import patches as good_patches

MERGED = {
    "mappings merge": ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3, "d": 4}}, {"a": {"b": 1, "c": 3, "d": 4}}),
    "null removes": ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
    "null removes what is not there": ({"a": 1}, {"b": None}, {"a": 1}),
    "null below a new mapping": ({}, {"a": {"b": None, "c": {"d": None}}}, {"a": {"c": {}}}),
    "an empty mapping changes nothing": ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
    "false, zero and nothing are values": (
        {"a": 1, "b": 1, "c": 1},
        {"a": 0, "b": False, "c": ""},
        {"a": 0, "b": False, "c": ""},
    ),
    "a text for a mapping": ({"a": {"b": 1}}, {"a": "c"}, {"a": "c"}),
    "a mapping for a text": ({"a": "c"}, {"a": {"b": 1, "d": None}}, {"a": {"b": 1}}),
    "env by name": (
        {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        {"env": [{"name": "C", "value": "3"}, {"name": "A", "value": "4"}]},
        {"env": [{"name": "A", "value": "4"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}]},
    ),
    "a value for a reference": (
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
        {"env": [{"name": "A", "valueFrom": None, "value": "1"}]},
        {"env": [{"name": "A", "value": "1"}]},
    ),
    "an item goes": (
        {"env": [{"name": "A"}, {"name": "B"}]},
        {"env": [{"name": "A", "$patch": "delete"}]},
        {"env": [{"name": "B"}]},
    ),
    "an item goes that is not there": (
        {"env": [{"name": "A"}]},
        {"env": [{"name": "B", "$patch": "delete"}]},
        {"env": [{"name": "A"}]},
    ),
    "an item goes where no list is": ({}, {"env": [{"name": "B", "$patch": "delete"}]}, {"env": []}),
    "a new list's nulls": ({}, {"env": [{"name": "A", "value": None}]}, {"env": [{"name": "A"}]}),
    "a new item's nulls": (
        {"env": [{"name": "A"}]},
        {"env": [{"name": "B", "value": None}]},
        {"env": [{"name": "A"}, {"name": "B"}]},
    ),
    "no items": ({"env": [{"name": "A"}]}, {"env": []}, {"env": [{"name": "A"}]}),
    "the whole list goes": ({"env": [{"name": "A"}], "b": 1}, {"env": None}, {"b": 1}),
    "containers by name, and what is in them": (
        {"containers": [{"name": "server", "image": "a", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]},
        {"containers": [{"name": "server", "resources": {"limits": {"cpu": None, "memory": "2Gi"}}}]},
        {"containers": [{"name": "server", "image": "a", "resources": {"limits": {"memory": "2Gi"}}}]},
    ),
    "a sidecar": (
        {"containers": [{"name": "server"}]},
        {"containers": [{"name": "proxy", "image": "b"}]},
        {"containers": [{"name": "server"}, {"name": "proxy", "image": "b"}]},
    ),
    "mounts by path": (
        {"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]},
        {"volumeMounts": [{"name": "other", "mountPath": "/tmp"}, {"name": "tmp", "mountPath": "/var"}]},
        {"volumeMounts": [{"name": "other", "mountPath": "/tmp"}, {"name": "tmp", "mountPath": "/var"}]},
    ),
    "volumes by name": (
        {"volumes": [{"name": "tmp", "emptyDir": {}}]},
        {"volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}]},
        {"volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}]},
    ),
    "a container's ports by containerPort": (
        {"ports": [{"name": "http", "containerPort": 5000}]},
        {"ports": [{"containerPort": 5000, "protocol": "TCP"}, {"containerPort": 9090}]},
        {"ports": [{"name": "http", "containerPort": 5000, "protocol": "TCP"}, {"containerPort": 9090}]},
    ),
    "a Service's ports by port": (
        {"ports": [{"name": "http", "port": 5000, "targetPort": "http"}]},
        {"ports": [{"port": 5000, "nodePort": 30000}, {"port": 80}]},
        {"ports": [{"name": "http", "port": 5000, "targetPort": "http", "nodePort": 30000}, {"port": 80}]},
    ),
    "ports without a key replace": (
        {"ports": [{"port": 5000}]},
        {"ports": [{"name": "http"}]},
        {"ports": [{"name": "http"}]},
    ),
    "ports that are no ports replace": ({"ports": [{"port": 5000}]}, {"ports": [80, "port"]}, {"ports": [80, "port"]}),
    "spread by topology and what is then": (
        {"topologySpreadConstraints": [{"topologyKey": "a", "whenUnsatisfiable": "ScheduleAnyway", "maxSkew": 1}]},
        {"topologySpreadConstraints": [{"topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 2}]},
        {
            "topologySpreadConstraints": [
                {"topologyKey": "a", "whenUnsatisfiable": "ScheduleAnyway", "maxSkew": 1},
                {"topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 2},
            ]
        },
    ),
    "host aliases by address": (
        {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}]},
        {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["b"]}]},
        {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["b"]}]},
    ),
    "pull secrets by name": (
        {"imagePullSecrets": [{"name": "a"}]},
        {"imagePullSecrets": [{"name": "b"}]},
        {"imagePullSecrets": [{"name": "a"}, {"name": "b"}]},
    ),
    "tolerations have no key": (
        {"tolerations": [{"key": "a"}]},
        {"tolerations": [{"key": "b"}]},
        {"tolerations": [{"key": "b"}]},
    ),
    "a command has no key": ({"command": ["a", "b"]}, {"command": ["c"]}, {"command": ["c"]}),
    "a list for a text": ({"args": "a"}, {"args": ["b"]}, {"args": ["b"]}),
    "a text for a list": ({"env": [{"name": "A"}]}, {"env": "a"}, {"env": "a"}),
    "a list of texts where items have names": ({"env": [{"name": "A"}]}, {"env": ["a"]}, {"env": ["a"]}),
}
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(["", "a"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "env", "ports", "name", "port", "$patch"]), inner, max_size=4),
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(["a", "env", "ports", "containers"]), JSON, max_size=4)
NAMED = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from("abcd")}, optional={"value": st.one_of(st.none(), st.just("1"))}),
    max_size=4,
    unique_by=lambda item: item["name"],
)


@pytest.mark.parametrize("case", MERGED)
def test_a_patch_merges_like_kubectl_s_strategic_merge(case):
    base, patch, result = MERGED[case]
    assert merged(base, patch) == result


@given(OBJECTS)
def test_an_empty_patch_changes_nothing(base):
    assert merged(base, {}) == base


@given(OBJECTS, OBJECTS)
def test_a_merge_modifies_neither_base_nor_patch(base, patch):
    before = copy.deepcopy((base, patch))
    merged(base, patch)
    assert (base, patch) == before


@given(OBJECTS, good_patches)
def test_a_patch_applied_twice_equals_a_patch_applied_once(base, patch):
    once = merged(base, patch)
    assert merged(once, patch) == once


@given(NAMED, NAMED)
def test_merged_lists_have_every_item_once_and_new_items_last(base, patch):
    names = [item["name"] for item in merged({"env": base}, {"env": patch})["env"]]
    old = [item["name"] for item in base]
    assert names == old + [item["name"] for item in patch if item["name"] not in old]


@given(good_patches)
def test_a_patch_of_plain_data_is_accepted(patch):
    assert list(problems(patch)) == []


@pytest.mark.parametrize(
    ("patch", "problem"),
    [
        ({"apiVersion": "v1"}, "apiVersion is set by deployer itself"),
        ({"kind": "Service"}, "kind is set by deployer itself"),
        ({"kind": None}, "kind is set by deployer itself"),
        ({"status": {}}, "status is set by deployer itself"),
        ({"metadata": None}, "metadata, its labels and its annotations must be mappings"),
        ({"metadata": []}, "metadata, its labels and its annotations must be mappings"),
        ({"metadata": {"labels": None}}, "metadata, its labels and its annotations must be mappings"),
        ({"metadata": {"name": "other"}}, "metadata.name is set by deployer itself"),
        ({"metadata": {"namespace": "other"}}, "metadata.namespace is set by deployer itself"),
        (
            {"metadata": {"labels": {"app.kubernetes.io/instance": None}}},
            "metadata.labels.app.kubernetes.io/instance is set by deployer itself",
        ),
        ({"$patch": "replace"}, "$patch: of the directives only `$patch: delete` is known"),
        ({"spec": {"$patch": "delete"}}, "$patch: of the directives only `$patch: delete` is known"),
        ({"spec": {"strategy": {"$retainKeys": ["type"]}}}, "$retainKeys: of the directives only"),
        ({"env": [{"$patch": "replace"}]}, "$patch: of the directives only"),
        ({"env": [{"a": {"$patch": "delete"}}]}, "$patch: of the directives only"),
        ({"spec": {"limits": {"cpu": 0.5}}}, "a fraction is written differently"),
        ({"spec": {"x": float("nan")}}, "a fraction is written differently"),
        ({"spec": [b"x"]}, "a value that JSON does not have"),
        ({"spec": {"x": "\ud800"}}, "a value that JSON does not have"),
        ({"spec": {"x": {"a"}}}, "a value that JSON does not have"),
        ({"data": {"a" * 1030: "b"}}, "(of 1030 characters) cannot be a key"),
        ({"data": {"a\nb": "b"}}, "cannot be a key"),
    ],
)
def test_a_patch_that_hides_an_object_or_is_no_data_is_refused_with_the_reason(patch, problem):
    (found,) = problems(patch)
    assert problem in found
