"""Puts the remedies of errors into words that can be typed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from string import Formatter
from types import MappingProxyType
from typing import Any, Final

from deployer.cli.flags import NAMES, with_values
from deployer.cli.typed import place_options
from deployer.core.errors import DeployerError, UnusableValue
from deployer.core.remedies import Advice, Hint, Remedy, ServerRef

# Placeholders are the values of `Remedy.of`. A value `server` gives two: {name}, and {place} for the options of its
# place. A value `fields` becomes flags. {x!q} quotes x for a shell.
WORDS: Final[Mapping[Remedy, str]] = MappingProxyType(
    {
        Remedy.ADD_RECOVER: "add --recover to make a new one",
        Remedy.ADMIT_CONTROLLER: "the ingress controller cannot reach the pod: the NetworkPolicy admits one namespace "
        "only; set spec.networkPolicy.ingressNamespace (--ingress-namespace) to the one where the controller runs",
        Remedy.ADOPT_OBJECT: "choose another name for the server, remove that object, or add --force-conflicts to make "
        "it deployer's",
        Remedy.ASK_FOR_ROLE: "is the namespace right (-n NAME)? if so, ask its administrator for the role `edit` or "
        "`admin`",
        Remedy.ASK_OR_CHOOSE_EXPOSURE: "ask who runs the cluster, or choose another way with --expose",
        Remedy.BEGIN_ANEW: "to begin anew: `deployer delete {name} --delete-data`, then create",
        Remedy.BRING_BACK: "`deployer create {name}` brings it back",
        Remedy.CHANGE_LINES: "change these lines, or leave them out",
        Remedy.CHANGE_LINES_OR_EXPOSURE: "add {fields}; in a file, change these lines, or leave them out",
        Remedy.CHECK_ADDRESS: "is its address right? --context chooses another, --target local needs none",
        Remedy.CHECK_ADDRESS_AND_NETWORK: "is its address right, are you on its network? --context chooses another, "
        "--target local needs none",
        Remedy.CHECK_ALLOW_LIST: "is this machine in allowFrom? a router may take seconds to know a new list: give "
        "more --timeout",
        Remedy.CHECK_AUTHENTICATION: "is authentication off? `deployer verify` says",
        Remedy.CHECK_ENDPOINT: "is the endpoint right? --s3-endpoint",
        Remedy.CHECK_GATEWAY: "is --gateway NAMESPACE/NAME right?",
        Remedy.CHECK_ROUTES: "does this cluster serve Routes? ask who runs it; --expose chooses another way",
        Remedy.CHECK_VOLUME: "are storage class and size right? --storage-class and --volume-size change them",
        Remedy.CHOOSE_BUCKET: "choose another name: --bucket",
        Remedy.CHOOSE_CONTEXT: "choose one with --context, or add --target local",
        Remedy.CHOOSE_EXPOSURE: "choose another way to expose the server with --expose",
        Remedy.CHOOSE_HOST: "choose another host name with --host: each part has at most 63 characters, a-z, 0-9 and "
        "'-'",
        Remedy.CHOOSE_INGRESS_CLASS: "`kubectl get ingressclasses` lists the classes; --ingress-class chooses one",
        Remedy.CHOOSE_NAMESPACE: "choose another with -n NAME",
        Remedy.CHOOSE_OTHER_HOST: "choose another with --host",
        Remedy.CHOOSE_OTHER_HOST_OR_NAME: "the oldest Route has the host: choose another with --host, or another name "
        "for the server",
        Remedy.CHOOSE_PORT: "`deployer create {name} --port NUMBER` chooses another",
        Remedy.CHOOSE_PROFILE: "if this is not OpenShift, add --profile kubernetes; if it is, use a project that "
        "`oc new-project` made",
        Remedy.FIND_S3_KEYS: "for Allas: run `allas-conf -m S3`; elsewhere set AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY; --s3-endpoint names another service",
        Remedy.GIVE_DATABASES: "`deployer create {name} --database-file FILE {place}`; {lines}",
        Remedy.GIVE_HOST: "add --host with a host name of your own",
        Remedy.GIVE_HOST_OR_NAME: "add --host with a host name of your own, or choose a name of at most {room} "
        "characters for the server",
        Remedy.GIVE_HOST_OR_TUNNEL: "add --host mlflow.example.org, or --expose none for a server reached by a tunnel",
        Remedy.GIVE_TIME: "give more time with --timeout SECONDS",
        Remedy.GIVE_TIME_OR_TRY_AGAIN: "give more time with --timeout SECONDS, or try again",
        Remedy.GO_ON: "`deployer create {name}` continues",
        Remedy.INSTALL_KEYRING: "pip install keyring; or leave --keyring out: the password then goes into "
        "~/.mlflow/credentials, which only you can read",
        Remedy.INSTALL_NEWEST: "the newest {minor} is {version}: --mlflow-version {version}",
        Remedy.INSTALL_TESTED: "--mlflow-version {version}",
        Remedy.KEEP_ARTIFACTS: "leave --bucket and the other S3 options (spec.artifacts) as they were, or make another "
        "server",
        Remedy.KEEP_DATABASE: "leave --database-file out (spec.database as it was), or make another server",
        Remedy.KEEP_PASSWORD: "leave --password-file out; `deployer show-password {name} {place}` prints the password, "
        "`deployer rotate-password {name} --password-file FILE {place}` changes it",
        Remedy.KEEP_USERNAME: "leave --username out (spec.auth.adminUsername is {username!r})",
        Remedy.LEAVE_FILE_OUT: "make it writable; or leave the file out: `deployer env` prints lines that need none",
        Remedy.LEAVE_HOST_OUT: "leave --host out, or ask an administrator for the right to `create` and `update` "
        "routes/custom-host",
        Remedy.LEAVE_KEYRING_OUT: "leave --keyring out: the password then goes into ~/.mlflow/credentials, which only "
        "you can read",
        Remedy.LEAVE_PIN_OUT: "leave --pin out; `deployer status` shows the SHA-256 of `pip freeze`",
        Remedy.LEAVE_PIN_OUT_OR_PULL: "an image that was loaded into the node, not pulled, has none; leave --pin out",
        Remedy.LISTEN_ON_NETWORK: "keep that tunnel open and set MLFLOW_TRACKING_URI yourself, or have it listen on "
        'the network: `deployer create {name} --host "$(hostname -f)"` on {host}',
        Remedy.LIST_SERVERS: "`deployer list` shows what there is",
        Remedy.LOG_IN: "log in to a cluster first (on OpenShift: `oc login`), or add --target local",
        Remedy.LOG_IN_AGAIN: "log in to the cluster again, or choose another with --context",
        Remedy.LOOK_CLOSER: "`deployer verify` looks closer; the server's log says more",
        Remedy.MAKE_BUCKET: "add --make-bucket to make it, or name another",
        Remedy.MAKE_NAMESPACE: "`kubectl create namespace NAME` makes one, where you may; -n NAME chooses another",
        Remedy.MAKE_READABLE: "make it readable, or add --target local",
        Remedy.MAKE_ROUTE: "`deployer create {name}` makes it anew",
        Remedy.MEND_KUBECONFIG: "mend it, or add --target local",
        Remedy.NAME_CERTIFICATE: "nobody makes a certificate for this Ingress: name a Secret with one (--tls-secret), "
        "or an issuer of cert-manager in the spec; {authority}",
        Remedy.NAME_CSC_PROJECT: "a CSC cluster wants to know who pays: add --csc-project NUMBER",
        Remedy.NAME_FOUND_REGION: "add --s3-region {region}, as {source} has it",
        Remedy.NAME_OTHER_PORT: "--port chooses another",
        Remedy.NAME_PORT: "choose one with --port",
        Remedy.NAME_REGION: "name the right one: --s3-region",
        Remedy.NAME_REGION_OR_NONE: "name the right one, or none: --s3-region",
        Remedy.NAME_SERVED_HOST: "use the address that the server was made with, or have it named there "
        "(`deployer create --host`)",
        Remedy.NAME_STORAGE_CLASS: "name a storage class: spec.volume.storageClass, or --storage-class",
        Remedy.NAME_THAT_REGION: "add --s3-region {region}",
        Remedy.NAME_THIS_MACHINE: "--host names this machine: its name (`hostname -f`), an address (`hostname -I`), or "
        "0.0.0.0 for all",
        Remedy.NAME_USER: "`--user NAME`",
        Remedy.NEW_PASSWORD: "`deployer rotate-password {name} --user {user!q} {place}` gives the user a new one",
        Remedy.OVERWRITE_FIELDS: "agree with them, or add --force-conflicts to make it deployer's",
        Remedy.PROVE: "`deployer create {name} {place}` proves it",
        Remedy.RECOVER_PASSWORD: "`deployer rotate-password {name} --recover {place}` makes a new one in the server's "
        "own database",
        Remedy.REPLACE_ALLOW_LIST: "add --force-conflicts to remove it; --allow-from with --force-conflicts sets "
        "another list in its place",
        Remedy.RESTORE_CREDENTIALS: "put them back from a backup; without one, `deployer delete {name} --delete-data "
        "{place}` deletes the server with all its data",
        Remedy.RESTORE_FILE: "put the file back from a backup; without one, `deployer delete {name} --delete-data` "
        "deletes the server with all its data",
        Remedy.RESTORE_OR_RECOVER_PASSWORD: "put the one that the server knows back into {secret}, or "
        "`deployer rotate-password {name} --recover {place}` sets a new one in the server's own database",
        Remedy.ROTATE_S3_KEYS: "`rotate-keys s3` exchanges S3 keys",
        Remedy.SEE_EXAMPLE: "`deployer init` writes a commented example",
        Remedy.SEE_FIELDS: "`deployer schema` prints every field",
        Remedy.SEE_LOG: "see `deployer logs`",
        Remedy.SEE_LOG_OF_WORKLOAD: "see `deployer logs {name} --workload {workload} {place}`",
        Remedy.SEE_STATUS: "`deployer status {name}` says why",
        Remedy.SEND_THROUGH_SERVER: "--transfer proxied sends everything through the server",
        Remedy.START: "`deployer start {name} {place}` starts it",
        Remedy.START_AND_REPEAT: "`deployer start {name} {place}`, then again",
        Remedy.STOP_BOTH: "`deployer stop {name}` ends both",
        Remedy.STOP_THERE: "`deployer stop {name}` on {host} stops it",
        Remedy.STOP_THERE_OR_TAKE_OVER: "`deployer stop {name}` on {host} stops it; if that machine is gone for good: "
        "`deployer stop {name} --take-over`",
        Remedy.UNLOCK_KEYRING: "unlock it and type the same command again; or leave --keyring out: the password "
        "then goes into ~/.mlflow/credentials, which only you can read",
        Remedy.WAIT_FOR_NAMESPACE: "wait until it is gone, or use -n NAME",
    }
)


class _Typed(Formatter):
    """Knows the conversion `!q`, which quotes a value for a shell."""

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return shlex.quote(str(value)) if conversion == "q" else super().convert_field(value, conversion)


def words(hint: Hint) -> str:
    """Return the words for a hint."""
    if isinstance(hint, Remedy):
        return WORDS[hint]
    if isinstance(hint, Advice):
        return _Typed().vformat(WORDS[hint.remedy], (), _shown(hint.values))
    return hint


def _shown(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with the words for a server and for fields of a spec."""
    shown = dict(values)
    if isinstance(server := shown.pop("server", None), ServerRef):
        shown |= {"name": server.name, "place": shlex.join(place_options(server))}
    if fields := shown.pop("fields", None):
        shown["fields"] = with_values(fields)
    return shown


def message(error: DeployerError) -> str:
    """Return the message of an error. A field that a flag sets is named after its flag."""
    if isinstance(error, UnusableValue) and error.path in NAMES:
        return f"{NAMES[error.path]} ({error.path}) {error.value}: {error.problem}"
    return error.message
