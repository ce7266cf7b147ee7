"""Charts of the results, as PNG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from benchmarks.loads import LOADS
from benchmarks.loads.base import CURVE, Result
from benchmarks.report import MEASURES, Results

#: The colour of each server.
COLOURS: Mapping[str, str] = {
    "canvas-collab": "#d62728",
    "canvas-collab-hocuspocus": "#ff9896",
    "hocuspocus-4": "#1f77b4",
    "hocuspocus-2": "#aec7e8",
    "y-websocket-server": "#2ca02c",
    "pycrdt-websocket": "#9467bd",
    "floor": "#7f7f7f",
}

#: The bar charts: for each file the measures, which have a panel each.
BARS: Mapping[str, Sequence[str]] = {
    "latency": ("p50", "p95", "p99"),
    "cpu": ("cpu_per_delivery", "cpu_per_return"),
    "memory": ("memory", "peak_memory", "memory_per_connection"),
    "opening": ("cold", "warm"),
    "capacity": ("updates_per_second",),
}


def draw(results: Results, directory: Path) -> list[Path]:
    """Draw the charts that there are results for; return the files."""
    files = []
    for name, measures in BARS.items():
        shown = [measure for measure in measures if _loads_with(results, measure)]
        if shown:
            files.append(_bars(results, shown, directory / f"{name}.png"))
    for load, by_server in results.loads.items():
        if any(result.curve for result in by_server.values()):
            files.append(_curves(load, by_server, directory / f"latency-{load}.png"))
    return files


def _loads_with(results: Results, measure: str) -> list[str]:
    return [
        load
        for load, by_server in results.loads.items()
        if any(measure in result.measures for result in by_server.values())
    ]


def _bars(results: Results, measures: Sequence[str], file: Path) -> Path:
    figure, panels = plt.subplots(len(measures), 1, figsize=(10, 3.4 * len(measures)), squeeze=False)
    for panel, measure in zip(panels[:, 0], measures, strict=True):
        loads = _loads_with(results, measure)
        servers = [name for name in COLOURS if any(name in results.loads[load] for load in loads)]
        width = 0.8 / len(servers)
        for index, server in enumerate(servers):
            heights = [
                results.loads[load][server].measures.get(measure, 0.0) if server in results.loads[load] else 0.0
                for load in loads
            ]
            places = [position + (index - (len(servers) - 1) / 2) * width for position in range(len(loads))]
            panel.bar(places, heights, width, color=COLOURS[server], label=server)
        panel.set_xticks(range(len(loads)), loads)
        panel.set_ylabel(MEASURES[measure].heading)
        panel.set_yscale("log")
        panel.grid(axis="y", alpha=0.3)
        panel.set_axisbelow(True)
    panels[0, 0].legend(fontsize="small", ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return _save(figure, file)


def _curves(load: str, results: Mapping[str, Result], file: Path) -> Path:
    figure, panel = plt.subplots(figsize=(8, 4.5))
    for server, result in results.items():
        if result.curve:
            panel.plot(result.curve, [share * 100 for share in CURVE], color=COLOURS[server], label=server)
    panel.set_xscale("log")
    panel.set_xlabel("ms from sending to arrival")
    panel.set_ylabel("deliveries, %")
    panel.set_title(LOADS[load].title, fontsize="medium")
    panel.grid(alpha=0.3)
    panel.legend(fontsize="small")
    return _save(figure, file)


def _save(figure: Figure, file: Path) -> Path:
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    plt.close(figure)
    return file
