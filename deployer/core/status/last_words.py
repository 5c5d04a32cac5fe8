"""Determines why a server ended, from the last lines of its log and from the kernel's report; reads neither."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

REFUSAL: Final = "deployer: refused to start: "  # launch.py begins its reason with this text
_FINISHED: Final = "Finished server process"  # uvicorn's last line after a requested shutdown
_TRACEBACK: Final = "Traceback (most recent call last):"
_ERROR: Final = re.compile(r"[\w.]+(?:Error|Exception|Interrupt|Exit|Refusal)\b.*")


def reason(lines: Sequence[str], *, out_of_memory: bool) -> str:
    """Return why a server ended without `deployer stop`.

    `lines` are the last lines of its log. `out_of_memory` says that the kernel killed a process of its control group.
    """
    said = [line.strip() for line in lines if line.strip()]
    refusals = [line.removeprefix(REFUSAL) for line in said if line.startswith(REFUSAL)]
    if refusals:
        return f"it refused to start: {refusals[-1]}"
    if out_of_memory:
        return "the kernel has killed a process of its control group for lack of memory"
    if said and _FINISHED in said[-1]:
        return "it was asked to end, by SIGTERM or SIGINT and not by deployer"
    if said and _TRACEBACK in said and _ERROR.fullmatch(said[-1]):
        return f"it failed: {said[-1]}"
    return "its log gives no reason, as after SIGKILL by a person, a batch system, or the kernel for lack of memory"
