"""The loads: each starts a server, runs a scenario on it, and returns what was measured."""

from collections.abc import Mapping

from benchmarks.loads.arriving import Arriving
from benchmarks.loads.base import Load
from benchmarks.loads.calibration import CostModel
from benchmarks.loads.capacity import Capacity
from benchmarks.loads.idle import Idle
from benchmarks.loads.metrics import Metrics
from benchmarks.loads.opening import Opening
from benchmarks.loads.reconnecting import Reconnecting
from benchmarks.loads.stalling import Stalling
from benchmarks.loads.starting import Starting
from benchmarks.loads.traffic import TRAFFIC
from benchmarks.loads.writing import Writing

LOADS: Mapping[str, Load] = {
    load.name: load
    for load in (
        *TRAFFIC,
        Capacity(),
        Opening(),
        Starting(),
        Idle(),
        Metrics(),
        CostModel(),
        Reconnecting(),
        Stalling(),
        Arriving(),
        Writing(),
    )
}
