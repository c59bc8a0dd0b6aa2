"""Measuring a network: one image after the other, so that the rows do not depend on how they were batched."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from PIL import Image
from torch import nn

from massmatch.data import Cohort, Sample
from massmatch.metrics import image_metrics, lesion_counts
from massmatch.training.batches import normalised
from massmatch.training.experiment import Experiment, parts_of
from massmatch.training.files import write_atomic
from massmatch.training.progress import Progress, Watch
from massmatch.training.weights import load_weights

Tick = Callable[[], None]


@torch.inference_mode()
def probabilities(model: nn.Module, image: np.ndarray, normalise: str) -> np.ndarray:
    """(H, W) float32 probabilities of mass for a (H, W) image, on the device of the network."""
    device = next(model.parameters()).device
    return torch.sigmoid(model(normalised(image, normalise)[None].to(device)).float())[0, 0].cpu().numpy()


def measure(sample: Sample, probability: np.ndarray, threshold: float) -> dict[str, Any]:
    """One row: which image, its facts, every metric, the lesions."""
    mask = probability > threshold
    known = {"id": sample.id, "patient": sample.patient, "side": sample.side, "view": sample.view}
    return {
        **known,
        "density": sample.density,
        "mass_fraction": float(sample.mask.mean()),
        **image_metrics(mask, sample.mask, sample.spacing_mm),
        **lesion_counts(mask, sample.instances),
    }


def evaluate(
    model: nn.Module,
    cohort: Cohort,
    ids: Sequence[str],
    threshold: float,
    *,
    out: Path | None = None,
    tick: Tick = lambda: None,
) -> pd.DataFrame:
    """A row per image; with `out` also its probabilities as 16-bit `<id>.png` (65535 = 1)."""
    model.eval()
    rows = []
    for id in ids:
        sample = cohort.load(id)
        probability = probabilities(model, sample.image, cohort.normalise)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.rint(probability * 65535).astype(np.uint16)).save(out / f"{id}.png")
        rows.append(measure(sample, probability, threshold))
        tick()
    return pd.DataFrame(rows)


def write_rows(path: Path, rows: pd.DataFrame) -> None:
    """rows.csv, whole or not at all."""
    write_atomic(path, rows.to_csv(index=False).encode())


def evaluate_run(out: Path, cohort: Cohort, watch: Watch = lambda progress: None) -> pd.DataFrame:
    """Measure a run's best weights on its test part: `predictions/` and `rows.csv` in its folder.

    Raises FileNotFoundError for a run without weights, ValueError if the cohort has changed since.
    """
    model, facts = load_weights(out / "best.safetensors")
    experiment = Experiment(**facts["experiment"])
    if cohort.fingerprint != experiment.fingerprint:
        raise ValueError(
            f"{cohort.root} has changed: its fingerprint is {cohort.fingerprint}, but the run was trained on "
            f"{experiment.fingerprint}; give the cohort of the run, or `evaluate WEIGHTS COHORT` for another one"
        )
    fold = yaml.safe_load((out / "experiment.yaml").read_text())["fold"]
    parts = parts_of(experiment, cohort, fold)
    images = iter(range(1, len(parts.test) + 1))

    def tick() -> None:
        watch(
            Progress(
                "test",
                next(images),
                len(parts.test),
                experiment.epochs,
                experiment.epochs,
                math.nan,
                math.nan,
            )
        )

    rows = evaluate(model, cohort, parts.test, experiment.threshold, out=out / "predictions", tick=tick)
    write_rows(out / "rows.csv", rows)
    return rows
