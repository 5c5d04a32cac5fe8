"""Each right of a life cycle is removed once: an error names it, or a note if the command can continue."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.test_kill import side_by_side
from tests.cluster.user import User

# rights for diagnosis only: without them the command continues and prints a note
DIAGNOSIS = {("list", "", "events"), ("list", "", "persistentvolumeclaims")}
PUBLIC = ("create", "--expose", "ingress", "--host", "{host}", "--ingress-namespace", "ingress")
INSIDE = ("create", "--expose", "none")
AS_IT_IS: tuple[str, ...] = ()  # before a command that changes nothing
# each command with the command that restores its initial state (None: an empty namespace)
CYCLE: tuple[tuple[tuple[str, ...] | None, tuple[str, ...]], ...] = (
    (None, INSIDE),
    (AS_IT_IS, ("status",)),
    (AS_IT_IS, ("list",)),
    (AS_IT_IS, ("show-password",)),
    (AS_IT_IS, ("env",)),
    (AS_IT_IS, ("logs",)),
    (AS_IT_IS, ("verify",)),
    (AS_IT_IS, ("diff",)),
    (INSIDE, PUBLIC),
    (PUBLIC, ("create", "--expose", "gateway", "--gateway", "ingress/shared")),
    (PUBLIC, INSIDE),
    (INSIDE, ("stop",)),
    (("stop",), ("start",)),
    (PUBLIC, ("delete",)),
    (INSIDE, ("delete", "--delete-data", "--yes")),
)
Right = tuple[str, str, str]


def rights_used(requests: list[dict[str, Any]], namespace: str) -> set[Right]:
    """Return verb, API group and resource of every namespaced request of an audit log."""
    used = set()
    for request in requests:
        what = request.get("objectRef") or {}
        if what.get("namespace") == namespace:
            resource = "/".join(filter(None, (what["resource"], what.get("subresource"))))
            used.add((request["verb"], what.get("apiGroup", ""), resource))
    # an apply of a new object and a tunnel also need `create`, but the log has one verb per request
    both = {right for right in used if (right[0] == "patch" and "/" not in right[2]) or right[2] == "pods/portforward"}
    return used | {("create", group, resource) for _, group, resource in both}


def rules(rights: set[Right]) -> list[dict[str, Any]]:
    return [
        {"verbs": [verb], "apiGroups": [group], "resources": [resource]} for verb, group, resource in sorted(rights)
    ]


def words(command: tuple[str, ...], user: User) -> list[str]:
    return [word.format(host=user.host()) for word in command]


@pytest.mark.timeout(1800)
def test_every_missing_right_is_named_in_an_error_or_a_note(new_user: Callable[..., User]) -> None:
    owners = [new_user(), new_user()]
    tried: set[Right] = set()
    wrong: list[str] = []
    for before, command in CYCLE:
        for owner in owners:
            if before:
                owner.run(*words(before, owner))
            since = datetime.datetime.now(datetime.UTC)
            owner.run(*words(command, owner))
            used = rights_used(owner.bed.audit(user=owner.name, since=since), owner.namespace)

        def without(
            owner: User,
            right: Right,
            before: tuple[str, ...] | None = before,
            command: tuple[str, ...] = command,
            used: set[Right] = used,
        ) -> None:
            if before:
                owner.run(*words(before, owner))
            # a command that starts from an empty namespace gets a new one
            poor = new_user(rules=rules(used - {right}), namespace=None if before is None else owner.namespace)
            done = poor.run(*words(command, poor if before is None else owner), code=None)
            wrong.extend(judged(right, done.returncode, done.stderr))
            if before is None:  # the node has room for a few servers only
                owner.bed.kubectl("-n", poor.namespace, "delete", "deployment", "mlflow", "--ignore-not-found")

        side_by_side(owners, sorted(used - tried), without)
        tried |= used
    assert not wrong, "\n".join(wrong)
    assert len(tried) > 25
    assert tried >= DIAGNOSIS


def judged(right: Right, code: int, said: str) -> list[str]:
    verb, group, resource = right
    named = f"{verb} {resource}.{group}" if group else f"{verb} {resource}"
    expected = 0 if right in DIAGNOSIS else 4
    if code == expected and f"you may not {named} in namespace" in said:
        return []
    return [f"without {named}: exit {code}, {said[-500:]}"]


def test_the_audited_rights_of_a_create_are_sufficient(user: User, new_user: Callable[..., User]) -> None:
    user.run(*INSIDE)
    used = rights_used(user.bed.audit(user=user.name), user.namespace)
    assert not [right for right in used if right[2].startswith("statefulsets")]  # the server has none
    same = new_user(rules=rules(used))
    same.run(*INSIDE, "--dry-run")
    same.run(*INSIDE)
