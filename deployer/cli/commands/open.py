"""deployer open: a server's pages in the browser, through a tunnel if the server has no public address."""

from __future__ import annotations

import signal
import webbrowser

from deployer.cli.ending import Stopped
from deployer.cli.options import Context, Name, Namespace, TargetOption
from deployer.cli.progress import note
from deployer.core.errors import NotReady


def command(
    name: Name = "mlflow",
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
) -> None:
    """Open a server in the browser."""
    from deployer.cli.typed import typed
    from deployer.cli.where import find_target
    from deployer.operations.away import require_reach
    from deployer.operations.records import endpoint_of, require_record

    place = find_target(name, target, namespace, context, quiet=True)
    endpoint, assigned = endpoint_of(place), require_record(place).assigned
    live = place.runtime.observe()
    if live.state == "elsewhere":
        require_reach(place)
    elif live.state != "running":
        raise NotReady(f"server {name!r} does not run: {live.detail}", hint=f"`{typed(place.ref, 'start')}` starts it")
    with place.access.open(assigned) as reachable:
        print(reachable.url, flush=True)
        shows = typed(place.ref, "show-password")
        note(f"Log in with your user name and password; `{shows}` prints the administrator's.")
        if not webbrowser.open(reachable.url):
            note("No browser was found here. Open the address in the browser of this machine.")
        if reachable.url != endpoint.url:
            note("The address leads through a tunnel, which is open until Ctrl-C.")
            try:
                signal.pause()
            except KeyboardInterrupt:
                raise Stopped from None
