"""Measuring a network: one image after the other, so that the rows do not depend on how they were batched."""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from massmatch.data import Cohort, Sample
from massmatch.data.preprocessing.breast import chest_side
from massmatch.errors import DataError, UsageError
from massmatch.metrics import CANDIDATE, image_metrics, lesion_candidates, lesion_counts
from massmatch.runs.atomic import write_atomic, write_picture
from massmatch.runs.experiment import Experiment, parts_of
from massmatch.runs.folder import CANDIDATES, NATIVE_ROWS, PREDICTIONS, ROWS, WEIGHTS, RunFolder
from massmatch.runs.record import refuse_other_parts
from massmatch.runs.weights import differences_to, load_weights
from massmatch.training.batches import normalised
from massmatch.training.progress import Progress, Watch
from massmatch.training.thresholds import as_stored

Tick = Callable[[], None]


@torch.inference_mode()
def probabilities(model: nn.Module, image: np.ndarray, normalise: str) -> np.ndarray:
    """(H, W) float32 probabilities of mass for a (H, W) image, on the device of the network."""
    device = next(model.parameters()).device
    return torch.sigmoid(model(normalised(image, normalise)[None].to(device)).float())[0, 0].cpu().numpy()


def predicted(model: nn.Module, image: np.ndarray, normalise: str, name: str) -> np.ndarray:
    """`probabilities` of the image of this name; a network for which an accelerator is too small goes to the CPU.

    It stays there, with a warning. Not for a network in training, whose optimiser would stay behind.

    Raises DataError where the network gives no numbers: NaN is above no threshold, and would look like no mass.
    """
    found = _on_some_device(model, image, normalise)
    if not np.isfinite(found).all():
        raise DataError(f"{name}: the network gives NaN for it: look at the image, and at the network's training")
    return found


def _on_some_device(model: nn.Module, image: np.ndarray, normalise: str) -> np.ndarray:
    device = next(model.parameters()).device
    try:
        return probabilities(model, image, normalise)
    except torch.OutOfMemoryError:
        if device.type == "cpu":
            raise
    size = f"{image.shape[0]}x{image.shape[1]}"
    warnings.warn(f"{device} ran out of memory on an image of {size}: going on on the CPU", RuntimeWarning, 2)
    model.to("cpu")
    return probabilities(model, image, normalise)


def predicted_as_learned(model: nn.Module, sample: Sample, normalise: str, orientation: str | None) -> np.ndarray:
    """`predicted`, of an image turned so that its chest wall lies where the network has learnt it, and turned back.

    `orientation`: "left" or "right"; anything else leaves images as they are.
    """
    if orientation in ("left", "right") and chest_side(sample.image) != orientation:
        return predicted(model, np.ascontiguousarray(sample.image[:, ::-1]), normalise, sample.id)[:, ::-1]
    return predicted(model, sample.image, normalise, sample.id)


class Measured(NamedTuple):
    """A row per image, and a row per candidate of `lesion_candidates` with id, patient and area_mm2."""

    rows: pd.DataFrame
    candidates: pd.DataFrame

    @classmethod
    def joined(cls, parts: Iterable["Measured"], ids: Sequence[str]) -> "Measured":
        """The results of several processes in one, with the rows in the order of `ids`."""
        rows, candidates = zip(*parts, strict=True)
        return cls(
            *(in_order(pd.concat([t for t in tables if len(t)] or tables[:1]), ids) for tables in (rows, candidates))
        )

    def write(self, out: Path) -> None:
        """Write candidates.csv and rows.csv into a folder; each appears whole or not at all."""
        write_rows(out / CANDIDATES, self.candidates)
        write_rows(out / ROWS, self.rows)


def in_order(table: pd.DataFrame, ids: Sequence[str]) -> pd.DataFrame:
    """The rows of a table, sorted as their images are in `ids`."""
    place = {id: n for n, id in enumerate(ids)}
    return table.sort_values("id", key=lambda column: column.map(place), kind="stable", ignore_index=True)


def facts_of(sample: Sample) -> dict[str, Any]:
    """The columns that identify an image: id, patient, side, view, density, and where its spacing comes from."""
    source = sample.facts.get("spacing_source")
    return {
        "id": sample.id,
        "patient": sample.patient,
        "side": sample.side,
        "view": sample.view,
        "density": sample.density,
        "spacing_source": source or ("none" if sample.spacing_mm is None else "unknown"),
    }


def measure(
    sample: Sample,
    probability: np.ndarray,
    instances: np.ndarray,
    spacing_mm: tuple[float, float] | None,
    threshold: float,
) -> dict[str, Any]:
    """The row of one image, in the frame of the arrays: its identity, the share of it that is mass, every metric, the
    counts of lesions.
    """
    mask, truth = probability > threshold, instances > 0
    return {
        **facts_of(sample),
        "threshold": threshold,
        "mass_fraction": float(truth.mean()),
        **image_metrics(mask, truth, spacing_mm),
        **lesion_counts(mask, instances),
    }


def candidates_of(sample: Sample, probability: np.ndarray) -> pd.DataFrame:
    """`lesion_candidates` of one image with its id and patient, and their areas in mm2 (NaN without spacing)."""
    found = lesion_candidates(probability, sample.instances)
    pixel = math.nan if sample.spacing_mm is None else math.prod(sample.spacing_mm)
    found.insert(0, "id", sample.id)
    found.insert(1, "patient", sample.patient)
    return found.assign(area_mm2=found["area_px"] * pixel)


