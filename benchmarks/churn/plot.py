"""The chart of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

from benchmarks.churn.samples import MEASURES, Sample


def draw(samples: Sequence[Sample], warm_up: float, file: Path) -> None:
    """Draw each measure over time, with the warm-up shaded.

    :param warm_up: in minutes.
    :param file: its suffix decides the format.
    """
    mpl.rcParams["svg.hashsalt"] = "churn"
    figure, panels = plt.subplots(len(MEASURES), 1, figsize=(9, 1.7 * len(MEASURES)), sharex=True)
    minutes = [sample.minutes for sample in samples]
    for panel, (name, measure) in zip(panels, MEASURES.items(), strict=True):
        panel.plot(minutes, [getattr(sample, name) for sample in samples], linewidth=0.9, color="#d62728")
        panel.axvspan(0, warm_up, color="#eeeeee")
        panel.set_ylim(bottom=0)
        panel.set_xlim(0, minutes[-1])
        panel.set_title(f"{measure.title}, {measure.unit}" if measure.unit else measure.title, loc="left", fontsize=9)
        panel.grid(axis="y", linewidth=0.3)
    panels[-1].set_xlabel("minutes")
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    plt.close(figure)
