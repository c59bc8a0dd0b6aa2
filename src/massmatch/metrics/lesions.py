"""Masses found and missed, and predicted pieces that lie on no mass.

A piece is an 8-connected part of the prediction; a mass is an instance of the truth, so that two that touch stay two.
A piece may find a mass by one of these criteria:

    iou10, iou20, iou50   their IoU is at least 0.1, 0.2, 0.5; 0.2 is the habit of mass detection on mammograms
    centre                the piece's centre of gravity lies in the mass

Pieces and masses are matched one to one: as many as can be, and among these the pairs with the largest IoU. A piece
that touches a found mass without being its match is neither a hit nor false.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from massmatch.metrics.surface import box_of

EVERY_NEIGHBOUR = np.ones((3, 3))  # 8-connected
IOUS = (0.1, 0.2, 0.5)
FLOOR = 0.1  # of a candidate's score: below, what a network says of plain tissue fills the image


class Pieces(NamedTuple):
    """n predicted pieces of an image with m masses, in the order of their labels."""

    labels: NDArray[np.integer]  # (H, W), 0 = background
    masses: NDArray[np.integer]  # (m,) labels of the masses
    area_px: NDArray[np.int64]  # (n,)
    centre: NDArray[np.float64]  # (n, 2) row, column
    at_centre: NDArray[np.integer]  # (n,) label of the mass at the pixel of the centre, 0 = none
    iou: NDArray[np.float64]  # (n, m)

    @classmethod
    def of(cls, prediction: np.ndarray, instances: np.ndarray) -> "Pieces":
        """Of a (H, W) bool mask and (H, W) labels of masses, 0 = background."""
        labels, count = ndimage.label(prediction, EVERY_NEIGHBOUR)
        masses, mass_px = np.unique(instances[instances > 0], return_counts=True)
        rows, cols = np.nonzero(labels)
        piece = labels[rows, cols] - 1
        area = np.bincount(piece, minlength=count)
        sums = [np.bincount(piece, weights=axis, minlength=count) for axis in (rows, cols)]
        centre = (np.stack(sums, axis=1) / area[:, None]).reshape(-1, 2)
        mass = instances[rows, cols]
        pair = piece[mass > 0] * len(masses) + np.searchsorted(masses, mass[mass > 0])
        both = np.bincount(pair, minlength=count * len(masses)).reshape(count, len(masses))
        iou = both / (area[:, None] + mass_px - both)
        nearest = np.floor(centre + 0.5).astype(int)  # halves all go one way, wherever the piece lies
        return cls(labels, masses, area, centre, instances[nearest[:, 0], nearest[:, 1]], iou)

    @property
    def centred(self) -> NDArray[np.bool_]:
        """(n, m): whether the piece's centre lies in the mass."""
        return self.at_centre[:, None] == self.masses

    def judged(self, hits: NDArray[np.bool_]) -> tuple[int, int]:
        """Masses found and pieces false, if the pairs in `hits` (n, m) may be matched."""
        found = matched(np.where(hits, 1 + self.iou / (1 + min(self.iou.shape)), 0))  # one pair more is worth most
        masses = found.any(0)
        on_found = (hits | (self.iou > 0))[:, masses].any(1)
        return int(masses.sum()), int((~on_found).sum())


def matched(worth: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n, m): the pairs of the one-to-one assignment of the largest sum; those worth 0 are left out."""
    found = np.zeros_like(worth, dtype=bool)
    some = np.flatnonzero(worth.any(1))  # speckle has 100 000 pieces, and nearly all touch nothing
    rows, cols = linear_sum_assignment(worth[some], maximize=True)
    found[some[rows], cols] = worth[some[rows], cols] > 0
    return found


def lesion_counts(prediction: np.ndarray, instances: np.ndarray) -> dict[str, int]:
    """Masses and pieces of one image.

    Args:
        prediction: (H, W) bool.
        instances: (H, W) labels of the masses, 0 = background.

    Returns:
        masses; masses_found (by iou20), masses_found_iou10, masses_found_iou50, masses_found_centre; pieces;
        pieces_false (that touch no mass at all), and by each criterion pieces_false_iou10, ..., pieces_false_centre:
        pieces that are neither a match nor touch a found mass.
    """
    box = box_of(prediction | (instances > 0))
    pieces = Pieces.of(prediction[box], instances[box])
    by = {f"iou{100 * least:.0f}": pieces.judged(pieces.iou >= least) for least in IOUS}
    by["centre"] = pieces.judged(pieces.centred)
    return {
        "masses": len(pieces.masses),
        "masses_found": by["iou20"][0],
        **{f"masses_found_{name}": by[name][0] for name in ("iou10", "iou50", "centre")},
        "pieces": len(pieces.area_px),
        "pieces_false": int((~pieces.iou.any(1)).sum()),
        **{f"pieces_false_{name}": false for name, (_, false) in by.items()},
    }


CANDIDATE = {  # the columns of `lesion_candidates`
    "candidate": "int64",
    "score": "float64",
    "area_px": "int64",
    "row": "float64",
    "col": "float64",
    "mass": "int64",
    "iou": "float64",
    "mass_at_centre": "int64",
}


def lesion_candidates(probability: np.ndarray, instances: np.ndarray, *, floor: float = FLOOR) -> pd.DataFrame:
    """What a map of probabilities proposes as masses, for the FROC; the threshold of a run plays no part.

    Each connected region above `floor` is cut at half of its own maximum; every piece that is left is a candidate,
    and its score is its maximum. So two peaks joined by a faint bridge are two candidates, a faint peak has a shape
    of its own size and not that of its halo, and where the network is certain (maximum 1) the candidates are the
    pieces of the mask at threshold 0.5. A peak less than half as high as another one in the same region is lost in it,
    and no threshold below `floor` can be drawn. Where plain tissue gets more than `floor`, the breast is one region,
    and one candidate if no peak is twice as high; a network that stays below `floor` has no candidate.

    Args:
        probability: (H, W), 0 to 1.
        instances: (H, W) labels of the masses, 0 = background.
        floor: least probability, 0 or more.

    Returns:
        A row per candidate, the highest score first: candidate (1 to n), score, area_px, row and col (its centre of
        gravity), mass (label of the mass with which its IoU is largest; 0: it touches none), iou (with that mass),
        mass_at_centre (label of the mass at its centre, 0 = none).
    """
    region, count = ndimage.label(probability > floor, EVERY_NEIGHBOUR)
    peak = np.zeros(count + 1, probability.dtype)
    np.maximum.at(peak, region.ravel(), probability.ravel())
    pieces = Pieces.of((region > 0) & (probability > peak[region] / 2), instances)
    score = np.zeros(len(pieces.area_px) + 1, probability.dtype)
    np.maximum.at(score, pieces.labels.ravel(), probability.ravel())
    n = len(pieces.area_px)
    best = pieces.iou.argmax(1) if len(pieces.masses) else np.zeros(n, int)
    iou = pieces.iou[np.arange(n), best] if len(pieces.masses) else np.zeros(n)
    mass = np.where(iou > 0, pieces.masses[best], 0) if len(pieces.masses) else np.zeros(n, int)
    order = np.argsort(-score[1:], kind="stable")
    columns = (score[1:], pieces.area_px, *pieces.centre.T, mass, iou, pieces.at_centre)
    values = [np.arange(1, n + 1), *(column[order] for column in columns)]
    return pd.DataFrame(dict(zip(CANDIDATE, values, strict=True))).astype(CANDIDATE)
