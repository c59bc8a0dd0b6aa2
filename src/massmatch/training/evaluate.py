"""Measuring a network: one image after the other, so that the rows do not depend on how they were batched."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from massmatch.data import Cohort, Sample
from massmatch.metrics import image_metrics, lesion_counts
from massmatch.training.batches import normalised
from massmatch.training.files import write_atomic

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
