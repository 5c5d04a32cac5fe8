"""Turns the bytes of a spec file into a Spec, and reports all mistakes at once, each with the path of its field."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from deployer.core.errors import InvalidSpec, Problem, any_of
from deployer.core.remedies import Remedy
from deployer.core.spec.fields import (
    STORED,
    BucketName,
    NamespaceName,
    ObjectName,
    Plain,
    Prefix,
    Quantity,
    Region,
    Word,
)
from deployer.core.spec.schema import API_VERSION, KIND, NOT_BUILT, Spec
from deployer.core.spec.yaml_mistakes import explained

MAX_BYTES: Final = 64 << 10  # a spec with every field set has 2 KiB
MAX_DEPTH: Final = 20

_PLAIN: Final[Mapping[str, str]] = {
    "int_type": "must be a whole number",
    "string_type": "must be text (put it in quotes)",
    "bool_type": "must be true or false",
    "model_type": "must be a mapping (key: value lines below it)",
    "model_attributes_type": "must be a mapping (key: value lines below it)",
    "dict_type": "must be a mapping (key: value lines below it)",
    "list_type": "must be a list (lines that begin with -)",
    "missing": "is missing",
}

_BOUNDS: Final[Mapping[str, str]] = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
}

_FORMS: Final[Mapping[str, str]] = {
    get_args(kind)[1].pattern: text
    for kind, text in (
        (Quantity, "must be a size such as 8Gi"),
        (ObjectName, "must be the name of a Kubernetes object: lower-case letters, digits, '-' and '.'"),
        (NamespaceName, "must be the name of a namespace: lower-case letters, digits and '-'"),
        (Word, "must be printable ASCII without blanks"),
        (Plain, "must be one line without control characters"),
        (BucketName, "must be 3 to 63 lower-case letters, digits, '.' and '-'; the first and the last no '.' or '-'"),
        (Prefix, "must be letters, digits and ! _ . * ' ( ) / -"),
        (Region, "must be a region such as us-east-1: at most 64 letters, digits, '-' and '_'"),
    )
}


class _Refusal(yaml.MarkedYAMLError):
    """YAML that a spec may not have; deployer wrote the message, not PyYAML."""

    @property
    def line(self) -> int:
        """The line of the mistake, from 1 on."""
        assert self.problem_mark is not None  # every refusal is raised with a mark
        return self.problem_mark.line + 1


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses aliases (a few lines can expand to gigabytes), repeated keys and deep nesting."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise self._refusal("anchors and aliases are not allowed")
        self.depth += 1
        try:
            if self.depth > MAX_DEPTH:
                raise self._refusal(f"nested deeper than {MAX_DEPTH} levels")
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def _refusal(self, problem: str) -> _Refusal:
        return _Refusal(None, None, problem, self.get_mark())

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
                raise _Refusal(None, None, "a key must be plain text", key_node.start_mark)
            if key_node.value in seen:
                raise _Refusal(None, None, f"key {key_node.value!r} stands here twice", key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def parse(raw: bytes, source: str) -> dict[str, Any]:
    """Return the mapping in the bytes of a spec file.

    Raises:
        InvalidSpec: not UTF-8, too large, not YAML, several documents, or not a mapping. `source` names the file.
    """

    def fail(message: str) -> InvalidSpec:
        return InvalidSpec(source, (Problem("", message),), hint=Remedy.SEE_EXAMPLE)

    if len(raw) > MAX_BYTES:
        raise fail(f"larger than {MAX_BYTES // 1024} KiB, so not a spec")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise fail(f"not UTF-8 text (byte {error.start})") from None
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506  # a SafeLoader: plain data only
    except _Refusal as error:
        raise fail(f"line {error.line}: {error.problem}") from None
    except yaml.MarkedYAMLError as error:
        raise fail(explained(error)) from None
    except yaml.reader.ReaderError as error:
        raise fail(f"not YAML: character #x{error.character:04x} at position {error.position} is not allowed") from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError):
        # PyYAML's constructors raise these if a value does not fit its tag or form; the message may quote the file
        raise fail("not YAML: a value that cannot be read as what it looks like; put such values in quotes") from None
    if data is None:
        raise fail("empty")
    if not isinstance(data, dict):
        raise fail("must be a mapping (key: value lines)")
    return data


def located(error: InvalidSpec, raw: bytes) -> InvalidSpec:
    """Return the same mistakes with their lines in the file.

    `raw` must have passed `parse`; it is empty if there is no file.
    """
    lines = _lines("", yaml.compose(raw.decode("utf-8-sig"), Loader=_Loader))
    found = dict(lines)

    def line(path: str) -> int | None:
        while path and path not in found:
            path = path.rpartition(".")[0]
        return found.get(path)

    problems = tuple(Problem(each.path, each.message, line(each.path)) for each in error.problems)
    return InvalidSpec(error.source, problems, hint=error.hint)


def _lines(path: str, node: yaml.Node | None) -> Iterator[tuple[str, int]]:
    """Yield the path of every key and item below a node, with its line, from 1 on."""
    if isinstance(node, yaml.MappingNode):
        inside = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        inside = [(str(index), item, item) for index, item in enumerate(node.value)]
    else:
        return
    for name, at, value in inside:
        inner = f"{path}.{name}" if path else name
        yield inner, at.start_mark.line + 1
        yield from _lines(inner, value)


def validate(data: Mapping[str, Any], source: str, *, stored: bool = False) -> Spec:
    """Return the Spec in `data`. `stored` marks the spec of an existing server, made by this release or an earlier one.

    Raises:
        InvalidSpec: with every mistake and its path.
    """
    header = tuple(
        Problem(key, f"is missing; must be {wanted}")
        for key, wanted in (("apiVersion", API_VERSION), ("kind", KIND))
        if data.get(key) is None
    )
    try:
        spec = Spec.model_validate(data, by_alias=True, by_name=False, context={STORED: stored})
    except ValidationError as error:
        raise InvalidSpec(source, (*header, *_problems(error))) from None
    if header:
        raise InvalidSpec(source, header)
    return spec


def _problems(error: ValidationError) -> Iterator[Problem]:
    for item in error.errors(include_url=False, include_input=False):
        model, path = _walk(item["loc"])
        kind = item["type"]
        if path == "metadata.namespace":
            yield Problem(path, "unknown key; the namespace is given by -n")
        elif kind == "string_type" and (form := _form(model, str(item["loc"][-1]))):
            yield Problem(path, form)
        elif kind == "string_too_short" and item["ctx"]["min_length"] == 1:
            yield Problem(path, "must not be empty")
        elif kind == "extra_forbidden":
            yield Problem(path, f"unknown key{_suggestion(str(item['loc'][-1]), model)}")
        elif kind in ("literal_error", "union_tag_invalid"):
            context = item.get("ctx", {})
            expected = str(context.get("expected") or context.get("expected_tags"))
            wanted = [word for word in re.findall("'([^']*)'", expected) if word not in NOT_BUILT]
            tag = ".type" if kind == "union_tag_invalid" else ""
            yield Problem(f"{path}{tag}", f"must be {any_of(wanted)}")
        elif kind == "union_tag_not_found":
            yield Problem(path, "needs `type: ...` to say which kind it is")
        elif kind == "string_pattern_mismatch":
            yield Problem(path, _FORMS.get(item.get("ctx", {}).get("pattern", ""), "has characters it cannot have"))
        elif kind in _BOUNDS:
            yield Problem(path, _BOUNDS[kind].format(**item["ctx"]))
        else:
            text = item["msg"].removeprefix("Value error, ")
            yield Problem(path, _PLAIN.get(kind) or re.sub(r"^(Input|String) should", "must", text))


def _form(model: type[BaseModel] | None, key: str) -> str | None:
    """Return the required form of a size that was written as a number; None for any other field."""
    fields = model.model_fields.items() if model else ()
    of_key = next((field for name, field in fields if key in (field.alias, name)), None)
    size = get_args(Quantity)[1].pattern
    sized = of_key and any(getattr(rule, "pattern", None) == size for rule in of_key.metadata)
    return _FORMS[size] if sized else None


def _suggestion(key: str, model: type[BaseModel] | None) -> str:
    known = [field.alias or name for name, field in model.model_fields.items()] if model else []
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known here: {', '.join(known)}" if known else ""


def _walk(location: tuple[int | str, ...]) -> tuple[type[BaseModel] | None, str]:
    """Return the model that holds the last element of a pydantic location, and the path as a file has it.

    pydantic puts the tag of a union (`sqlite`) after the field (`database`); a file has no such level.
    """
    model: type[BaseModel] | None = Spec
    parts: list[str] = []
    rest = list(location)
    while rest:
        at = rest.pop(0)
        element = str(at)
        if element == "[key]":  # pydantic adds this for an invalid key of a mapping, after the key itself
            break
        parts.append(element or repr(element))
        if isinstance(at, int):  # an index: the items have the model of their list
            continue
        field = next((f for n, f in model.model_fields.items() if element in (f.alias, n)), None) if model else None
        if not rest:
            break
        choices = _models(field.annotation) if field else {}
        model = choices.get(str(rest[0])) if len(choices) > 1 else next(iter(choices.values()), None)
        if len(choices) > 1 and str(rest[0]) in choices:
            rest.pop(0)
    return model, ".".join(parts)


def _models(annotation: Any) -> dict[str, type[BaseModel]]:
    """Return the models that an annotation allows, by the value of their `type` field."""
    if get_origin(annotation) in (Annotated, list):
        return _models(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return {tag: model for part in get_args(annotation) for tag, model in _models(part).items()}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        tag = annotation.model_fields.get("type")
        return {get_args(tag.annotation)[0] if tag else "": annotation}
    return {}
