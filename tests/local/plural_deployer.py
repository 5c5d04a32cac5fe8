"""The command `deployer` for servers of three workloads: the server needs a cache, and the cache needs a store.

    python plural_deployer.py COMMAND...

The file ~/ports holds a JSON object with the ports of the two further workloads. Both run PROGRAM.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from deployer.core.spec.platform import Platform
from deployer.core.spec.schema import Spec
from deployer.core.stack import components
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.model import SERVER, Address, Probe, Stack, Volume, VolumePath, Workload

# Answers its probe with 503 while the file ~/hold-NAME exists, and logs each answer. At SIGTERM, the program logs which
# process records still exist, and waits while the file ~/stay-NAME exists. With a file ~/broken-NAME, it ends at once.
PROGRAM = """
import glob, http.server, os, signal, socket, sys, time, urllib.request

name, needed = os.environ["NAME"], os.environ.get("NEEDED")
home = os.path.expanduser("~")
if os.path.exists(f"{home}/broken-{name}"):
    sys.exit("the file of the test says that it is broken")
if needed:
    assert urllib.request.urlopen(f"http://{needed}/probe", timeout=30).status == 200
    print("what it needs has answered", flush=True)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        held = os.path.exists(f"{home}/hold-{name}")
        self.send_response(503 if held else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        print("not ready" if held else "ready", flush=True)

    def log_message(self, *_):
        pass

def end(*_):
    server = os.path.dirname(os.getcwd())
    records = glob.glob(f"{server}/process.json") + glob.glob(f"{server}/*/process.json")
    print("asked to end beside", *sorted(os.path.relpath(record, server) for record in records), flush=True)
    while os.path.exists(f"{home}/stay-{name}"):
        time.sleep(0.01)
    os._exit(0)

signal.signal(signal.SIGTERM, end)
with open(sys.argv[1], "a") as volume:
    print("started", file=volume)
print(f"{name} has started", flush=True)
listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
listener.socket.close()
listener.socket = socket.socket(fileno=3)
listener.serve_forever()
"""

single = components.build


def plural(spec: Spec, platform: Platform, assigned: Assigned) -> Stack:
    """Return the Stack of `spec` with two further workloads."""
    stack = single(spec, platform, assigned)
    if not stack.workloads:
        return stack
    ports = json.loads(Path("~/ports").expanduser().read_text())
    server = stack.workload(SERVER)
    volumes = (*stack.volumes, Volume("cached", "1Gi", None))

    def further(name: str, *, needs: tuple[str, ...]) -> Workload:
        return replace(
            server,
            name=name,
            command=(("python",), ("-c",), (PROGRAM,), (VolumePath("cached", name),)),
            env={"NAME": (name,), **({"NEEDED": (Address(needs[0]),)} if needs else {})},
            files={},
            port=ports[name],
            volumes=("cached",),
            probe=Probe("/probe", "/probe", "localhost"),
            needs=needs,
            listen=None,
        )

    workloads = (replace(server, needs=("cache",)), further("cache", needs=("store",)), further("store", needs=()))
    return replace(stack, workloads=workloads, volumes=volumes)


if __name__ == "__main__":
    components.build = plural  # before another module imports it
    from deployer.cli.app import main

    main()
