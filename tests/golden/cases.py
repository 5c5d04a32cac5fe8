"""Every profile x exposure x shape that this release draws."""

from deployer.core import document
from deployer.core.platform import PROFILES
from deployer.core.spec import API_VERSION, KIND
from deployer.core.support import require_supported
from deployer.operations.render import manifests

NAMESPACE = "team-a"
SHAPES = {"sqlite-volume": {"database": {"type": "sqlite"}, "artifacts": {"type": "volume"}}}
EXPOSURES = {
    ("kubernetes", "ingress"): {"type": "ingress", "host": "mlflow.example.org"},
    ("kubernetes", "gateway"): {"type": "gateway", "host": "mlflow.example.org", "gateway": "ingress/shared"},
    ("kubernetes", "none"): {"type": "none"},
    ("kind", "ingress"): {"type": "ingress", "host": "mlflow.example.org"},
    ("kind", "gateway"): {"type": "gateway", "host": "mlflow.example.org", "gateway": "ingress/shared"},
    ("kind", "none"): {"type": "none"},
    ("rahti", "route"): {"type": "route"},
    ("rahti", "none"): {"type": "none"},
}
CASES = {
    f"{profile}-{exposure}-{shape}": (profile, fields, parts)
    for (profile, exposure), fields in EXPOSURES.items()
    for shape, parts in SHAPES.items()
}


def spec(case):
    """Return the spec of a case; its version is fixed, so that a new default changes no expected file."""
    profile, exposure, parts = CASES[case]
    wanted = {"mlflow": {"version": "3.17.2"}, "exposure": exposure, **parts}
    made = document.validate({"apiVersion": API_VERSION, "kind": KIND, "spec": wanted}, case)
    require_supported(made, PROFILES[profile], case)
    return made


def drawn(case):
    """Return the manifests of a case, as text, by `Kind/name`."""
    return manifests(spec(case), PROFILES[CASES[case][0]], NAMESPACE)[0]
