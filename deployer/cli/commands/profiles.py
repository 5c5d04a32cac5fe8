"""deployer profiles: lists the known kinds of cluster."""

from __future__ import annotations

import textwrap
from typing import Any, Final

from deployer.cli.options import Format, Output
from deployer.core.errors import any_of
from deployer.core.networks import KNOWN
from deployer.core.platform import PROFILES, Platform
from deployer.core.routes import ALLOW_LISTS

_WIDTH: Final = 80
_INDENT: Final = 12


def command(form: Output = Format.text) -> None:
    """Print the kinds of cluster that --profile knows, and how each is recognised."""
    from deployer.cli.output import print_json

    if form is Format.json:
        print_json({"profiles": [_document(platform) for platform in PROFILES.values()], "networks": dict(KNOWN)})
        return
    for platform in PROFILES.values():
        print("\n".join(_lines(platform)))
    known = ", ".join(f"{name} ({network})" for name, network in KNOWN.items())
    print("\n" + "\n".join(textwrap.wrap(f"Networks that --allow-from knows by name: {known}", _WIDTH)))


def _lines(platform: Platform) -> list[str]:
    """Return the facts that help to choose a profile, in lines of at most 80 characters."""
    first, *others = platform.exposures
    exposures = f"--expose {any_of([f'{first} (the default)', *others])}"
    texts = [platform.description, exposures, f"recognised by {_recognised_by(platform)}"]
    lines = [line for text in texts for line in textwrap.wrap(text, _WIDTH - _INDENT)]
    return [f"{platform.name:<{_INDENT}}{lines[0]}", *(f"{'':{_INDENT}}{line}" for line in lines[1:])]


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
