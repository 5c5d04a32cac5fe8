"""A server of several workloads: each workload has its own objects, and a network policy as strict as possible."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployer.catalogue import catalogue
from deployer.core.manifests.rendering import Renderer
from deployer.core.spec.platform import KUBERNETES
from deployer.core.spec.schema import Spec
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.components import build
from deployer.core.stack.model import SERVER, Address, Stack, Workload

from .readers import read_yaml

RENDERER = Renderer(catalogue().templates, catalogue().plugins)
HERE = Assigned(host="mlflow.example.org", namespace="team-a", ports={"http": 5000})
SPEC = Spec.model_validate({"spec": {"exposure": {"type": "ingress", "host": "mlflow.example.org"}}})
SINGLE = build(SPEC, KUBERNETES, HERE)
MAIN = SINGLE.workload(SERVER)
CACHE = replace(MAIN, name="cache", port=6379, files={}, env={}, command=(("cache",),), volumes=())
STORE = replace(CACHE, name="store", port=5432, kind="StatefulSet", needs=("cache",))


def stack(*others: Workload, **changes: object) -> Stack:
    """Return a stack whose server, listed first, needs all other workloads."""
    server = replace(MAIN, needs=tuple(other.name for other in others), **changes)  # type: ignore[arg-type]
    return replace(SINGLE, workloads=(server, *others))


PLURAL = stack(STORE, CACHE, env={"DATABASE": ("postgresql://", Address("store"), "/mlflow")})


def rendered(of: Stack = PLURAL):
    return {key: read_yaml(text) for key, text in RENDERER.manifests(of).items()}


def test_further_workloads_add_objects_and_leave_the_server_s_objects_unchanged():
    single = RENDERER.manifests(SINGLE)
    plural = RENDERER.manifests(stack(STORE, CACHE))
    assert {key: plural[key] for key in single} == single
    added = {
        f"{kind}/mlflow-{name}" for name in ("cache", "store") for kind in ("NetworkPolicy", "ConfigMap", "Service")
    }
    assert plural.keys() - single.keys() == added | {"Deployment/mlflow-cache", "StatefulSet/mlflow-store"}


def test_each_service_selects_the_pods_of_its_own_workload():
    documents = rendered()
    pods = {
        name: documents[f"{kind}/{name}"]["spec"]["template"]["metadata"]["labels"].items()
        for kind, name in (("Deployment", "mlflow"), ("Deployment", "mlflow-cache"), ("StatefulSet", "mlflow-store"))
    }
    for name in pods:
        selector = documents[f"Service/{name}"]["spec"]["selector"].items()
        assert [other for other in pods if selector <= pods[other]] == [name]


@pytest.mark.parametrize(("name", "port"), [("mlflow", 5000), ("mlflow-cache", 6379), ("mlflow-store", 5432)])
def test_each_workload_opens_its_port_and_only_the_exposed_workload_admits_the_ingress_controller(name, port):
    policy = rendered(replace(PLURAL, network=replace(PLURAL.network, from_namespace={"a": "b"})))[
        f"NetworkPolicy/{name}"
    ]
    (rule,) = policy["spec"]["ingress"]
    assert [found["port"] for found in rule["ports"]] == [port]
    assert [list(peer) for peer in rule["from"]] == [["podSelector"], ["namespaceSelector"]][
        : 2 if name == "mlflow" else 1
    ]
    assert policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == (
        "server" if name == "mlflow" else name.removeprefix("mlflow-")
    )


def test_objects_come_in_the_order_in_which_workloads_start():
    kinds = [key for key in rendered() if key.startswith(("Deployment/", "StatefulSet/"))]
    assert kinds == ["Deployment/mlflow-cache", "StatefulSet/mlflow-store", "Deployment/mlflow"]


def test_the_address_of_another_workload_is_its_service_and_port():
    (container,) = rendered()["Deployment/mlflow"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "DATABASE", "value": "postgresql://mlflow-store:5432/mlflow"} in container["env"]


def test_the_exposure_leads_to_the_server_or_to_the_workload_that_the_stack_names():
    for exposed, service in ((SERVER, "mlflow"), ("cache", "mlflow-cache")):
        ingress = rendered(replace(PLURAL, exposure=replace(PLURAL.exposure, workload=exposed)))["Ingress/mlflow"]
        assert ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] == service


@pytest.mark.parametrize(
    ("workloads", "message"),
    [
        ((MAIN, CACHE, CACHE), "two workloads"),
        ((replace(MAIN, needs=("store",)), CACHE), "needs store, which is not there"),
        ((replace(MAIN, needs=("cache",)), replace(CACHE, needs=(SERVER,))), "cycle"),
    ],
)
def test_workloads_that_contradict_each_other_are_an_error(workloads, message):
    with pytest.raises(ValueError, match=message):
        RENDERER.manifests(replace(SINGLE, workloads=workloads))


def test_two_objects_of_one_kind_and_name_are_an_error():
    volumes = (*SINGLE.volumes, *SINGLE.volumes)
    with pytest.raises(ValueError, match="PersistentVolumeClaim/mlflow-data twice"):
        RENDERER.manifests(replace(SINGLE, volumes=volumes))
