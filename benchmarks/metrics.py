"""How long the metrics of one pair of masks take, beside MONAI's and plain SciPy.

"near": a mass of some 150 pixels across at full size and a prediction beside it; "far": the same with a false positive
in the opposite corner. Full size is 4084 x 3328, as INbreast's larger images.
"""

from functools import partial

import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance
from scipy import ndimage

from massmatch.metrics import image_metrics, lesion_counts
from measuring import Goal, Section, medians, one_thread, ratios, table, take_turns

SIZES = ((256, 256), (1024, 1024), (4084, 3328))
SPACING = (0.07, 0.07)
OURS, MONAI, SCIPY = "massmatch, all metrics", "MONAI, Dice and HAU and HAU95", "SciPy, the same three"
Mask = np.ndarray


def disc(shape: tuple[int, int], row: float, col: float, radius: float) -> Mask:
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    return (rows - row * shape[0]) ** 2 + (cols - col * shape[1]) ** 2 <= (radius * shape[0]) ** 2


def pairs(shape: tuple[int, int]) -> dict[str, tuple[Mask, Mask]]:
    truth, near = disc(shape, 0.3, 0.3, 0.02), disc(shape, 0.305, 0.3, 0.02)
    return {"near": (near, truth), "far": (near | disc(shape, 0.95, 0.95, 0.02), truth)}


def by_monai(prediction: Mask, truth: Mask) -> tuple[float, ...]:
    one_hot = [torch.from_numpy(mask)[None, None] for mask in (prediction, truth)]
    distances = [
        compute_hausdorff_distance(*one_hot, include_background=True, percentile=q, spacing=SPACING) for q in (None, 95)
    ]
    return float(compute_dice(*one_hot)), *(float(d) for d in distances)


def by_scipy(prediction: Mask, truth: Mask) -> tuple[float, ...]:
    """Distances between the borders from two transforms of the whole image."""
    borders = [mask & ~ndimage.binary_erosion(mask) for mask in (prediction, truth)]
    maps = [ndimage.distance_transform_edt(~border, sampling=SPACING) for border in borders]
    there, back = maps[1][borders[0]], maps[0][borders[1]]
    dice = 2 * np.logical_and(prediction, truth).sum() / (prediction.sum() + truth.sum())
    return float(dice), max(there.max(), back.max()), max(np.percentile(there, 95), np.percentile(back, 95))


def section(*, quick: bool = False) -> Section:
    """The chapter on the metrics."""
    rows, goals = [], []
    with one_thread():
        for shape in SIZES[: 2 if quick else None]:
            for name, (prediction, truth) in pairs(shape).items():
                steps = {
                    OURS: partial(image_metrics, prediction, truth, SPACING),
                    MONAI: partial(by_monai, prediction, truth),
                    SCIPY: partial(by_scipy, prediction, truth),
                    "masses found": partial(lesion_counts, prediction, truth.astype(np.uint8)),
                }
                times = take_turns(steps, 3 if quick or shape[0] > 2000 else 7)
                ms = {step: 1e3 * took for step, took in medians(times).items()}
                of = f"{shape[0]} x {shape[1]}, {name}"
                rows.append((of, *(f"{took:.1f}" for took in ms.values())))
                goals.append(Goal(f"all metrics / MONAI's three, {of}", 1, ratios(times, MONAI)[OURS]))
    names = (OURS, MONAI, SCIPY, "masses found")
    text = f"Milliseconds on one thread, with a spacing.\n\n{table(('masks', *names), rows)}"
    return Section("The metrics", goals, text)
