"""Starts the server as launch.py does, with shorter deadlines (PYTHONPATH: the folder of launch.py).

python serve_hurried.py WAIT=SECONDS...      (for the waits, see LIMITS in connections.py)
"""

import sys

import launch

launch.load()
from deployer_plugin import start  # noqa: E402  # `load` makes the package importable
from deployer_plugin.serving import connections  # noqa: E402

shorter = dict(word.split("=") for word in sys.argv[1:])
assert shorter.keys() <= connections.LIMITS.keys()
connections.LIMITS = {**connections.LIMITS, **{wait: float(seconds) for wait, seconds in shorter.items()}}
start.main()
