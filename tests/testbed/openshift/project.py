"""The objects of a project on CSC Rahti: a namespace, and the initial objects in it. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

Object = dict[str, Any]

UIDS = 10_000
FIRST_UID = 1_000_700_000
UID_RANGE = "openshift.io/sa.scc.uid-range"
CSC_PROJECT = "csc_project"
# docs/cloud/rahti/get-started/projects.md of CSC's user guide: `csc_project:` and "the name or number", beside any text
DESCRIBED = re.compile(r"^\s*csc_project:\s*(?:project_)?([0-9]+)\s*$", re.MULTILINE)

# The table of docs/cloud/rahti/configurations/resource-quota.md. Its example limits the ratio of cpu only, its text the
# ratios of cpu and memory; these limits follow the stricter text
LIMITS = [
    {
        "type": "Container",
        "min": {"cpu": "50m", "memory": "8Mi"},
        "max": {"cpu": "4", "memory": "16Gi"},
        "default": {"cpu": "500m", "memory": "1Gi"},
        "defaultRequest": {"cpu": "100m", "memory": "500Mi"},
        "maxLimitRequestRatio": {"cpu": "5", "memory": "5"},
    },
    {"type": "PersistentVolumeClaim", "max": {"storage": "100Gi"}},
]
# on Rahti, one quota for all projects of a CSC project (ClusterResourceQuota); here, one quota for each project
QUOTA = {
    "limits.cpu": "4",
    "limits.memory": "16Gi",
    "requests.storage": "100Gi",
    "persistentvolumeclaims": "20",
    "pods": "100",
}


def csc_project(description: str) -> str | None:
    """Return the number of the CSC project that pays, if the description contains one."""
    found = DESCRIBED.search(description)
    return found[1] if found else None


def free_uid(namespaces: Iterable[Object]) -> int:
    """Return the first UID of a range that none of these namespaces uses."""
    annotations = [item["metadata"].get("annotations") or {} for item in namespaces]
    taken = [int(found[UID_RANGE].split("/")[0]) for found in annotations if UID_RANGE in found]
    return max([FIRST_UID - UIDS, *taken]) + UIDS


def namespace(name: str, requester: str, description: str, display_name: str, first_uid: int) -> Object:
    """Return a namespace with the guide's labels and annotations; scc.yaml selects it by its label csc_project."""
    numbers = f"{first_uid}/{UIDS}"
    pod_security = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("audit", "warn")}
    metadata = {
        "name": name,
        "labels": {CSC_PROJECT: csc_project(description), **pod_security},
        "annotations": {
            "openshift.io/description": description,
            "openshift.io/display-name": display_name,
            "openshift.io/requester": requester,
            "openshift.io/sa.scc.mcs": "s0:c29,c19",
            "openshift.io/sa.scc.supplemental-groups": numbers,
            UID_RANGE: numbers,
        },
    }
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def admin(name: str, user: str) -> Object:
    """The RoleBinding of a project's requester."""
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "admin", "namespace": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }


def limits(name: str) -> list[Object]:
    """Return the LimitRange and the ResourceQuota, which users may not change."""
    return [
        {
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": "limits", "namespace": name},
            "spec": {"limits": LIMITS},
        },
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "quota", "namespace": name},
            "spec": {"hard": QUOTA},
        },
    ]
