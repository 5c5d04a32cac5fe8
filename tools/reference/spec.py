"""The page about the spec, made from its JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from deployer.cli.commands.init import HEAD
from deployer.cli.flags import NAMES
from deployer.core.spec.example import example
from deployer.core.spec.schema import NOT_BUILT, Spec, json_schema
from tools.reference.markdown import anchor, code, prose, table

_Schema = Mapping[str, Any]
_HEADER: Final = ("field", "type", "default", "meaning", "flag of `create`")
_INTRODUCTION: Final = """\
# Spec

A spec file describes one server. `deployer init` writes a file with every field, and `deployer create -f FILE` reads
it. `deployer schema` prints the JSON Schema, which also contains the exact pattern of each text. deployer refuses
unknown fields. A field without a value counts as absent.

A size is a number with the unit Mi, Gi or Ti, such as `10Gi`.
"""


def page() -> str:
    """Return the page: one section per object of the spec, then a whole file."""
    schema = json_schema()
    lines = [*_INTRODUCTION.splitlines(), ""]
    lines += table(_HEADER, [_row(schema, "", name, schema) for name in schema["properties"]])
    for path, part in _objects(schema, "", schema):
        lines += _section(schema, path, part)
    lines += ["## A whole file", "", "`deployer init` writes this file:", ""]
    lines += ["```yaml", *(HEAD + example(Spec())).splitlines(), "```"]
    return "\n".join(lines) + "\n"


def _objects(schema: _Schema, path: str, part: _Schema) -> Iterator[tuple[str, _Schema]]:
    """Yield the path and the schema of each object below `part`; an object of several types comes once per type."""
    for name, field in part["properties"].items():
        below = f"{path}.{name}".lstrip(".")
        for found in _references(schema, field):
            kind = found["properties"].get("type", {}).get("const")
            yield (f"{below} of type {kind}" if kind else f"{below}[]" if _is_list(field) else below), found
            yield from _objects(schema, below, found)


def _section(schema: _Schema, path: str, part: _Schema) -> list[str]:
    lines = [f"## {path}", "", prose(part["description"]), ""]
    if path.rpartition(" ")[2] in NOT_BUILT:
        lines += ["This release does not implement this type and rejects a spec with it.", ""]
    return lines + table(_HEADER, [_row(schema, path.partition(" ")[0], name, part) for name in part["properties"]])


def _row(schema: _Schema, path: str, name: str, part: _Schema) -> tuple[str, ...]:
    field = part["properties"][name]
    full = f"{path}.{name}".lstrip(".")
    default = field.get("default")
    shown = "required" if name in part.get("required", ()) else code(_yaml(default)) if default is not None else ""
    flag = code(NAMES[full]) if full in NAMES and _is_chosen(field) else ""
    return code(name), _type(schema, full, field), shown, prose(field.get("description", "")), flag


def _is_chosen(field: _Schema) -> bool:
    """Tell whether a flag can set this value: no flag names the default type, or one that is not implemented."""
    return "const" not in field or not ("default" in field or field["const"] in NOT_BUILT)


def _type(schema: _Schema, path: str, field: _Schema) -> str:
    """Return the type of a field in words."""
    options = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
    (known,) = options  # only objects with a field `type` have several forms, and those are in `oneOf`
    if "oneOf" in known:
        kinds = [option["properties"]["type"]["const"] for option in _references(schema, known)]
        return "object: " + ", ".join(f"[{kind}]({anchor(f'{path} of type {kind}')})" for kind in kinds)
    if "$ref" in known:
        return f"[object]({anchor(path)})"
    if "const" in known:
        return code(str(known["const"]))
    if "enum" in known:
        return ", ".join(code(str(value)) for value in known["enum"])
    if known["type"] == "array":
        return f"list of [objects]({anchor(f'{path}[]')})" if "$ref" in known["items"] else "list of strings"
    if known["type"] == "object":
        return "object" if known.get("additionalProperties") is True else "map of strings"
    return str(known["type"]) + _range(known)


def _range(field: _Schema) -> str:
    return f", {field['minimum']} to {field['maximum']}" if "minimum" in field else ""


def _references(schema: _Schema, field: _Schema) -> list[_Schema]:
    """Return the objects that a field or its items may be."""
    options = [each for option in field.get("anyOf", [field]) for each in option.get("oneOf", [option])]
    references = [option.get("$ref") or option.get("items", {}).get("$ref") for option in options]
    return [schema["$defs"][reference.rpartition("/")[2]] for reference in references if reference]


def _is_list(field: _Schema) -> bool:
    return field.get("type") == "array"


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
