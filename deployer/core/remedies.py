"""What a user can do about an error, as values. The command line has the words for them (deployer/cli/remedies.py)."""

from __future__ import annotations

from enum import Enum, auto


class Remedy(Enum):
    """One thing to do; the names say what."""

    ADOPT_OBJECT = auto()
    ASK_FOR_ROLE = auto()
    CHECK_ADDRESS = auto()
    CHECK_ADDRESS_AND_NETWORK = auto()
    CHOOSE_CONTEXT = auto()
    CHOOSE_EXPOSURE = auto()
    CHOOSE_HOST = auto()
    CHOOSE_NAMESPACE = auto()
    LEAVE_HOST_OUT = auto()
    LOG_IN = auto()
    LOG_IN_AGAIN = auto()
    MAKE_NAMESPACE = auto()
    MAKE_READABLE = auto()
    MEND_KUBECONFIG = auto()
    NAME_CSC_PROJECT = auto()
    OVERWRITE_FIELDS = auto()
    REPLACE_ALLOW_LIST = auto()
    WAIT_FOR_NAMESPACE = auto()
