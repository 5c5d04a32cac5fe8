"""deployer profiles: the kinds of place that are known."""

from __future__ import annotations

from typing import Any

from deployer.cli.options import Format, Output
from deployer.cli.output import print_json, print_table
from deployer.core.networks import KNOWN
from deployer.core.platform import PROFILES, Platform
from deployer.core.routes import ALLOW_LISTS


def command(form: Output = Format.text) -> None:
    """Print the kinds of cluster that --profile knows, and how each is recognised."""
    if form is Format.json:
        print_json({"profiles": [_document(platform) for platform in PROFILES.values()], "networks": dict(KNOWN)})
        return
    rows = [(p.name, p.description, " ".join(p.exposures), _recognised_by(p)) for p in PROFILES.values()]
    print_table(("profile", "what it is", "exposure", "recognised by"), rows)
    known = ", ".join(f"{name} ({network})" for name, network in KNOWN.items())
    print(f"\nNetworks that --allow-from knows by name: {known}")


def _recognised_by(platform: Platform) -> str:
    if platform.api_hosts:
        return f"API server {' or '.join(platform.api_hosts)}"
    if platform.context_prefix:
        return f"a context named {platform.context_prefix}..."
    return f"API group {platform.api_group}" if platform.api_group else "nothing: it is the default"


def _document(platform: Platform) -> dict[str, Any]:
    return {
        "name": platform.name,
        "description": platform.description,
        "exposures": list(platform.exposures),
        "storageClass": platform.storage_class,
        "routerNamespace": dict(platform.router_namespace),
        "exposureAnnotations": dict(platform.exposure_annotations),
        "allowListAnnotations": list(ALLOW_LISTS) if platform.allow_lists else [],
        "customHostTarget": platform.custom_host_target,
        "fixedUser": platform.run_as,
        "recognisedBy": _recognised_by(platform),
    }
