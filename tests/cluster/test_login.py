"""The user name on the cluster, with a kubeconfig like that of `oc login`, with and without `oc`.

`oc` is not available here. kubectl replaces it: its `whoami` and its message for an expired login are the same. These
tests therefore check deployer and openshift-client, not `oc`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.cluster.user import User


@pytest.fixture
def member(project: str, new_user: Callable[..., User]) -> User:
    """A service account of a project, with a token and with a context name like that of `oc login`."""
    owner = new_user(namespace=project)
    owner.kubectl("create", "serviceaccount", "robot")
    owner.kubectl("create", "rolebinding", "robot", "--clusterrole=admin", f"--serviceaccount={project}:robot")
    return with_token(owner, owner.kubectl("create", "token", "robot").strip())


def with_token(user: User, token: str) -> User:
    config = yaml.safe_load(user.kubeconfig.read_text())
    name = f"{user.namespace}/api-test:6443/Robot"
    config["users"][0]["user"] = {"token": token}
    config["contexts"][0]["name"] = config["current-context"] = name
    file = user.home / "by-login.kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return dataclasses.replace(user, kubeconfig=file)


@pytest.fixture
def with_oc(member: User, tmp_path: Path) -> dict[str, str]:
    """An environment with a program `oc` on PATH that prints the user name."""
    folder = tmp_path / "bin"
    folder.mkdir()
    kubectl = " ".join(f"'{word}'" for word in member.bed.provider.kubectl()[:1])
    (folder / "oc").write_text(
        f"""#!/bin/sh
printf '%s\\n' "$*" >>'{tmp_path}/asked'
[ "$1" = whoami ] && shift && exec {kubectl} auth whoami --output='jsonpath={{.status.userInfo.username}}' "$@"
exit 64
"""
    )
    (folder / "oc").chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_create_prints_the_user_name(member: User) -> None:
    created = member.run("create", "mlflow", "--profile", "rahti")
    assert f"as system:serviceaccount:{member.namespace}:robot" in created.stderr


def test_an_installed_oc_is_asked_for_the_user_name(member: User, with_oc: dict[str, str], tmp_path: Path) -> None:
    refused = member.run("create", "mlflow", "--allow-from", "nonsense", env=with_oc, code=2).stderr
    assert f"as system:serviceaccount:{member.namespace}:robot" in refused
    assert (tmp_path / "asked").read_text() == f"whoami --context={member.namespace}/api-test:6443/Robot\n"


@pytest.mark.parametrize("oc", [True, False])
def test_an_expired_login_is_answered_with_the_oc_login_command(
    member: User, with_oc: dict[str, str], tmp_path: Path, oc: bool
) -> None:
    late = with_token(member, "sha256~ended-canary")
    refused = late.run("create", env=with_oc if oc else {}, code=4)
    assert "has ended (401)" in refused.stderr
    assert "`oc login https://" in refused.stderr
    assert "canary" not in refused.stdout + refused.stderr
    assert not (tmp_path / "asked").exists()  # deployer noticed the expired login without `oc`


def test_a_failing_oc_is_ignored(member: User, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "oc").write_text("#!/bin/sh\necho 'error: unknown' >&2\nexit 1\n")
    (folder / "oc").chmod(0o755)
    env = {"PATH": f"{folder}:{os.environ['PATH']}"}
    refused = member.run("create", "mlflow", "--allow-from", "nonsense", env=env, code=2).stderr
    assert f"as system:serviceaccount:{member.namespace}:robot" in refused
