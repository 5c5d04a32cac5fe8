"""Puts the remedies of errors into words that can be typed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from deployer.core.remedies import Remedy

WORDS: Final[Mapping[Remedy, str]] = MappingProxyType(
    {
        Remedy.ADOPT_OBJECT: "choose another name for the server, remove that object, or add --force-conflicts to make "
        "it deployer's",
        Remedy.ASK_FOR_ROLE: "is the namespace right (-n NAME)? if so, ask its administrator for the role `edit` or "
        "`admin`",
        Remedy.CHECK_ADDRESS: "is its address right? --context chooses another, --target local needs none",
        Remedy.CHECK_ADDRESS_AND_NETWORK: "is its address right, are you on its network? --context chooses another, "
        "--target local needs none",
        Remedy.CHOOSE_CONTEXT: "choose one with --context, or add --target local",
        Remedy.CHOOSE_EXPOSURE: "choose another way to expose the server with --expose",
        Remedy.CHOOSE_HOST: "choose another host name with --host: each part has at most 63 characters, a-z, 0-9 and "
        "'-'",
        Remedy.CHOOSE_NAMESPACE: "choose another with -n NAME",
        Remedy.LEAVE_HOST_OUT: "leave --host out, or ask an administrator for the right to `create` and `update` "
        "routes/custom-host",
        Remedy.LOG_IN: "log in to a cluster first (on OpenShift: `oc login`), or add --target local",
        Remedy.LOG_IN_AGAIN: "log in to the cluster again, or choose another with --context",
        Remedy.MAKE_NAMESPACE: "`kubectl create namespace NAME` makes one, where you may; -n NAME chooses another",
        Remedy.MAKE_READABLE: "make it readable, or add --target local",
        Remedy.MEND_KUBECONFIG: "mend it, or add --target local",
        Remedy.NAME_CSC_PROJECT: "a CSC cluster wants to know who pays: add --csc-project NUMBER",
        Remedy.OVERWRITE_FIELDS: "agree with them, or add --force-conflicts to make it deployer's",
        Remedy.REPLACE_ALLOW_LIST: "add --force-conflicts to remove it; --allow-from with --force-conflicts sets "
        "another list in its place",
        Remedy.WAIT_FOR_NAMESPACE: "wait until it is gone, or use -n NAME",
    }
)


def words(hint: str | Remedy | None) -> str | None:
    """Return the words for a hint."""
    return WORDS[hint] if isinstance(hint, Remedy) else hint
