"""Masses found and missed, and predicted pieces that lie on no mass."""

import numpy as np
from scipy import ndimage

from massmatch.metrics.counts import Counts

EVERY_NEIGHBOUR = np.ones((3, 3))  # 8-connected


def lesion_counts(prediction: np.ndarray, instances: np.ndarray, iou: float = 0.2) -> dict[str, int]:
    """Masses of one image and how many were found; predicted pieces and how many of them touch no mass.

    A mass counts as found if one 8-connected piece of the prediction overlaps it with at least `iou`
    (`masses_found`; 0.2 is the habit of mass detection on mammograms), or if the centre of a piece lies in it
    (`masses_found_centre`).
    """
    pieces, count = ndimage.label(prediction, EVERY_NEIGHBOUR)
    masses = np.unique(instances[instances > 0])
    overlaps = [_best_iou(pieces, instances == mass) for mass in masses]
    centres = np.rint(ndimage.center_of_mass(prediction, pieces, range(1, count + 1))).astype(int).reshape(-1, 2)
    hit = set(instances[centres[:, 0], centres[:, 1]].tolist()) if count else set()
    touching = np.unique(pieces[(pieces > 0) & (instances > 0)])
    return {
        "masses": len(masses),
        "masses_found": sum(overlap >= iou for overlap in overlaps),
        "masses_found_centre": sum(int(mass) in hit for mass in masses),
        "pieces": count,
        "pieces_false": count - len(touching),
    }


def _best_iou(pieces: np.ndarray, mass: np.ndarray) -> float:
    """Largest IoU of a piece with the mass."""
    candidates = np.unique(pieces[mass & (pieces > 0)])
    return max((Counts.of(pieces == piece, mass).iou for piece in candidates), default=0.0)
