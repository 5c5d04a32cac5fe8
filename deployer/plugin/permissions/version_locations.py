"""Refuses a model version's stored location outside the version's run or logged model; does not import deployer.

READ on a registered model gives access to the files at the location of each version (mlflow/server/handlers.py
`get_model_version_artifact_handler`). MLflow 3.17 and 3.18 compare the location of a new version with the run or the
logged model of the version. Earlier versions of MLflow stored any location. So when MLflow is about to use a location
for a non-admin user, this module accepts only:

- the placeholder of a prompt;
- `runs:/RUN`, and a folder in the artifacts of RUN, if the version has this run;
- a folder in the artifacts of a logged model, in any of three cases: (a) the version's source is this logged model; (b)
  the version has the same run as the logged model; (c) neither of them has a run.

Case (b) is for versions whose source does not name the logged model (`models:/IDENTIFIER`): copies of a version, and
versions that MLflow's web page registers from a logged model. Case (c) is safe, because nobody can guess the identifier
of a logged model, and a logged model without a run is found only by its identifier.
"""

from __future__ import annotations

import re
import urllib.parse
from functools import wraps
from typing import Any

from .artifact_locations import refusal

OF_RUN = re.compile(r"runs:/([^/]+)(/.*)?")
# `SqlAlchemyStore.create_logged_model` appends this to the location of an experiment
OF_LOGGED_MODEL = re.compile(r"/models/(m-[^/]+)/artifacts(?=/|\Z)")
SPECIAL = re.compile(r"[\\\x00-\x1f\x7f]")  # some programs leave these out, or take them for a slash


def install() -> None:
    """Check locations before MLflow uses them."""
    from flask import has_request_context
    from mlflow.server import auth
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as ModelStore

    usual = ModelStore.get_model_version_download_uri

    @wraps(usual)
    def get_model_version_download_uri(self: Any, name: str, version: Any) -> str:
        location: str = usual(self, name, version)
        is_own = _is_of_version(location, self.get_model_version(name, version))
        if not is_own and not (has_request_context() and auth.sender_is_admin()):
            raise refusal(f"Version {version} of model '{name}' has a location outside its run or logged model.")
        return location

    ModelStore.get_model_version_download_uri = get_model_version_download_uri


def _is_of_version(location: str, version: Any) -> bool:
    from mlflow.server import handlers

    if location in handlers._PROMPT_SOURCE_PLACEHOLDERS:
        return True
    if not is_plain(location):
        return False
    run = OF_RUN.fullmatch(location)
    if run is not None:
        return bool(run[1] == version.run_id)
    return _is_in_run(location, version.run_id) or any(
        _is_in_logged_model(location, identifier, version) for identifier in OF_LOGGED_MODEL.findall(location)
    )


def is_plain(location: str) -> bool:
    """Tell whether a location has no `..` segment and no special characters, in any encoding."""
    while (decoded := urllib.parse.unquote(location)) != location:
        location = decoded
    return ".." not in location.split("/") and SPECIAL.search(location) is None


def _is_in_run(location: str, run_id: str | None) -> bool:
    from mlflow.exceptions import MlflowException
    from mlflow.server import handlers

    try:
        run = handlers._get_tracking_store().get_run(run_id) if run_id else None
    except MlflowException:  # the run no longer exists
        return False
    return run is not None and handlers._is_uri_within_root(location, run.info.artifact_uri)


def _is_in_logged_model(location: str, identifier: str, version: Any) -> bool:
    from mlflow.exceptions import MlflowException
    from mlflow.server import handlers

    try:
        model = handlers._get_tracking_store().get_logged_model(identifier, allow_deleted=True)
    except MlflowException:  # the logged model no longer exists
        return False
    is_same = names(version.source, identifier) or (model.source_run_id or "") == (version.run_id or "")
    return is_same and handlers._is_uri_within_root(location, model.artifact_location)


def names(source: str | None, identifier: str) -> bool:
    """Tell whether a source is the logged model with this identifier: `models:/IDENTIFIER`, or a folder in it."""
    scheme, _, path = (source or "").partition(":")
    return scheme == "models" and path.strip("/").partition("/")[0] == identifier
