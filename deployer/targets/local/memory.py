"""Tells whether the kernel has killed a process for lack of memory, from the counter of its control group."""

from __future__ import annotations

import json
from pathlib import Path


def killed_for_memory(record: Path) -> bool:
    """Tell whether the kernel has killed a process of the server's control group since the server was started.

    `record` is the server's process record, in which register.py has stored the group's counter. The result is False if
    there is no such counter, or if the group is gone.
    """
    try:
        noted = json.loads(record.read_text("utf-8"))["memory"]
        words = Path(noted["events"]).read_text("ascii").split()
        return int(words[words.index("oom_kill") + 1]) > int(noted["kills"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return False
