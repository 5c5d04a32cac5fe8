import pytest

from deployer.core.secrets.references import FLASK_KEY, KEK_PASSPHRASE, WEBHOOK_KEY, SecretRef
from deployer.core.spec.schema import Proxy, S3Artifacts, Spec
from deployer.core.stack.components.server import needs
from deployer.core.stack.model import FilePath, VolumePath
from deployer.core.stack.settings import (
    AUTH_INI,
    DATA_VOLUME,
    TRUSTED_CA,
    auth_settings,
    outbound_environment,
    s3_environment,
    server_environment,
)

ENVIRONMENT = server_environment(["a.org", "b:*"], ["https://a.org", "http://localhost:1"], 40, 5123)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("MLFLOW_BACKEND_STORE_URI", ("sqlite:///", VolumePath(DATA_VOLUME, "tracking.db"))),
        ("MLFLOW_ARTIFACTS_DESTINATION", (VolumePath(DATA_VOLUME, "artifacts"),)),
        ("MLFLOW_AUTH_CONFIG_PATH", (FilePath(AUTH_INI),)),
        ("MLFLOW_SERVER_ALLOWED_HOSTS", ("a.org,b:*",)),
        ("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", ("https://a.org,http://localhost:1",)),
        ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", ("false",)),
        ("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE", ("10",)),
        ("MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW", ("114",)),
        ("DEPLOYER_THREADS", ("40",)),
        ("DEPLOYER_AUTH_CONNECTIONS", ("8",)),
        ("MLFLOW_ENABLE_ASSISTANT_SANDBOX", ("true",)),
        ("MLFLOW_DISABLE_TELEMETRY", ("true",)),
        ("MLFLOW_PORT", ("5123",)),
    ],
)
def test_the_environment_has_this_setting(name, text):
    assert ENVIRONMENT[name] == text


def test_every_needed_secret_is_the_whole_value_of_a_variable():
    references = [text for text in ENVIRONMENT.values() if any(isinstance(piece, SecretRef) for piece in text)]
    assert all(len(text) == 1 for text in references)
    assert {text[0] for text in references} == set(needs(Spec()))


def test_everything_the_launcher_requires_is_set():
    required = {
        "MLFLOW_BACKEND_STORE_URI", "MLFLOW_ARTIFACTS_DESTINATION", "MLFLOW_AUTH_CONFIG_PATH",
        "MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY",
    }  # fmt: skip
    assert required <= ENVIRONMENT.keys()


@pytest.mark.parametrize("permission", ["NO_PERMISSIONS", "READ", "EDIT", "MANAGE"])
def test_the_auth_file_holds_the_permission_and_a_separate_database_but_no_secret(permission):
    values = auth_settings(permission)
    assert values["default_permission"] == (permission,)
    assert values["database_uri"] == ("sqlite:///", VolumePath(DATA_VOLUME, "auth.db"))
    assert values["database_uri"] != ENVIRONMENT["MLFLOW_BACKEND_STORE_URI"]
    assert not any(isinstance(piece, SecretRef) for text in values.values() for piece in text)


def test_mlflow_itself_caches_no_credentials():
    assert auth_settings("READ")["auth_cache_ttl_seconds"] == ("0",)


def test_webhooks_and_sessions_have_different_keys():
    assert ENVIRONMENT["MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"] == (WEBHOOK_KEY,)
    assert ENVIRONMENT["MLFLOW_FLASK_SERVER_SECRET_KEY"] == (FLASK_KEY,)
    assert ENVIRONMENT["MLFLOW_CRYPTO_KEK_PASSPHRASE"] == (KEK_PASSPHRASE,)


@pytest.mark.parametrize(
    ("proxy", "variables"),
    [
        (Proxy(), {}),
        (Proxy(http="http://a:1"), {"HTTP_PROXY": "http://a:1", "http_proxy": "http://a:1"}),
        (Proxy(https="http://b:1"), {"HTTPS_PROXY": "http://b:1", "https_proxy": "http://b:1"}),
        (Proxy(no_proxy=".svc"), {"NO_PROXY": ".svc", "no_proxy": ".svc"}),
    ],
)
def test_proxy_variables_are_set_in_both_spellings(proxy, variables):
    assert outbound_environment(proxy, trusted_ca=False) == {name: (value,) for name, value in variables.items()}


def test_private_certificates_are_set_for_python_requests_and_s3():
    path = (FilePath(TRUSTED_CA),)
    wanted = {"SSL_CERT_FILE": path, "REQUESTS_CA_BUNDLE": path, "AWS_CA_BUNDLE": path}
    assert outbound_environment(Proxy(), trusted_ca=True) == wanted


def test_outbound_variables_hide_no_variable_of_the_server():
    proxy = Proxy(http="http://a:1", https="http://a:1", no_proxy="a")
    assert not ENVIRONMENT.keys() & outbound_environment(proxy, trusted_ca=True).keys()


@pytest.mark.parametrize(("transfer", "is_told"), [("proxied", False), ("direct", True)])
def test_mlflow_signs_urls_for_clients_only_with_direct_transfer(transfer, is_told):
    wanted = S3Artifacts(type="s3", bucket="abc", endpoint="https://a3s.fi", transfer=transfer)
    environment = s3_environment(wanted)
    assert environment["DEPLOYER_ARTIFACT_TRANSFER"] == (transfer,)
    for name in ("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD"):
        assert environment.get(name) == (("true",) if is_told else None)
