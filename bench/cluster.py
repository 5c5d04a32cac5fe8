"""Compares the duration of `create` on a cluster with that of usual manifests: same image, same cluster, in turn.

Run `python -m bench.cluster`. It prints ratios and the time of each step. Exit codes: 0 all goals met, 1 a goal missed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import jinja2

from bench.goals import Comparison, judge, table
from deployer.core.spec.versions import DEFAULT_MLFLOW
from deployer.core.stack.components.server import IMAGE
from tests.testbed.cluster import Cluster

BASELINE = Path(__file__).parent / "baseline" / "mlflow.yaml.j2"
DEPLOYER = Path(sys.executable).with_name("deployer")
ANSWER_SECONDS = 300  # the same limit as for the rollout
COMPARISONS = (
    Comparison("create to verified : usual manifests, first response", "ours", "usual", "s", goal=0.5),
    Comparison("create to verified : one worker, no jobs, probed each second", "ours", "lean", "s", goal=1.0),
    Comparison("a second create : python -c 'import kubernetes.client'", "again", "import", "s", goal=2.5),
)
STEP = re.compile(r"ok (\S+): .*\((\d+\.\d) s\)")


class Contest:
    """Measures all contenders, each in a new namespace."""

    def __init__(self, cluster: Cluster, home: Path) -> None:
        self._cluster = cluster
        self._home = home
        self.samples: dict[str, list[float]] = defaultdict(list)
        self.steps: dict[str, list[float]] = defaultdict(list)

    def warm_up(self) -> None:
        """Run the lean baseline once without measuring it: the first start of an image is slower."""
        print(f"warm-up: lean: {self._baseline(lean=True):.2f} s, not counted", file=sys.stderr, flush=True)

    def round(self, number: int) -> None:
        contenders: list[tuple[str, Callable[[], float]]] = [
            ("ours", self._ours),
            ("usual", lambda: self._baseline(lean=False)),
            ("lean", lambda: self._baseline(lean=True)),
        ]
        first = number % len(contenders)  # vary the order of the contenders
        for name, run in contenders[first:] + contenders[:first]:
            seconds = run()
            self.samples[name].append(seconds)
            print(f"round {number + 1}: {name}: {seconds:.2f} s", file=sys.stderr, flush=True)

    def _ours(self) -> float:
        with ExitStack() as stack:
            namespace = stack.enter_context(self._cluster.namespace())
            kubeconfig = self._cluster.user(f"bench-{namespace}", namespace)
            host = f"mlflow-{namespace}.{self._cluster.apps_domain}"
            create = ["create", "--host", host, "--ingress-namespace", "ingress"]
            begun = time.monotonic()
            done = self._deployer(kubeconfig, *create)
            seconds = time.monotonic() - begun
            for name, took in STEP.findall(done.stderr):
                self.steps[name].append(float(took))
            for _ in range(3):
                self._time("again", lambda: self._deployer(kubeconfig, *create))
                self._time("import", _import_the_client)
        return seconds

    def _deployer(self, kubeconfig: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "KUBECONFIG": str(kubeconfig),
            "SSL_CERT_FILE": str(self._cluster.ca_file),
        }
        command = self._cluster.in_network([str(DEPLOYER), *arguments])
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=600)

    def _time(self, name: str, run: Callable[[], object]) -> None:
        begun = time.monotonic()
        run()
        self.samples[name].append(time.monotonic() - begun)

    def _baseline(self, *, lean: bool) -> float:
        password = secrets.token_urlsafe(18)
        with self._cluster.namespace() as namespace:
            host = f"mlflow-{namespace}.{self._cluster.apps_domain}"
            manifests = jinja2.Template(BASELINE.read_text("utf-8")).render(
                lean=lean,
                image=IMAGE.format(version=DEFAULT_MLFLOW),
                host=host,
                password=password,
                flask_key=secrets.token_hex(),
            )
            begun = time.monotonic()
            self._cluster.kubectl("-n", namespace, "apply", "-f", "-", input=manifests)
            self._cluster.kubectl("-n", namespace, "rollout", "status", "deployment/mlflow", "--timeout=300s")
            url = f"https://{host}/api/2.0/mlflow/users/current"
            ask = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", str(self._cluster.ca_file)]
            command = self._cluster.in_network([*ask, "-u", f"admin:{password}", url])
            while subprocess.run(command, check=False, capture_output=True, text=True, timeout=60).stdout != "200":
                if time.monotonic() - begun > ANSWER_SECONDS:
                    raise TimeoutError(f"{url} has not answered in {ANSWER_SECONDS} seconds")
                time.sleep(0.1)  # the precision of the figure
            return time.monotonic() - begun


def _import_the_client() -> None:
    subprocess.run([sys.executable, "-c", "import kubernetes.client"], check=True, timeout=60)


def main() -> int:
    """Measure, print and judge; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contender runs (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to a file, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        contest = Contest(Cluster.up(), Path(home))
        contest.warm_up()
        for number in range(arguments.rounds):
            contest.round(number)
    rows = judge(contest.samples, COMPARISONS)
    print(table(rows))
    print("\nWhere the time of `create` goes (medians, s):")
    for name, seconds in contest.steps.items():
        print(f"  {name:<12} {median(seconds):.1f}")
    if arguments.json:
        document = {"comparisons": [row.document() for row in rows], "samples": contest.samples, "steps": contest.steps}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
