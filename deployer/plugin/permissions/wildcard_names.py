"""Refuses registered models and prompts with the name `*`, the wildcard of permissions; does not import deployer.

In MLflow's permissions, the name `*` stands for all objects of a kind. MLflow gives the creator of a registered model
or a prompt the permission MANAGE on its name (mlflow/server/auth/__init__.py
`set_can_manage_registered_model_permission`). When the name changes, MLflow moves the permissions to the new name
(`rename_registered_model_permission`). For the name `*`, this permission would be MANAGE on everybody's models.
Experiments, gateway objects, MCP servers and skills cannot have this name, and MLflow lets only administrators give
permissions on `*`.

The check is a mapper event of `SqlRegisteredModel`. MLflow 3.17 and 3.18 write the table of registered models only
through this class.
"""

from __future__ import annotations

from typing import Any

WILDCARD = "*"


def install() -> None:
    """Check the name of a registered model or a prompt before it is written."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.model_registry.dbmodels.models import SqlRegisteredModel
    from sqlalchemy import event, inspect

    def check(_mapper: Any, _connection: Any, row: Any) -> None:
        if row.name == WILDCARD and inspect(row).attrs.name.history.has_changes():
            text = f"A model or prompt must not be named '{WILDCARD}', which stands for all names in permissions."
            raise MlflowException.invalid_parameter_value(text)

    for moment in ("before_insert", "before_update"):
        event.listen(SqlRegisteredModel, moment, check)
