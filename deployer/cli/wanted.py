"""Turns the flags and the file of `create` and `run` into the arguments of the operation."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer.cli.effective import effective
from deployer.cli.flag_rules import named, require_cluster
from deployer.cli.flags import on_this_machine
from deployer.cli.progress import note
from deployer.cli.spec_options import SPEC_FILE, databases_from, password_from, read_limited, spec_from
from deployer.core import document
from deployer.core.assigned import Assigned
from deployer.core.changes import spec_changes
from deployer.core.errors import InvalidSpec, UsageError
from deployer.core.platform import PROFILES
from deployer.core.record import Record
from deployer.core.spec import S3Artifacts, Spec
from deployer.core.stack import SecretRef
from deployer.core.support import require_supported
from deployer.operations.artifacts import s3_keys, untried_s3_keys
from deployer.targets import Target
from deployer.targets.local.other_data import unused_data


@dataclass(frozen=True)
class WantedServer:
    """The requested server: its target and spec, the record that they are based on, a password, and database URLs.

    `changes` has one line for each field that differs from the record; the lines are shown before the first change.
    """

    target: Target
    spec: Spec
    record: Record | None
    password: str | None = field(repr=False)
    databases: Mapping[SecretRef, str] = field(repr=False)
    changes: tuple[str, ...] = ()
    namespace_missing: bool = False

    def provided_credentials(self, *, make_bucket: bool) -> dict[SecretRef, str]:
        """Return the credentials of external services; S3 keys are found and tried here.

        Raises:
            UsageError: `make_bucket` without a bucket.
            DeployerError: no S3 keys were found, or they do not work.
        """
        self._require_bucket(make_bucket=make_bucket)
        home = Path(os.path.expanduser("~"))
        found = s3_keys(self.target, self.record, self.spec, os.environ, home, note, make_bucket=make_bucket)
        return {**found, **self.databases}

    def untried_credentials(self, *, make_bucket: bool) -> tuple[dict[SecretRef, str], bool]:
        """Return the same credentials, and whether the bucket would be made. Nothing is written to the service.

        Raises:
            UsageError: `make_bucket` without a bucket.
            DeployerError: no S3 keys were found, or the service does not accept them.
        """
        self._require_bucket(make_bucket=make_bucket)
        home = Path(os.path.expanduser("~"))
        found, missing = untried_s3_keys(
            self.target, self.record, self.spec, os.environ, home, note, make_bucket=make_bucket
        )
        return {**found, **self.databases}, missing

    def _require_bucket(self, *, make_bucket: bool) -> None:
        if make_bucket and not isinstance(self.spec.spec.artifacts, S3Artifacts):
            raise UsageError(
                "--make-bucket needs a bucket, and this server keeps its artifacts on its volume",
                hint="add --bucket NAME, or leave it out",
            )


def wanted_server(
    name: str | None,
    file: str | None,
    flags: Mapping[str, Any],
    *,
    password_file: str | None,
    database_file: str | None,
    place: Callable[[str], Target],
    namespace_missing: Callable[[Target], bool] = lambda _: False,
) -> WantedServer:
    """Return the requested server from the file, the flags and the stored spec.

    `flags` are by the paths of their fields. `place` returns the target of a server by name. If the target's namespace
    is missing, no record is looked for.
    """
    if [file, password_file, database_file].count("-") > 1:
        raise UsageError("only one of the files can come from standard input", hint="put the others into files")
    password = password_from(password_file)
    databases = databases_from(database_file)
    content = read_limited(file, SPEC_FILE) if file is not None else b""
    wanted_name = "mlflow" if name is None else name
    if file is not None:
        wanted_name = spec_from(name, file, {}, None, content=content)[0].name
    target = place(wanted_name)
    if not target.capabilities.exposes:
        flags = on_this_machine(flags)
        require_cluster(flags)
    if databases:
        flags = {**flags, "spec.database.type": "external"}
    missing = namespace_missing(target)
    record = None if missing else target.store.load()
    before, stored = record.assigned if record else Assigned(), record.spec if record else None
    spec, source = spec_from(
        name if file is not None else target.name,
        file,
        flags,
        stored,
        content=content,
        platform=lambda profile: PROFILES[profile] if profile else target.platform(Spec(), before),
    )
    platform = target.platform(spec, before)
    try:
        require_supported(spec, platform, source)
    except InvalidSpec as error:
        raise named(document.located(error, content), flags) from None
    target.placement.predict_assignment(spec, before)  # reject an impossible address before a bucket is made
    spec = effective(spec, platform, flags, stored, file, content)
    for warning in unused_data(target.name, None if record else Path.cwd()) if target.capabilities.stored_here else ():
        note(warning)
    changes = spec_changes(stored, spec) if stored else ()
    told = tuple(f"Change: {change}" for change in changes)
    return WantedServer(target, spec, record, password, databases, told, namespace_missing=missing)
