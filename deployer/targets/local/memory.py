"""Whether the kernel has killed a process for lack of memory, as the process's control group counts it."""

from __future__ import annotations

import json
from pathlib import Path


def killed_for_memory(record: Path) -> bool:
    """Tell whether the kernel has killed a process of the server's control group since the server was started.

    `record` is the server's process record, in which register.py has noted the group's counter. False where there is
    no such counter, or the group is gone.
    """
    try:
        noted = json.loads(record.read_text("utf-8"))["memory"]
        words = Path(noted["events"]).read_text("ascii").split()
        return int(words[words.index("oom_kill") + 1]) > int(noted["kills"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return False
