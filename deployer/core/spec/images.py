"""Checks references to container images, and prefixes of them, by the grammar of the distribution project.

Source: github.com/distribution/reference, `reference.go` (grammar) and `regexp.go`; `normalize.go` for the references
that are refused in addition (a repository that looks like an image ID).
"""

from __future__ import annotations

import re
from typing import Final

MAX_NAME: Final = 255  # characters of registry and path together (reference.go, RepositoryNameTotalLengthMax)

_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY: Final = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]{{2,39}}\])(?::[0-9]{{1,5}})?"
_COMPONENT: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_NAME: Final = rf"(?P<name>(?:{_REGISTRY}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
_VERSION: Final = r"(?P<tag>:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?P<digest>@[^@]*)?"
_REFERENCE: Final = re.compile(_NAME + _VERSION)
_ONLY_REGISTRY: Final = re.compile(_REGISTRY)
_DIGEST: Final = re.compile(
    r"@(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}|(?!sha256:|sha512:)[A-Za-z][A-Za-z0-9]*"
    r"(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})"
)
_IMAGE_ID: Final = re.compile(r"[0-9a-f]{64}")
_SCHEME: Final = re.compile(r"[a-z]+://")
_PREFIX: Final = "must be a registry such as ghcr.io, or with a path such as mirror.example.org/ghcr, without scheme"


def image_problem(text: str) -> str | None:
    """Return why `text` cannot be an image reference (`[REGISTRY[:PORT]/]PATH[:TAG][@DIGEST]`), or None.

    The result quotes nothing of `text`.
    """
    if _SCHEME.match(text):
        return "must be the reference of an image, which begins with a registry and has no scheme such as https://"
    match = _REFERENCE.fullmatch(text)
    if match is None or _IMAGE_ID.fullmatch(match["name"]):
        if text != text.lower() and _REFERENCE.fullmatch(text.lower()):
            return "must be the reference of an image; its path has lower-case letters only"
        return "must be the reference of an image, such as ghcr.io/mlflow/mlflow:v3.17.2-full"
    if len(match["name"]) > MAX_NAME:
        return f"has {len(match['name'])} characters of registry and path, an image has at most {MAX_NAME}"
    if match["digest"] and not _DIGEST.fullmatch(match["digest"]):
        return "has a wrong digest: it is @sha256: and 64 hexadecimal digits"
    return None


def mirror_problem(prefix: str, mirror: str) -> str | None:
    """Return why `mirror` cannot replace `prefix` in an image reference, or None.

    Both are a registry, a registry with the first parts of a path, or an image. A slash may end them. The result quotes
    nothing of them.
    """
    for text, what in ((prefix, "the prefix"), (mirror, "the mirror")):
        bare = text.removesuffix("/")
        if not _ONLY_REGISTRY.fullmatch(bare) and (problem := image_problem(bare)):
            return f"{what} {_PREFIX if problem.startswith('must') else problem}"
    if _is_versioned(mirror) and not _is_versioned(prefix):
        return "the mirror has a tag or digest and the prefix has none: leave it out, the image's own is kept"
    return None


def _is_versioned(text: str) -> bool:
    match = _REFERENCE.fullmatch(text.removesuffix("/"))
    if match is None:
        return False
    # `mirror:5000` is a registry with a port, not an image with a tag
    return bool(match["digest"] or (match["tag"] and not _ONLY_REGISTRY.fullmatch(text.removesuffix("/"))))
