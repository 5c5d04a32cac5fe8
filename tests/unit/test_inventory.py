"""The workloads in an inventory: their names, and the order in which they start, stop and are deleted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.manifests.inventory import ListedWorkload, in_start_order, listed_workloads, removals, workloads_of
from deployer.core.manifests.manifest import Ref, ref_from
from deployer.core.stack.model import SERVER

from .test_plural import CACHE, MAIN, SINGLE, STORE

# the server needs the store, which needs the cache
STACK = replace(SINGLE, workloads=(replace(MAIN, needs=("store",)), STORE, CACHE))
REFS = tuple(
    ref_from(text)
    for text in (
        "ConfigMap/mlflow-server", "ConfigMap/mlflow-store", "Deployment/mlflow", "Deployment/mlflow-cache",
        "Ingress/mlflow", "NetworkPolicy/mlflow", "NetworkPolicy/mlflow-store", "PersistentVolumeClaim/mlflow-data",
        "Service/mlflow", "Service/mlflow-cache", "Service/mlflow-store", "ServiceAccount/mlflow",
        "StatefulSet/mlflow-store",
    )
)  # fmt: skip
FOUND = listed_workloads("mlflow", REFS)


def test_object_names_give_the_workloads_of_the_stack():
    assert set(FOUND) == set(workloads_of(STACK))


def test_objects_of_other_names_are_no_workloads():
    assert listed_workloads("mlflow", [Ref("Deployment", "mlflow2"), Ref("Deployment", "other")]) == ()


@given(st.permutations(FOUND))
def test_workloads_start_after_those_that_they_need(found):
    assert [one.name for one in workloads_of(STACK)] == ["cache", "store", SERVER]
    assert in_start_order(found, STACK) == workloads_of(STACK)


def test_a_workload_no_longer_in_the_stack_stops_first():
    stack = replace(STACK, workloads=(MAIN, CACHE))
    assert [one.name for one in in_start_order(FOUND, stack)] == [SERVER, "cache", "store"]


def test_without_a_stack_the_server_stops_first():
    assert in_start_order(FOUND, None)[-1].name == SERVER


@pytest.mark.parametrize("refs", [REFS, REFS[::-1]])
def test_workloads_are_deleted_in_reverse_order_and_supporting_objects_last(refs):
    groups = [({str(ref) for ref in group}, name) for group, name in removals(refs, in_start_order(FOUND, STACK))]
    assert groups == [
        ({"Ingress/mlflow", "Deployment/mlflow", "Service/mlflow"}, SERVER),
        ({"StatefulSet/mlflow-store", "Service/mlflow-store"}, "store"),
        ({"Deployment/mlflow-cache", "Service/mlflow-cache"}, "cache"),
        ({str(ref) for ref in REFS if ref.kind in {
            "ConfigMap", "NetworkPolicy", "PersistentVolumeClaim", "ServiceAccount"
        }}, None),
    ]  # fmt: skip


def test_the_exposure_is_deleted_first_even_if_it_leads_to_another_workload():
    proxy = ListedWorkload("proxy", Ref("Deployment", "mlflow-proxy"))
    refs = [Ref("Route", "mlflow"), Ref("Service", "mlflow"), Ref("Deployment", "mlflow"), proxy.ref]
    ordered = [ListedWorkload(SERVER, Ref("Deployment", "mlflow")), proxy]
    assert list(removals(refs, ordered)) == [
        ((refs[0], proxy.ref), "proxy"),
        ((refs[1], refs[2]), SERVER),
        ((), None),
    ]


def test_the_objects_that_serve_clients_of_a_single_server_are_deleted_together():
    single = [ref for ref in REFS if not ref.name.endswith(("-cache", "-store"))]
    (first, name), (rest, nothing) = removals(single, listed_workloads("mlflow", single))
    assert ({str(ref) for ref in first}, name) == ({"Deployment/mlflow", "Ingress/mlflow", "Service/mlflow"}, SERVER)
    assert (set(first) | set(rest), nothing) == (set(single), None)


def test_two_objects_of_one_workload_are_deleted_together():
    both = [Ref("Deployment", "mlflow-store"), Ref("StatefulSet", "mlflow-store")]
    groups = [group for group, _ in removals(both, listed_workloads("mlflow", both))]
    assert groups[0] == tuple(both)
    assert not any(groups[1:])
