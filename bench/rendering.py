"""Renders one server repeatedly in this process, and prints the times in ms as JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import Final

from deployer.core.spec.platform import PROFILES
from deployer.core.spec.schema import Spec
from deployer.operations.render import manifests

TIMES: Final = 10


def main() -> None:
    """Render once with templates that must be read and compiled, then with cached templates."""
    first = _milliseconds()
    json.dump({"first": first, "again": min(_milliseconds() for _ in range(TIMES))}, sys.stdout)


def _milliseconds() -> float:
    begun = time.perf_counter()
    documents, _ = manifests(Spec(), PROFILES["kubernetes"], "default")
    took = time.perf_counter() - begun
    if not any(name.startswith("Deployment/") for name in documents):
        raise SystemExit(f"not a server: {sorted(documents)}")
    return 1000 * took


if __name__ == "__main__":
    main()
