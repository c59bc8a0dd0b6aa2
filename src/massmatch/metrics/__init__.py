"""What a predicted mask is worth: counts, then one-line formulas; distances between boundaries; lesions.

Fractions from 0 to 1. Empties are defined and never drop out of a mean (both empty / prediction / truth empty):

    dsc, iou          1 / 0 / 0
    sen               NaN / 0 / NaN             precision   NaN / NaN / 0
    delta_a           0 / 1 / NaN               acc, specificity   as always
    hau, hau95, assd  0 / diagonal of the image / the same ("raw": inf)

NaN is "undefined"; `summary` counts how many values it had. ACC is close to 1 whatever is predicted, since almost
all of a mammogram is background: it is reported because the paper does, never to choose by.
"""

from massmatch.metrics.counts import Counts, divided
from massmatch.metrics.image import as_mask, image_metrics
from massmatch.metrics.lesions import EVERY_NEIGHBOUR, lesion_counts
from massmatch.metrics.summary import MEASURED, summary
from massmatch.metrics.surface import boundary, distances, surface_distances

__all__ = [
    "EVERY_NEIGHBOUR",
    "MEASURED",
    "Counts",
    "as_mask",
    "boundary",
    "distances",
    "divided",
    "image_metrics",
    "lesion_counts",
    "summary",
    "surface_distances",
]
