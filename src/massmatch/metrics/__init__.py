"""What a predicted mask is worth: pixels counted, boundaries measured, masses found, false alarms.

Fractions from 0 to 1. Empties are defined and never drop out of a mean (both empty / prediction / truth empty):

    dsc, iou          1 / 0 / 0
    sen               NaN / 0 / NaN             precision   NaN / NaN / 0
    delta_a           0 / 1 / NaN               acc, specificity   as always
    hau, hau95, assd  0 / diagonal of the image / the same ("raw": inf)
    nsd_2px, nsd_2mm  1 / 0 / 0
    fp_area           0 / NaN / the area predicted: it stands for delta_a on images without mass

NaN is "undefined"; `summary` counts how many values it had. What is in mm is NaN where the spacing is not known. ACC
is close to 1 whatever is predicted, since almost all of a mammogram is background: it is reported because the paper
does, never to choose by.

The paper defines neither HAU (unit, percentile, empties) nor its ΔA; these are our definitions, and its numbers are
not comparable with them.
"""

from massmatch.metrics.counts import Counts, divided
from massmatch.metrics.froc import RATES, cpm, froc, sensitivity_at
from massmatch.metrics.image import as_mask, image_metrics
from massmatch.metrics.lesions import CANDIDATE, EVERY_NEIGHBOUR, FLOOR, lesion_candidates, lesion_counts
from massmatch.metrics.strata import by_density, by_side, by_size, by_stratum, by_view, size_edges
from massmatch.metrics.summary import MEASURED, summary
from massmatch.metrics.surface import boundary, distances, surface_distances

__all__ = [
    "CANDIDATE",
    "EVERY_NEIGHBOUR",
    "FLOOR",
    "MEASURED",
    "RATES",
    "Counts",
    "as_mask",
    "boundary",
    "by_density",
    "by_side",
    "by_size",
    "by_stratum",
    "by_view",
    "cpm",
    "distances",
    "divided",
    "froc",
    "image_metrics",
    "lesion_candidates",
    "lesion_counts",
    "sensitivity_at",
    "size_edges",
    "summary",
    "surface_distances",
]
