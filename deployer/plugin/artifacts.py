"""How artifacts go between clients and S3; loaded by launch.py, and only where they are kept there."""

from __future__ import annotations

import base64
import hashlib
from typing import Any


def advertise(transfer: str) -> None:
    """Tell clients to move artifacts through the server (`proxied`), or straight to the artifact store (`direct`).

    A server in front of S3 says that it can do direct transfers, MLflow 3.17 always and 3.18 where
    MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD and _DOWNLOAD are set; clients since 3.17 then do them
    (mlflow/server/handlers.py `build_server_info_payload`, mlflow/store/artifact/mlflow_artifacts_repo.py).
    """
    from mlflow.server import handlers, server_info_api

    original = handlers.build_server_info_payload
    flags = (handlers.SERVER_INFO_MULTIPART_UPLOADS_ENABLED, handlers.SERVER_INFO_MULTIPART_DOWNLOADS_ENABLED)

    def payload() -> dict[str, Any]:
        answer: dict[str, Any] = original()
        if transfer == "direct" and not all(answer[flag] for flag in flags):
            raise RuntimeError("this artifact store cannot be reached directly")
        return {**answer, **dict.fromkeys(flags, transfer == "direct")}

    # the Flask route looks it up in its own module, the FastAPI route has imported the name
    handlers.build_server_info_payload = server_info_api.build_server_info_payload = payload


def delete_as_before() -> None:
    """Let deletions from S3 carry the checksum that every service knows.

    Where many objects are deleted at once S3 demands one, and boto3 takes since 1.36 one that Ceph-like services
    refuse, whatever AWS_REQUEST_CHECKSUM_CALCULATION says (github.com/s3fs-fuse/s3fs-fuse/issues/2639).
    """
    import boto3

    def with_md5(request: Any, **_: Any) -> None:
        for name in [name for name in request.headers if name.lower().startswith(("x-amz-checksum-", "x-amz-sdk-"))]:
            del request.headers[name]
        digest = hashlib.md5(request.body, usedforsecurity=False).digest()
        request.headers["Content-MD5"] = base64.b64encode(digest).decode("ascii")

    boto3.setup_default_session()  # the one that MLflow's clients are made of
    boto3.DEFAULT_SESSION.events.register("before-sign.s3.DeleteObjects", with_md5)
