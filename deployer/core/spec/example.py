"""The commented spec file that `deployer init` writes. It is generated from the schema, so the two always agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from deployer.core.file_formats import yaml_value
from deployer.core.spec.schema import NOT_BUILT, Spec


def example(spec: Spec) -> str:
    """Return a YAML file that parses to `spec`. Each line has its description; unset fields are commented out."""
    return "".join(f"{line}\n" for line in _lines(spec, ""))


def _lines(model: BaseModel, indent: str) -> Iterator[str]:
    for name, field in type(model).model_fields.items():
        key, value = field.alias or name, getattr(model, name)
        if isinstance(value, BaseModel):
            yield f"{indent}# {field.description}{_choices(field.annotation)}"
            yield f"{indent}{key}:"
            yield from _lines(value, indent + "  ")
        elif value is None or value in ({}, []):
            yield f"{indent}# {key}:  # {field.description}{_choices(field.annotation)}"
        else:
            comment = f"  # {field.description}" if field.description else ""
            yield f"{indent}{key}: {yaml_value(_plain(value))}{comment}{_choices(field.annotation)}"


def _plain(value: Any) -> Any:
    """Return `value`, with the models of a list as plain data."""
    if isinstance(value, list):
        return [item.model_dump(mode="json", by_alias=True) if isinstance(item, BaseModel) else item for item in value]
    return value


def _choices(annotation: Any) -> str:
    """Return the types or words that `create` accepts for an annotation; empty if there is no choice."""
    words = [word for word in dict.fromkeys(_words(annotation)) if word not in NOT_BUILT]
    return f" ({' | '.join(words)})" if len(words) > 1 else ""


def _words(annotation: Any) -> Iterator[str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if "type" in annotation.model_fields:
            yield from get_args(annotation.model_fields["type"].annotation)
        return
    for part in get_args(annotation):
        if isinstance(part, str):
            yield part
        else:
            yield from _words(part)