def evaluate(
    model: nn.Module,
    cohort: Cohort,
    ids: Sequence[str],
    threshold: float,
    *,
    orientation: str | None = None,
    normalise: str | None = None,
    out: Path | None = None,
    tick: Tick = lambda: None,
) -> Measured:
    """Measure a network on images of a cohort: rows and candidates; with `out` the probabilities too, as `<id>.png` of
    16 bits (65535 = 1).

    `orientation`: see `predicted_as_learned`. `normalise`: how the network wants images scaled; by default as the
    cohort says.
    """
    model.eval()
    normalise = normalise or cohort.normalise
    rows, candidates = [], [pd.DataFrame(columns=["id", "patient", *CANDIDATE, "area_mm2"])]
    for id in ids:
        sample = cohort.load(id)
        probability = predicted_as_learned(model, sample, normalise, orientation)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            write_picture(out / f"{id}.png", Image.fromarray(as_stored(probability)))
        rows.append(measure(sample, probability, sample.instances, sample.spacing_mm, threshold))
        candidates.append(candidates_of(sample, probability))
        tick()
    return Measured(pd.DataFrame(rows), pd.concat([t for t in candidates if len(t)] or candidates[:1]))


def evaluate_native(
    model: nn.Module,
    cohort: Cohort,
    ids: Sequence[str],
    threshold: float,
    *,
    orientation: str | None = None,
    normalise: str | None = None,
    tick: Tick = lambda: None,
) -> pd.DataFrame:
    """Rows measured in the frame in which the images were before they were prepared, with its size and spacing.

    The probabilities are brought back (size, mirror and crop undone; 0 outside the crop) and held against
    masks_native/, so what a crop has cut off counts as not found. `orientation` and `normalise`: as in `evaluate`.

    Raises DataError, before anything is predicted, where a cohort has no masks in that frame.
    """
    frames = {id: cohort.native_frame(id) for id in ids}
    model.eval()
    normalise = normalise or cohort.normalise
    rows = []
    for id, frame in frames.items():
        sample = cohort.load(id)
        native = frame.undo(predicted_as_learned(model, sample, normalise, orientation))
        spacing = frame.native_spacing(sample.spacing_mm)
        rows.append(measure(sample, native, cohort.native_instances(id), spacing, threshold))
        tick()
    return pd.DataFrame(rows)


def write_rows(path: Path, rows: pd.DataFrame) -> None:
    """Write a table as csv; the file appears whole or not at all."""
    write_atomic(path, rows.to_csv(index=False).encode())


class Finished(NamedTuple):
    """What measuring a finished run takes: best weights, experiment, threshold, and the ids of its test images."""

    model: nn.Module
    experiment: Experiment
    threshold: float
    test: list[str]

    @classmethod
    def of(cls, out: Path, cohort: Cohort) -> "Finished":
        """Read a run's weights and settings.

        Raises UsageError for a run without weights, or with those of another run, or if the cohort, or the division of
        its images into parts, has changed since.
        """
        facts_of_run = RunFolder(out).experiment()
        model, facts = load_weights(out / WEIGHTS, own=(facts_of_run["model"],))
        if told := differences_to(RunFolder(out), facts):
            raise UsageError(f"{out / WEIGHTS} is of another run: {told}; remove the folder to train this run again")
        experiment = Experiment(**facts["experiment"])
        if cohort.fingerprint != experiment.fingerprint:
            raise UsageError(
                f"{cohort.root} has changed: its fingerprint is {cohort.fingerprint}, but the run was trained on "
                f"{experiment.fingerprint}; give the cohort of the run, or for another one "
                "`evaluate WEIGHTS COHORT --out DIR`"
            )
        parts = parts_of(experiment, cohort, facts_of_run["fold"])
        refuse_other_parts(RunFolder(out), parts, cohort)
        return cls(model, experiment, facts["threshold"], parts.test)

    def ticking(self, watch: Watch) -> Tick:
        """What is called after each image and tells `watch` how many are done."""
        images, of, epochs = iter(range(1, len(self.test) + 1)), len(self.test), self.experiment.epochs
        return lambda: watch(Progress("test", next(images), of, epochs, epochs, math.nan, math.nan))


def evaluate_run(out: Path, cohort: Cohort, watch: Watch = lambda progress: None) -> pd.DataFrame:
    """Measure a run's best weights on its test part: `predictions/`, `candidates.csv` and `rows.csv` in its folder.

    Raises UsageError for a run without weights, or if the cohort has changed since.
    """
    run = Finished.of(out, cohort)
    found = evaluate(run.model, cohort, run.test, run.threshold, out=out / PREDICTIONS, tick=run.ticking(watch))
    found.write(out)
    return found.rows


def evaluate_run_native(out: Path, cohort: Cohort, watch: Watch = lambda progress: None) -> pd.DataFrame:
    """The same in the native frame (`evaluate_native`): `rows_native.csv` in its folder, and nothing else.

    Raises as `evaluate_run` does, and DataError for a cohort without masks in that frame.
    """
    run = Finished.of(out, cohort)
    rows = evaluate_native(run.model, cohort, run.test, run.threshold, tick=run.ticking(watch))
    write_rows(out / NATIVE_ROWS, rows)
    return rows
