"""Renders a Stack as Kubernetes manifests, one Jinja template per kind, and configuration files for every target.

Templates receive plain values and escape each with the filter of the file's format: `tojson` in YAML (JSON is YAML),
`ini` in configuration files. Secrets appear only as references.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import jinja2
import yaml

from deployer.core import patches
from deployer.core.errors import InvalidSpec, Problem
from deployer.core.settings import TRUSTED_CA
from deployer.core.stack import (
    Address,
    FilePath,
    Patch,
    Piece,
    PluginFolder,
    SecretRef,
    Stack,
    TemplateFile,
    Text,
    VolumePath,
    Workload,
)

MOUNTS: Final = "/srv"  # volumes are mounted at /srv/VOLUME
FILES: Final = "/etc/mlflow-deployer"

_EXPOSURES: Final = MappingProxyType(
    {
        "ingress": ("Ingress", "ingress.yaml.j2"),
        "route": ("Route", "route.yaml.j2"),
        "gateway": ("HTTPRoute", "httproute.yaml.j2"),
    }
)


class Unrepresentable(ValueError):
    """A value that its file format cannot represent."""


def ini_value(text: str) -> str:
    """Return `text` escaped so that ConfigParser, with its default interpolation, reads the same text back.

    Raises:
        Unrepresentable: `text` has control characters (a newline would begin another key) or outer blanks, which
            ConfigParser strips.
    """
    if text != text.strip() or text.splitlines() not in ([], [text]) or any(ord(c) < 32 for c in text):
        raise Unrepresentable("the value has a line break or outer blanks, which an ini file cannot hold")
    return text.replace("%", "%%")


# Characters that YAML 1.1 or 1.2 readers refuse or take for a line break. json.dumps escapes ASCII control characters
# itself. It must not escape the rest: it would write characters beyond U+FFFF as surrogate pairs, which YAML does not
# join.
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f]")  # all except the newline
# a key that YAML does not read as a boolean or as null
_PLAIN_KEY: Final = re.compile("(?!(?:y|n|yes|no|on|off|true|false|null)$)[a-z][a-z0-9._/-]*", re.IGNORECASE)


def yaml_value(value: object) -> str:
    """Return `value` as JSON that any YAML reader reads as the same value.

    `value` must not contain floats: YAML 1.1 and JSON write them differently.

    Raises:
        Unrepresentable: `value` itself is a float.
    """
    if isinstance(value, float):
        raise Unrepresentable("a fraction is written differently in JSON and YAML 1.1")
    text = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def yaml_block(text: str, indent: int) -> str:
    """Return `text` as a literal block, which people can read, or as JSON if a block would not preserve the text."""
    plain = text.endswith("\n") and not text.endswith("\n\n") and not text.startswith((" ", "\n"))
    if not plain or _CONTROL.search(text) or _UNPRINTABLE.search(text):
        return yaml_value(text)
    return "|\n" + "".join(f"{' ' * indent if line else ''}{line}\n" for line in text[:-1].split("\n")).rstrip("\n")


def yaml_lines(value: Any, indent: int) -> Iterator[str]:
    """Yield the YAML lines of a mapping or list that is not empty."""
    if isinstance(value, Mapping):
        heads = [(f"{key if _PLAIN_KEY.fullmatch(key) else yaml_value(key)}:", inner) for key, inner in value.items()]
    else:
        heads = [("-", inner) for inner in value]
    for head, inner in heads:
        lead = " " * indent + head
        if isinstance(inner, str):
            yield f"{lead} {yaml_block(inner, indent + 2) if chr(10) in inner else yaml_value(inner)}"
        elif not isinstance(inner, Mapping | list) or not inner:
            yield f"{lead} {yaml_value(inner)}"
        else:
            lines = yaml_lines(inner, indent + 2)
            # an item begins beside its dash, a nested value below its key
            yield lead if head != "-" else f"{lead} {next(lines).lstrip()}"
            yield from lines


@lru_cache(maxsize=4)
def _environment(sources: tuple[tuple[str, str], ...]) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(dict(sources)),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701  # every value goes through a filter of its format instead
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["tojson"] = yaml_value
    environment.filters["block"] = yaml_block
    environment.filters["ini"] = ini_value
    return environment


class Renderer:
    """Renders files and manifests from templates, given by file name, and plugin sources, given by path."""

    def __init__(self, templates: Mapping[str, str], plugins: Mapping[str, str]) -> None:
        self._environment = _environment(tuple(templates.items()))
        self._plugins = plugins

    def files(self, workload: Workload, join: Callable[[Text], str]) -> dict[str, str]:
        """Return the content of each file of a workload by its path in the folder of files, sorted by path.

        `join` turns the pieces of each value into one string.
        """
        texts: dict[str, str] = {}
        for name, file in workload.files.items():
            if isinstance(file, PluginFolder):
                texts |= {f"{name}{path}": text for path, text in self._plugins.items()}
            else:
                texts[name] = self.file(file, join)
        return dict(sorted(texts.items()))

    def file(self, file: TemplateFile, join: Callable[[Text], str]) -> str:
        """Return the content of a configuration file."""
        values = {key: join(text) for key, text in file.values.items()}
        return self._environment.get_template(file.template).render(values=values)

    def manifests(self, stack: Stack) -> dict[str, str]:
        """Return YAML documents by `Kind/name`, in the order in which to apply them.

        Raises:
            InvalidSpec: a patch matches no document.
            ValueError: two objects of one kind have the same name.
        """
        documents: dict[str, str] = {}

        def render(kind: str, name: str, template: str, **values: Any) -> None:
            values = {"stack": stack, "name": name, **values}
            text = self._environment.get_template(template).render(values)
            key = f"{kind}/{name}"
            if key in documents:
                raise ValueError(f"the parts of {stack.name} make {key} twice")
            documents[key] = _patched(text, [p for p in stack.patches if _fits(p, kind, name)])

        render("ServiceAccount", stack.name, "serviceaccount.yaml.j2")
        for volume in stack.volumes:
            render(
                "PersistentVolumeClaim", f"{stack.name}-{volume.name}", "persistentvolumeclaim.yaml.j2", volume=volume
            )
        for workload in stack.start_order:  # pods never run without the policy that guards them
            render("NetworkPolicy", stack.object_name(workload.name), "networkpolicy.yaml.j2", workload=workload)
        for workload in stack.start_order:
            files = self.files(workload, _joiner(stack))
            config_map, name = f"{stack.name}-{workload.name}", stack.object_name(workload.name)
            data = {config_map_key(path): text for path, text in files.items()}
            render("ConfigMap", config_map, "configmap.yaml.j2", data=data)
            render("Service", name, "service.yaml.j2", workload=workload)
            # pods do not restart after a change in a ConfigMap, but they do after a change of an annotation
            files_hash = hashlib.sha256(documents[f"ConfigMap/{config_map}"].encode()).hexdigest()
            values = _pod_template(stack, workload, files)
            render(workload.kind, name, f"{workload.kind.lower()}.yaml.j2", files_hash=files_hash, **values)
        if stack.exposure.kind in _EXPOSURES:
            kind, template = _EXPOSURES[stack.exposure.kind]
            exposed = stack.exposure.workload
            port = stack.workload(exposed).port if stack.workloads else None
            render(kind, stack.name, template, service=stack.object_name(exposed), port=port)
        _require_fitting(stack, documents)
        return documents


def config_map_key(path: str) -> str:
    """Return the key of a file in a ConfigMap: keys have no slash (kubernetes.io/docs, ConfigMap object)."""
    return path.replace("/", ".")


def _require_fitting(stack: Stack, documents: Mapping[str, str]) -> None:
    rendered = [key.partition("/") for key in documents]
    problems = tuple(
        Problem(f"spec.patches.{index}", f"no {patch.kind} {patch.name or ''} is rendered, so it changes nothing")
        for index, patch in enumerate(stack.patches)
        if not any(_fits(patch, kind, name) for kind, _, name in rendered)
    )
    if stack.workloads and problems:
        known = ", ".join(sorted(documents))
        raise InvalidSpec("the spec", problems, hint=f"what is rendered: {known}")


def _fits(patch: Patch, kind: str, name: str) -> bool:
    return patch.kind == kind and patch.name in (None, name)


def _patched(text: str, changes: Sequence[Patch]) -> str:
    if not changes:
        return text
    manifest = yaml.safe_load(text)
    for patch in changes:
        manifest = patches.merged(manifest, patch.patch)
    return "".join(f"{line}\n" for line in yaml_lines(manifest, 0))


def _joiner(stack: Stack) -> Callable[[Text], str]:
    """Return the function that joins the pieces of a text as a pod of this stack sees them."""

    def piece(piece: Piece) -> str:
        match piece:
            case VolumePath(volume, path):
                return f"{MOUNTS}/{volume}/{path}".rstrip("/")
            case FilePath(name):
                return f"{FILES}/{name}"
            case Address(workload):
                return f"{stack.object_name(workload)}:{stack.workload(workload).port}"
            case SecretRef(secret, key):
                raise Unrepresentable(f"secret {secret}/{key} inside a longer text")
            case str():
                return piece

    return lambda text: "".join(map(piece, text))


def _pod_template(stack: Stack, workload: Workload, files: Mapping[str, str]) -> dict[str, Any]:
    join = _joiner(stack)
    env = []
    for name, text in sorted(workload.env.items()):
        match text:
            case (SecretRef(secret, key),):
                reference = {"name": f"{stack.name}-{secret}", "key": key}
                env.append({"name": name, "valueFrom": {"secretKeyRef": reference}})
            case _:
                # Kubernetes expands $(NAME) in values and commands; a doubled dollar sign is a literal one
                env.append({"name": name, "value": join(text).replace("$", "$$")})
    return {
        "workload": workload,
        "command": [join(text).replace("$", "$$") for text in workload.command],
        "env": env,
        "files": {config_map_key(path): path for path in files},
        "mounts": {volume: f"{MOUNTS}/{volume}" for volume in workload.volumes},
        "files_folder": FILES,
        "trusted_ca_file": TRUSTED_CA,
    }


def secret_manifests(
    name: str, labels: Mapping[str, str], values: Mapping[SecretRef, str]
) -> tuple[dict[str, Any], ...]:
    """Return, as data, the Secrets that the manifests of server `name` refer to."""
    return tuple(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"{name}-{secret}", "labels": dict(labels)},
            "type": "Opaque",
            "stringData": {ref.key: value for ref, value in values.items() if ref.secret == secret},
        }
        for secret in ("admin", "server")
    )
