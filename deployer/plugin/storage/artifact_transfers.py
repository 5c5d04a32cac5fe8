"""Configures artifact transfers between clients and S3, if artifacts are stored in S3."""

from __future__ import annotations

import base64
import hashlib
from functools import wraps
from typing import Any

MOST_PARTS = 10_000  # of a multipart upload; the limit of S3


def advertise(transfer: str) -> None:
    """Tell clients to transfer artifacts through the server (`proxied`) or directly to the artifact store (`direct`).

    Without this function, a server with artifacts in S3 may announce direct transfers. MLflow 3.17 always does so.
    MLflow 3.18 does so if MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD and _DOWNLOAD are set. Clients from 3.17 on then use
    direct transfers (mlflow/server/handlers.py `build_server_info_payload`,
    mlflow/store/artifact/mlflow_artifacts_repo.py).
    """
    from mlflow.server import handlers, server_info_api

    original = handlers.build_server_info_payload
    flags = (handlers.SERVER_INFO_MULTIPART_UPLOADS_ENABLED, handlers.SERVER_INFO_MULTIPART_DOWNLOADS_ENABLED)

    def payload() -> dict[str, Any]:
        answer: dict[str, Any] = original()
        if transfer == "direct" and not all(answer[flag] for flag in flags):
            raise RuntimeError("this artifact store cannot be reached directly")
        return {**answer, **dict.fromkeys(flags, transfer == "direct")}

    # the Flask route looks the function up in `handlers`, the FastAPI route has imported its name
    handlers.build_server_info_payload = server_info_api.build_server_info_payload = payload


def delete_as_before() -> None:
    """Send bulk deletions to S3 with Content-MD5, the checksum that every S3 service accepts.

    S3 requires a checksum for bulk deletions. Since 1.36, boto3 sends a checksum that Ceph-like services reject,
    whatever the value of AWS_REQUEST_CHECKSUM_CALCULATION (github.com/s3fs-fuse/s3fs-fuse/issues/2639).
    """
    import boto3

    def with_md5(request: Any, **_: Any) -> None:
        for name in [name for name in request.headers if name.lower().startswith(("x-amz-checksum-", "x-amz-sdk-"))]:
            del request.headers[name]
        digest = hashlib.md5(request.body, usedforsecurity=False).digest()
        request.headers["Content-MD5"] = base64.b64encode(digest).decode("ascii")

    boto3.setup_default_session()  # MLflow creates its clients from the default session
    boto3.DEFAULT_SESSION.events.register("before-sign.s3.DeleteObjects", with_md5)


def bound_parts() -> None:
    """Refuse multipart uploads with more than MOST_PARTS parts.

    MLflow signs a URL for each part and keeps all URLs in memory. A client chooses the number of parts
    (mlflow/server/handlers.py `_create_multipart_upload_artifact`).
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

    original = S3ArtifactRepository.create_multipart_upload

    @wraps(original)
    def create(self: Any, local_file: str, num_parts: int = 1, artifact_path: str | None = None) -> Any:
        if not 1 <= num_parts <= MOST_PARTS:
            message = f"num_parts must be a number from 1 to {MOST_PARTS}"
            raise MlflowException.invalid_parameter_value(message)
        return original(self, local_file, num_parts, artifact_path)

    S3ArtifactRepository.create_multipart_upload = create
