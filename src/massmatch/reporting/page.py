"""One self-contained page that shows several runs side by side."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment, StrictUndefined
from PIL import Image

from massmatch.data import Cohort
from massmatch.reporting.figures import data_uri, overlay
from massmatch.reporting.tables import NOTE, comparison


def write_page(
    path: Path, title: str, cohort: Cohort, runs: Mapping[str, Path], *, pictures: int = 6, remark: str = ""
) -> None:
    """Write the table of the runs' `rows.csv`, contours of the same test images, curves and how each was trained.

    Args:
        path: the HTML file.
        cohort: on which all runs were measured.
        runs: run folder by the name to show.
        pictures: how many images; they run from the best found to the worst by the mean DSC of all runs.
        remark: a sentence to stand above the table.
    """
    rows = {name: pd.read_csv(run / "rows.csv") for name, run in runs.items()}
    table = comparison(rows)
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        (files("massmatch.reporting") / "templates" / "page.html").read_text(encoding="utf-8")
    )
    shown = [_picture_row(cohort, id, runs, rows) for id in chosen(rows, pictures)]
    experiments = {name: yaml.safe_load((run / "experiment.yaml").read_text()) for name, run in runs.items()}
    page = template.render(
        title=title,
        remark=remark,
        note=NOTE,
        headings=list(table.columns),
        lines=[(name, list(line)) for name, line in zip(table.index, table.to_numpy(), strict=True)],
        pictures=shown,
        histories={name: pd.read_csv(run / "history.csv").to_dict("records") for name, run in runs.items()},
        experiments={name: yaml.safe_dump(facts, sort_keys=False) for name, facts in experiments.items()},
        licence=cohort.licence,
        images=len(next(iter(rows.values()))),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def chosen(rows: Mapping[str, pd.DataFrame], count: int) -> list[str]:
    """Ids at even steps of the images with mass, from the highest mean DSC to the lowest: no pick of the best."""
    with_mass = [of[~of["truth_empty"]].set_index("id")["dsc"] for of in rows.values()]
    ranked = pd.concat(with_mass, axis=1).mean(axis=1).sort_values(ascending=False, kind="stable").index
    at = np.unique(np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int))
    return [str(ranked[i]) for i in at]


def _picture_row(cohort: Cohort, id: str, runs: Mapping[str, Path], rows: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """One image with the contours of each run."""
    sample = cohort.load(id)
    cells = []
    for name, run in runs.items():
        threshold = rows[name]["threshold"].iloc[0]
        with Image.open(run / "predictions" / f"{id}.png") as stored:
            prediction = np.asarray(stored) / 65535 > threshold
        dsc = dict(zip(rows[name]["id"], rows[name]["dsc"], strict=True))[id]
        picture = data_uri(overlay(sample.image, truth=sample.mask, prediction=prediction))
        cells.append({"name": name, "uri": picture, "dsc": f"{100 * dsc:.1f}"})
    return {"id": id, "cells": cells}
