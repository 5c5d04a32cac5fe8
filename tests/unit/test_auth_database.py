"""The configuration of basic auth as MLflow reads it, with the database URL as a secret."""

import configparser
import os

import pytest

from deployer.plugin.storage import databases

URI = "postgresql+psycopg2://u:p%40%25%%(x)s@h/d"


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "basic_auth.ini"
    path.write_text("[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///a%%20b\nname = 100%%\n")
    monkeypatch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(path))
    return path


def read():
    """Read the configuration as mlflow/server/auth/config.py does."""
    config = configparser.ConfigParser()
    config.read(os.environ["MLFLOW_AUTH_CONFIG_PATH"])
    return dict(config["mlflow"])


def test_the_environment_overrides_the_database_url_of_the_file(file, monkeypatch):
    monkeypatch.setenv(databases.AUTH_DATABASE, URI)
    before = file.read_text()
    databases.point_to_auth_database()
    assert read() == {"default_permission": "READ", "database_uri": URI, "name": "100%"}
    assert file.read_text() == before
    assert databases.AUTH_DATABASE not in os.environ


def test_a_forked_process_reads_the_same_configuration(file, monkeypatch):
    monkeypatch.setenv(databases.AUTH_DATABASE, URI)
    databases.point_to_auth_database()
    pid = os.fork()
    if not pid:
        os._exit(0 if read()["database_uri"] == URI else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_upgrade_command_contains_no_postgresql_url():
    told = databases._upgrade(URI, "-m mlflow", "mlflow.db", "db", "upgrade")
    assert "read -rs URL" in told
    assert "postgresql" not in told
    assert "sqlite:///a" in databases._upgrade("sqlite:///a", "-m mlflow", "mlflow.db", "db", "upgrade")


def test_without_a_url_in_the_environment_the_file_is_read(file):
    databases.point_to_auth_database()
    assert os.environ["MLFLOW_AUTH_CONFIG_PATH"] == str(file)
    assert read()["database_uri"] == "sqlite:///a%20b"
