"""Renders a Stack as Kubernetes objects."""

from __future__ import annotations

from typing import Final

import yaml

from deployer.catalogue import catalogue
from deployer.core.manifests.manifest import Manifest
from deployer.core.manifests.rendering import Renderer
from deployer.core.stack.model import Stack

_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def manifests_of(stack: Stack) -> list[Manifest]:
    """Return the manifests of `stack` as data, in the order of applying them."""
    data = catalogue()
    documents = Renderer(data.templates, data.plugins).manifests(stack).values()
    return [yaml.load(text, Loader=_Loader) for text in documents]  # noqa: S506  # a safe loader; own templates
