"""Cases for rendered manifests: every profile, exposure and shape with SQLite, and variations common to all of them."""

from functools import cache

import yaml

from deployer.core.spec import document
from deployer.core.spec.platform import PROFILES
from deployer.core.spec.schema import API_VERSION, KIND
from deployer.core.spec.support import require_supported
from deployer.operations.render import manifests

NAMESPACE = "team-a"
LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
SHAPES = {
    "sqlite-volume": {"database": {"type": "sqlite"}, "artifacts": {"type": "volume"}},
    "sqlite-s3": {"database": {"type": "sqlite"}, "artifacts": {"type": "s3", "bucket": "team-mlflow"}},
}
INGRESS = {"type": "ingress", "host": "mlflow.example.org"}
GATEWAY = {"type": "gateway", "host": "mlflow.example.org", "gateway": "ingress/shared"}
EXPOSURES = {
    ("kubernetes", "ingress"): INGRESS,
    ("kubernetes", "gateway"): GATEWAY,
    ("kubernetes", "none"): {"type": "none"},
    ("kind", "ingress"): INGRESS,
    ("kind", "gateway"): GATEWAY,
    ("kind", "none"): {"type": "none"},
    ("rahti", "route"): {"type": "route"},
    ("rahti", "none"): {"type": "none"},
    ("lumi-k", "route"): {"type": "route"},
    ("lumi-k", "none"): {"type": "none"},
    ("openshift", "route"): {"type": "route", "host": "mlflow.example.org"},
    ("openshift", "ingress"): INGRESS,
    ("openshift", "none"): {"type": "none"},
}
CONTAINER = {
    "name": "server",
    "env": [{"name": "MLFLOW_LOGGING_LEVEL", "value": "DEBUG"}, {"name": "PYTHONUNBUFFERED", "$patch": "delete"}],
    "resources": {"limits": {"cpu": None, "memory": "4Gi"}},
    "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
}
HATCHES = {
    "volume": {"size": "20Gi", "storageClass": "fast"},
    "networkPolicy": {"ingressNamespace": "edge"},
    "proxy": {
        "http": "http://squid.example.org:3128",
        "https": "http://squid.example.org:3128",
        "noProxy": ".svc,10.0.0.0/8",
    },
    "pod": {
        "imagePullSecrets": ["registry", "mirror"],
        "imageMirrors": {"ghcr.io": "mirror.example.org/ghcr", "ghcr.io/mlflow": "mirror.example.org/tracking"},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "trustedCa": {"configMap": "authorities", "key": "bundle.pem"},
    },
    "patches": [
        {
            "kind": "Deployment",
            "patch": {
                "spec": {
                    "template": {
                        "spec": {
                            "priorityClassName": "high",
                            "containers": [CONTAINER],
                            "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}],
                        }
                    }
                }
            },
        },
        {
            "kind": "Service",
            "name": "mlflow",
            "patch": {
                "metadata": {"annotations": {"example.org/scrape": "true"}},
                "spec": {"ports": [{"port": 5000, "appProtocol": "http"}, {"name": "web", "port": 80}]},
            },
        },
    ],
}
OTHERS = {
    "kubernetes-ingress-hatches": (
        "kubernetes",
        {
            **INGRESS,
            "ingressClass": "nginx",
            "clusterIssuer": "letsencrypt",
            "annotations": {
                "nginx.ingress.kubernetes.io/proxy-body-size": "10g",
                "example.org/note": "a: b # c",
            },
        },
        {**SHAPES["sqlite-volume"], **HATCHES},
    ),
    "rahti-route-allowed": (
        "rahti",
        {"type": "route", "allowFrom": ["roihu", "lumi", "2001:db8::/32"]},
        SHAPES["sqlite-volume"],
    ),
    "lumi-k-route-allowed": ("lumi-k", {"type": "route", "allowFrom": ["192.0.2.1"]}, SHAPES["sqlite-volume"]),
    "rahti-route-external-volume": (
        "rahti",
        {"type": "route"},
        {"database": {"type": "external"}, "artifacts": {"type": "volume"}},
    ),
    "kubernetes-ingress-external-s3": (
        "kubernetes",
        INGRESS,
        {"database": {"type": "external"}, "artifacts": {"type": "s3", "bucket": "team-mlflow"}, "workers": 2},
    ),
    "kubernetes-gateway-listener": (
        "kubernetes",
        {**GATEWAY, "listener": "https", "annotations": {"example.org/note": "a"}},
        SHAPES["sqlite-volume"],
    ),
}
CASES = {
    f"{profile}-{exposure}-{shape}": (profile, fields, parts)
    for (profile, exposure), fields in EXPOSURES.items()
    for shape, parts in SHAPES.items()
} | OTHERS
# the expected output of a profile's first case is a whole file, that of the other cases a diff to this file; the case
# with patches is a whole file too, because another YAML writer renders it and few lines are equal
PROFILE_CASES = {profile: case for case, (profile, _, _) in reversed(CASES.items())}
WHOLE = {*PROFILE_CASES.values(), "kubernetes-ingress-hatches"}


def profile_of(case):
    """Return the first case of the same profile."""
    return PROFILE_CASES[CASES[case][0]]


def spec(case):
    """Return the spec of a case; the MLflow version is fixed, so that a new default changes no expected file."""
    profile, exposure, parts = CASES[case]
    wanted = {"mlflow": {"version": "3.17.2"}, "exposure": exposure, **parts}
    made = document.validate({"apiVersion": API_VERSION, "kind": KIND, "spec": wanted}, case)
    require_supported(made, PROFILES[profile], case)
    return made


def render(case):
    """Return the manifests of a case, as text, by `Kind/name`."""
    return manifests(spec(case), PROFILES[CASES[case][0]], NAMESPACE)[0]


rendered = cache(render)


@cache
def objects(case):
    """Return the manifests of a case, read by libyaml (kubectl's reader has the same rules); do not change them."""
    return [yaml.load(text, Loader=LOADER) for text in rendered(case).values()]
