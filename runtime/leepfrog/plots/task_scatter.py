"""Scatter plot of score against accuracy over many tasks, as in the LEEP paper."""

from __future__ import annotations

import numpy as np

from leepfrog.files import printable
from leepfrog.plots.figure import drawing, encoded, new_figure
from leepfrog.validation.tasks import BY_CLASSES, TaskStudy


def draw_task_scatter(study: TaskStudy, ending: str) -> bytes:
    """Return the content of a PNG, SVG or HTML file: one panel per score, and one for the number of classes.

    Args:
        study: the study of tasks.
        ending: file extension, ".png", ".svg" or ".html".
    """
    with drawing():
        names = list(study.correlations)
        figure = new_figure(4.2 * len(names) + 0.9, 4.4)
        panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        figure.suptitle(
            printable(f"{study.model}: {len(study.tasks)} tasks of classes from {study.data}"), parse_math=False
        )
        accuracy = 100 * np.array([task.accuracy for task in study.tasks])
        counts = np.array([len(task.classes) for task in study.tasks])
        shown = None
        for panel, name in zip(panels, names, strict=True):
            score = np.array([task.scores[name] for task in study.tasks])
            shown = panel.scatter(score, accuracy, c=counts, cmap="viridis_r", s=16, alpha=0.85, linewidths=0)
            correlation = study.correlations[name]
            label = "minus log of the number of classes" if name == BY_CLASSES else name
            panel.set_xlabel(label, parse_math=False)
            within = (
                ""
                if correlation.pearson_within is None
                else f", {correlation.pearson_within:.2f} at equal class counts"
            )
            panel.set_title("no variation" if correlation.pearson is None else f"r = {correlation.pearson:.2f}{within}")
        panels[0].set_ylabel("accuracy of a retrained head, %")
        assert shown is not None
        figure.colorbar(shown, ax=list(panels), label="classes", shrink=0.85)
        return encoded(figure, ending)
