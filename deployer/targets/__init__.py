"""The places where servers run, behind one interface a file: Store, Placement, Installation, Runtime and Access."""

from deployer.targets.access import Access
from deployer.targets.capabilities import Capabilities
from deployer.targets.deadline import Deadline
from deployer.targets.foreground import Foreground
from deployer.targets.installation import Installation, Software
from deployer.targets.live import Live, LiveState
from deployer.targets.placement import Placement
from deployer.targets.runtime import Circumstances, Program, Runtime
from deployer.targets.store import ChangeKind, Store
from deployer.targets.target import Observed, Target, TargetKind

__all__ = [
    "Access",
    "Capabilities",
    "ChangeKind",
    "Circumstances",
    "Deadline",
    "Foreground",
    "Installation",
    "Live",
    "LiveState",
    "Observed",
    "Placement",
    "Program",
    "Runtime",
    "Software",
    "Store",
    "Target",
    "TargetKind",
]
