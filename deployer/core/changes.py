"""What differs between two specs, by path."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deployer.core.spec import Spec


@dataclass(frozen=True)
class Change:
    """One field: its path in a spec file, and its value before and after (None: not set)."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.path}: {_shown(self.before)} -> {_shown(self.after)}"


def spec_changes(before: Spec, after: Spec) -> tuple[Change, ...]:
    """Return every field that differs. A spec holds no secrets, so nothing needs masking."""
    return tuple(_differences("", before.document(), after.document()))


def _differences(path: str, before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            yield from _differences(f"{path}.{key}" if path else key, before.get(key), after.get(key))
    elif before != after:
        yield Change(path, before, after)


def _shown(value: Any) -> str:
    return "(not set)" if value is None else json.dumps(value)
