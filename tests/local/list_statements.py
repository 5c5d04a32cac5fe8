"""Writes the statements that SQLite gets for a query, with and without pings (PYTHONPATH: the folder of launch.py)."""

import json

import launch

launch.load()
from deployer_plugin import mlflow_environment  # noqa: E402  # `load` makes the package importable
from deployer_plugin.storage import engines  # noqa: E402

mlflow_environment.configure_mlflow()
from mlflow.store.db import utils  # noqa: E402  # MLflow reads its environment at import


def statements() -> list[str]:
    """Return the statements of one query through a pooled connection that was used before."""
    engine = utils.create_sqlalchemy_engine("sqlite:///statements.db")
    said: list[str] = []
    connection = engine.raw_connection()
    connection.driver_connection.set_trace_callback(said.append)
    connection.close()
    with engine.connect() as connected:
        connected.exec_driver_sql("SELECT 2")
    return said


usual = statements()
engines.skip_pings()
print(json.dumps([usual, statements()]))
