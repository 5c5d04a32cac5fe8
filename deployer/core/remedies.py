"""What a user can do about an error, as values. The command line has the words for them (deployer/cli/remedies.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto


class Remedy(Enum):
    """One thing to do; the names say what. A remedy whose words have placeholders gets their values from `of`."""

    ADD_RECOVER = auto()
    ADMIT_CONTROLLER = auto()
    ADOPT_OBJECT = auto()
    ASK_FOR_ROLE = auto()
    ASK_OR_CHOOSE_EXPOSURE = auto()
    BEGIN_ANEW = auto()
    BRING_BACK = auto()
    CHANGE_LINES = auto()
    CHANGE_LINES_OR_EXPOSURE = auto()
    CHECK_ADDRESS = auto()
    CHECK_ADDRESS_AND_NETWORK = auto()
    CHECK_ALLOW_LIST = auto()
    CHECK_AUTHENTICATION = auto()
    CHECK_ENDPOINT = auto()
    CHECK_GATEWAY = auto()
    CHECK_ROUTES = auto()
    CHECK_VOLUME = auto()
    CHOOSE_BUCKET = auto()
    CHOOSE_CONTEXT = auto()
    CHOOSE_EXPOSURE = auto()
    CHOOSE_HOST = auto()
    CHOOSE_INGRESS_CLASS = auto()
    CHOOSE_NAMESPACE = auto()
    CHOOSE_OTHER_HOST = auto()
    CHOOSE_OTHER_HOST_OR_NAME = auto()
    CHOOSE_PORT = auto()
    CHOOSE_PROFILE = auto()
    FIND_S3_KEYS = auto()
    GIVE_DATABASES = auto()
    GIVE_HOST = auto()
    GIVE_HOST_OR_NAME = auto()
    GIVE_HOST_OR_TUNNEL = auto()
    GIVE_TIME = auto()
    GIVE_TIME_OR_TRY_AGAIN = auto()
    GO_ON = auto()
    INSTALL_KEYRING = auto()
    INSTALL_NEWEST = auto()
    INSTALL_TESTED = auto()
    KEEP_ARTIFACTS = auto()
    KEEP_DATABASE = auto()
    KEEP_PASSWORD = auto()
    KEEP_USERNAME = auto()
    LEAVE_FILE_OUT = auto()
    LEAVE_HOST_OUT = auto()
    LEAVE_KEYRING_OUT = auto()
    LEAVE_PIN_OUT = auto()
    LEAVE_PIN_OUT_OR_PULL = auto()
    LISTEN_ON_NETWORK = auto()
    LIST_SERVERS = auto()
    LOG_IN = auto()
    LOG_IN_AGAIN = auto()
    LOOK_CLOSER = auto()
    MAKE_BUCKET = auto()
    MAKE_NAMESPACE = auto()
    MAKE_READABLE = auto()
    MAKE_ROUTE = auto()
    MEND_KUBECONFIG = auto()
    NAME_CERTIFICATE = auto()
    NAME_CSC_PROJECT = auto()
    NAME_FOUND_REGION = auto()
    NAME_OTHER_PORT = auto()
    NAME_PORT = auto()
    NAME_REGION = auto()
    NAME_REGION_OR_NONE = auto()
    NAME_SERVED_HOST = auto()
    NAME_STORAGE_CLASS = auto()
    NAME_THAT_REGION = auto()
    NAME_THIS_MACHINE = auto()
    NAME_USER = auto()
    NEW_PASSWORD = auto()
    OVERWRITE_FIELDS = auto()
    PROVE = auto()
    RECOVER_PASSWORD = auto()
    REPLACE_ALLOW_LIST = auto()
    RESTORE_CREDENTIALS = auto()
    RESTORE_FILE = auto()
    RESTORE_OR_RECOVER_PASSWORD = auto()
    ROTATE_S3_KEYS = auto()
    SEE_EXAMPLE = auto()
    SEE_FIELDS = auto()
    SEE_LOG = auto()
    SEE_LOG_OF_WORKLOAD = auto()
    SEE_STATUS = auto()
    SEND_THROUGH_SERVER = auto()
    START = auto()
    START_AND_REPEAT = auto()
    STOP_BOTH = auto()
    STOP_THERE = auto()
    STOP_THERE_OR_TAKE_OVER = auto()
    UNLOCK_KEYRING = auto()
    WAIT_FOR_NAMESPACE = auto()

    def of(self, **values: object) -> Advice:
        """Return this remedy with the values for the placeholders of its words."""
        return Advice(self, values)


@dataclass(frozen=True)
class Advice:
    """A remedy and the values for the placeholders of its words; none of them is a secret."""

    remedy: Remedy
    values: Mapping[str, object]


Hint = str | Remedy | Advice
"""What a user can do: a text that is the same for each caller of deployer's layers, or a value."""


@dataclass(frozen=True)
class ServerRef:
    """The name of a server and its place, which together identify the server.

    `namespace` is None on this machine. `context` is a context of the kubeconfig, None on this machine and in a pod.
    """

    name: str
    namespace: str | None = None
    context: str | None = None
