import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.manifests.manifest import DEPLOYMENT, HTTP_ROUTE, KINDS, PVC, SECRET, Kind, Ref, ref_from, ref_of

from .strategies import RENDERED_KINDS, names


@pytest.mark.parametrize(
    ("kind", "resource", "collection"),
    [
        (SECRET, "secrets", "/api/v1/namespaces/team-a/secrets"),
        (PVC, "persistentvolumeclaims", "/api/v1/namespaces/team-a/persistentvolumeclaims"),
        (DEPLOYMENT, "deployments.apps", "/apis/apps/v1/namespaces/team-a/deployments"),
        (
            HTTP_ROUTE,
            "httproutes.gateway.networking.k8s.io",
            "/apis/gateway.networking.k8s.io/v1/namespaces/team-a/httproutes",
        ),
        (Kind("Namespace", "v1", "namespaces", namespaced=False), "namespaces", "/api/v1/namespaces"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_kind_knows_its_resource_and_its_path(kind, resource, collection):
    assert kind.resource == resource
    assert kind.path("team-a") == collection
    assert kind.path("team-a", "mlflow") == f"{collection}/mlflow"


def test_the_table_has_every_rendered_kind_by_its_name():
    assert set(RENDERED_KINDS) <= set(KINDS)
    assert all(kind.name == name for name, kind in KINDS.items())


@given(st.sampled_from(sorted(KINDS)), names)
def test_a_reference_to_an_object_survives_writing_and_reading(kind, name):
    ref = ref_of({"kind": kind, "metadata": {"name": name}})
    assert ref == Ref(kind, name)
    assert ref_from(str(ref)) == ref


def test_a_line_of_an_inventory_names_its_object():
    assert ref_from("Deployment/mlflow") == Ref("Deployment", "mlflow")
