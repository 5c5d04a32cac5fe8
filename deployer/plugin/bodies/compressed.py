"""Bounds the decompressed size of request bodies; does not import deployer.

Clients may compress OpenTelemetry traces, and MLflow decompresses them without a bound (mlflow/tracing/utils/otlp.py
`decompress_otlp_body`): 600 KB of gzip can hold 600 MB. MLflow also accepts any number of gzip members and needs
quadratic time to read them. MLflow's gateway has its own bound on decompressed bodies. `install` sets it to the same
size.
"""

from __future__ import annotations

import os
import zlib
from typing import Any

GATEWAY_BOUND = "MLFLOW_GATEWAY_MAX_DECOMPRESSED_REQUEST_SIZE"  # mlflow/environment_variables.py
GZIP, ZLIB, RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
FORMATS = {"gzip": (GZIP,), "deflate": (ZLIB, RAW)}  # some clients send "deflate" without the zlib header
BAD_REQUEST, CONTENT_TOO_LARGE = 400, 413


class TooLarge(Exception):
    """The decompressed body is larger than allowed."""


def decompressed(body: bytes, encoding: str, most: int) -> bytes:
    """Return the content of a compressed body, at most `most` bytes.

    Raises:
        TooLarge: the content is longer; decompression has stopped after `most` + 1 bytes.
        ValueError: the encoding is unknown, or the body is not exactly one compressed stream.
    """
    for bits in FORMATS.get(encoding, ()):
        stream = zlib.decompressobj(bits)
        try:
            content = stream.decompress(body, most + 1)
        except zlib.error:
            continue
        if len(content) > most:
            raise TooLarge
        if stream.eof and not stream.unused_data:
            return content
    raise ValueError(encoding)


def install(most: int) -> None:
    """Bound decompressed bodies to `most` bytes."""
    from fastapi import HTTPException
    from mlflow.server import otel_api

    os.environ.setdefault(GATEWAY_BOUND, str(most))

    def decompress_otlp_body(raw_body: bytes, content_encoding: str) -> bytes:
        try:
            return decompressed(raw_body, content_encoding, most)
        except TooLarge:
            text = f"The decompressed body is larger than {most} bytes, which is all that is accepted here."
            raise HTTPException(CONTENT_TOO_LARGE, text) from None
        except ValueError:
            known = " or ".join(FORMATS)
            text = f"The body is not one stream of Content-Encoding {content_encoding!r} ({known} are accepted)."
            raise HTTPException(BAD_REQUEST, text) from None

    module: Any = otel_api
    module.decompress_otlp_body = decompress_otlp_body
