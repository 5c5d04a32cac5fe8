"""The MLflow versions that this release runs, and its default version."""

from __future__ import annotations

import re
from typing import Final

DEFAULT_MLFLOW: Final = "3.17.2"
# The plugin depends on names inside MLflow. They were checked for these minor versions. The plugin does not import
# deployer and has its own list (plugin/seams.tsv).
SUPPORTED_MINORS: Final = ((3, 17), (3, 18))
MIN_PYTHON: Final = (3, 10)  # MLflow 3.17 metadata: Requires-Python >=3.10

_VERSION = re.compile(r"(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})")


def unsupported_reason(version: str) -> str | None:
    """Return why `version` (`MAJOR.MINOR.PATCH`) cannot be used, or None if it can."""
    match = _VERSION.fullmatch(version)
    if not match:
        return f"{version!r} is not a version like {DEFAULT_MLFLOW}"
    if (int(match[1]), int(match[2])) not in SUPPORTED_MINORS:
        known = ", ".join(f"{major}.{minor}.x" for major, minor in SUPPORTED_MINORS)
        return f"MLflow {version} is not supported by this release, which runs {known}"
    return None


def constraints_file(version: str) -> str:
    """Return the name of the file in `deployer/constraints/` with the tested dependencies of a supported `version`."""
    major, minor, _ = version.split(".", 2)
    return f"mlflow-{major}.{minor}.txt"
