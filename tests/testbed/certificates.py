"""The cluster's certificate authority: keys, certificates with a validity in seconds, and kubeconfigs."""

from __future__ import annotations

import base64
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from tests.testbed.command import run

YEAR = 365 * 24 * 3600
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")

# `openssl ca` is the only command of OpenSSL 3.0 whose certificates can end at a given second
AUTHORITY = """\
[ca]
default_ca = cluster
[cluster]
database = {work}/index
new_certs_dir = {work}
rand_serial = yes
default_md = sha256
unique_subject = no
policy = any
[any]
commonName = supplied
organizationName = optional
"""


@dataclass(frozen=True)
class Pair:
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def key(self) -> Path:
        return self.folder / "ca.key"

    def create(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        run("openssl", "req", "-x509", *CURVE, "-keyout", self.key, "-out", self.certificate, "-days", "3650",
            "-subj", "/CN=test cluster", "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip

    def issue(
        self, name: str, subject: str, names: tuple[str, ...] = (), seconds: float = YEAR, folder: Path | None = None
    ) -> Pair:
        """A certificate for `subject` (/O=group/CN=user) and subject alternative names (DNS:x, IP:y)."""
        pair = Pair((folder or self.folder) / f"{name}.crt", (folder or self.folder) / f"{name}.key")
        now = datetime.now(UTC)
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(temporary)
            (work / "index").touch()
            (work / "ca.conf").write_text(AUTHORITY.format(work=work))
            extensions = ["basicConstraints=CA:FALSE", "keyUsage=digitalSignature"]
            extensions += ["extendedKeyUsage=clientAuth,serverAuth"]
            extensions += [f"subjectAltName={','.join(names)}"] if names else []
            (work / "extensions").write_text("\n".join(extensions) + "\n")
            run("openssl", "req", "-new", *CURVE, "-keyout", pair.key, "-out", work / "request", "-subj", subject)
            run("openssl", "ca", "-batch", "-notext", "-preserveDN", "-config", work / "ca.conf",
                "-cert", self.certificate, "-keyfile", self.key, "-in", work / "request", "-out", pair.certificate,
                "-extfile", work / "extensions",
                # valid since a minute ago, in case the clock is set back
                "-startdate", _asn1(now - timedelta(minutes=1)),
                "-enddate", _asn1(now + timedelta(seconds=seconds)))  # fmt: skip
        return pair


def kubeconfig(server: str, authority: Path, pair: Pair, namespace: str = "default") -> str:
    """Return a kubeconfig with embedded certificates and keys."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "testbed", "cluster": {"server": server, "certificate-authority-data": _base64(authority)}}
            ],
            "users": [
                {
                    "name": "user",
                    "user": {
                        "client-certificate-data": _base64(pair.certificate),
                        "client-key-data": _base64(pair.key),
                    },
                }
            ],
            "contexts": [
                {"name": "testbed", "context": {"cluster": "testbed", "user": "user", "namespace": namespace}}
            ],
            "current-context": "testbed",
        }
    )


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def _asn1(instant: datetime) -> str:
    return instant.strftime("%Y%m%d%H%M%SZ")
