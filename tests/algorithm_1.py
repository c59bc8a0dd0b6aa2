"""Algorithm 1 of the paper as it is printed: loops over cells and pixels, in NumPy and float64, with the paper's names.

P, Y      prediction (probabilities) and ground truth of one image with one channel, any number of axes
L, L_I    the core loss, and its value over the whole masks
L_i, L_G  its value over the i-th cell, and the grid loss
NZ_P, NZ_Y    how many cells contain predicted mass, true mass;  S = NZ_P / NZ_Y
D_i       distance from the i-th cell to the closest mass in Y, if the cell is a false positive

The readings of what the paper leaves open are the keyword arguments. Slow on purpose: nothing here is shared with the
package that it checks.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
from scipy import ndimage

CORES = ("bce", "tversky", "dice")
SM = {  # the paper's four ways to aggregate the cells, and the two switches that they are made of
    "b": {"scale": False, "distance": False},
    "s": {"scale": True, "distance": False},
    "d": {"scale": False, "distance": True},
    "sd": {"scale": True, "distance": True},
}
G = {"a": {"nonzero": False}, "nz": {"nonzero": True}}
VARIANTS = {f"sm-{core}-{sm}-{g}": {"core": core, **SM[sm], **G[g]} for core in CORES for sm in SM for g in G}
assert len(VARIANTS) == 24


class Matching(NamedTuple):
    """Everything that Algorithm 1 computes on its way; an array holds one value per cell."""

    L_SM: float
    L_I: float
    L_G: float
    L_i: np.ndarray
    w_i: np.ndarray
    kept: np.ndarray
    contains_p: np.ndarray
    contains_y: np.ndarray
    D_i: np.ndarray
    S: float
    s: float
    contributions: np.ndarray
    cell_size: tuple[int, ...]


def logistic(x):
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    return math.exp(x) / (1 + math.exp(x))


# --- Eqs. 2 and 3: core losses over a list of pixels --------------------------------------------------------------


def bce(P, Y, pixels):
    N = len(pixels)
    total = 0.0
    for j in pixels:
        if Y[j] > 0:
            total += Y[j] * math.log(P[j])
        if Y[j] < 1:
            total += (1 - Y[j]) * math.log(1 - P[j])
    return -total / N


def tversky(P, Y, pixels, *, fn_weight=0.7, fp_weight=0.3, smooth=1.0):
    tp = fn = fp = 0.0
    for j in pixels:
        tp += Y[j] * P[j]
        fn += Y[j] * (1 - P[j])
        fp += (1 - Y[j]) * P[j]
    T = (tp + smooth) / (tp + fn_weight * fn + fp_weight * fp + smooth)
    return 1 - T


def dice(P, Y, pixels, *, smooth=1.0, squared=False):
    intersection = sum_p = sum_y = 0.0
    for j in pixels:
        intersection += Y[j] * P[j]
        sum_p += P[j] ** 2 if squared else P[j]
        sum_y += Y[j] ** 2 if squared else Y[j]
    return 1 - (2 * intersection + smooth) / (sum_p + sum_y + smooth)


def hybrid(P, Y, pixels, **options):
    return 0.5 * bce(P, Y, pixels) + 0.5 * dice(P, Y, pixels, **options)


L_OF = {"bce": bce, "tversky": tversky, "dice": dice, "hybrid": hybrid}


# --- "Extract Grid Size" of Figure 2 ------------------------------------------------------------------------------


def extents_of_masses(Y, valid, instances):
    """One tuple per mass: how many pixels its bounding box measures along each axis."""
    truth = np.zeros(Y.shape, dtype=bool)
    for j in np.ndindex(Y.shape):
        truth[j] = Y[j] > 0.5 and valid[j]
    if instances is None:
        label, _ = ndimage.label(truth, structure=np.ones([3] * Y.ndim))
    else:
        label = np.where(truth, instances, 0)
    lowest, highest = {}, {}
    for j in np.ndindex(Y.shape):
        mass = label[j]
        if mass == 0:
            continue
        if mass not in lowest:
            lowest[mass], highest[mass] = list(j), list(j)
        for axis in range(Y.ndim):
            lowest[mass][axis] = min(lowest[mass][axis], j[axis])
            highest[mass][axis] = max(highest[mass][axis], j[axis])
    return [tuple(highest[mass][axis] - lowest[mass][axis] + 1 for axis in range(Y.ndim)) for mass in lowest]


def power_of_two(length, cell_rounding):
    powers = [2**k for k in range(30)]
    if cell_rounding == "up":
        return next(power for power in powers if power >= length)
    if cell_rounding == "down":
        return [power for power in powers if power <= length][-1]
    assert cell_rounding == "nearest"
    best = powers[0]
    for power in powers:
        if abs(power - length) <= abs(best - length):  # <=: a tie goes up
            best = power
    return best


def extract_cell_size(Y, valid, instances, cell_statistic, cell_rounding, cell_size, min_cell):
    if cell_size is not None:
        return tuple(cell_size)
    extents = extents_of_masses(Y, valid, instances)
    if not extents:
        return Y.shape
    statistic = {"min": min, "max": max, "mean": lambda lengths: sum(lengths) / len(lengths)}[cell_statistic]
    size = []
    for axis, side in enumerate(Y.shape):
        length = power_of_two(statistic([extent[axis] for extent in extents]), cell_rounding)
        length = max(length, min_cell)
        size.append(min(length, power_of_two(side, "down")))
    return tuple(size)


# --- Algorithm 1 --------------------------------------------------------------------------------------------------


def algorithm_1(
    P,
    Y,
    *,
    core="bce",
    scale=False,
    distance=False,
    nonzero=False,
    threshold=0.5,
    numerator="kept",
    matched_weight=None,
    combination="algorithm",
    distance_unit="cell",
    rescale="sigmoid",
    cell_statistic="min",
    cell_rounding="nearest",
    cell_size=None,
    min_cell=4,
    grid_weight=1.0,
    instances=None,
    mask=None,
    **core_options,
):
    """L_SM of one image with one channel, and all that led to it."""
    P, Y = np.asarray(P, dtype=np.float64), np.asarray(Y, dtype=np.float64)
    assert P.shape == Y.shape
    assert ((P >= 0) & (P <= 1)).all()
    valid = np.ones(Y.shape, dtype=bool) if mask is None else np.asarray(mask) > 0
    assert valid.shape == Y.shape
    assert valid.any()

    def L(pixels):
        return L_OF[core](P, Y, pixels, **core_options)

    def sigma(x):
        return {"sigmoid": logistic, "direct": float}[rescale](x)

    size = extract_cell_size(Y, valid, instances, cell_statistic, cell_rounding, cell_size, min_cell)
    Grid = list(np.ndindex(*[-(-side // length) for side, length in zip(Y.shape, size, strict=True)]))
    shape = tuple(index + 1 for index in Grid[-1])

    pixels_of = {}  # the i-th cells of Y and P (line 3), cut off by the image
    for i in Grid:
        ranges = [range(i[axis] * size[axis], min((i[axis] + 1) * size[axis], Y.shape[axis])) for axis in range(Y.ndim)]
        pixels_of[i] = [j for j in itertools.product(*ranges) if valid[j]]

    contains_p, contains_y = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for i in Grid:
        for j in pixels_of[i]:
            contains_p[i] |= bool(P[j] > threshold)
            contains_y[i] |= bool(Y[j] > 0.5)
    any_mass = contains_y.any()

    def distance_to_closest_mass(i):
        distances = []
        for k in Grid:
            if not contains_y[k]:
                continue
            squared = 0.0
            for axis in range(Y.ndim):
                step = i[axis] - k[axis]
                if distance_unit in ("pixel", "image"):
                    step *= size[axis]
                if distance_unit == "image":
                    step /= Y.shape[axis]
                squared += step**2
            distances.append(math.sqrt(squared))
        return min(distances)

    if matched_weight is None:
        matched_weight = {"sigmoid": 0.5, "direct": 1.0}[rescale]

    L_I = L([j for j in np.ndindex(Y.shape) if valid[j]])  # line 1
    L_G, NZ_P, NZ_Y, N_G, N_kept = 0.0, 0, 0, 0, 0
    L_i, w_i, D_i = np.zeros(shape), np.ones(shape), np.zeros(shape)
    kept, summed = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for i in Grid:  # line 2
        if not pixels_of[i]:
            continue  # a cell without a valid pixel is in no count
        L_i[i] = L(pixels_of[i])  # line 4
        N_G += 1
        kept[i] = contains_p[i] or contains_y[i] or not nonzero
        N_kept += kept[i]
        NZ_P += contains_p[i]  # line 9
        NZ_Y += contains_y[i]  # line 10
        if distance:
            sigma_D = matched_weight
            if contains_p[i] and not contains_y[i] and any_mass:  # lines 12-13
                D_i[i] = distance_to_closest_mass(i)
                sigma_D = sigma(D_i[i])
            both_lines = scale and combination == "algorithm"  # lines 11 and 14 add the cell twice
            w_i[i] = 1 + sigma_D if both_lines else sigma_D
        summed[i] = kept[i] or numerator == "all"
        if summed[i]:
            L_G += L_i[i] * w_i[i]  # lines 6, 11, 14
    L_G = L_G / N_kept if N_kept else 0.0  # lines 15-18
    S = NZ_P / max(NZ_Y, 1)
    s = sigma(S) if scale else 1.0  # line 22
    contributions = grid_weight * s * summed * w_i * L_i / N_kept if N_kept else np.zeros(shape)
    L_SM = L_I + grid_weight * s * L_G  # lines 20, 22
    assert math.isclose(L_SM, L_I + contributions.sum(), abs_tol=1e-12)
    return Matching(L_SM, L_I, L_G, L_i, w_i, kept, contains_p, contains_y, D_i, S, s, contributions, size)


def algorithm_1_of_batch(logits, target, *, instances=None, mask=None, from_logits=True, **options):
    """L_SM of every image and channel of a batch of tensors: an array (B, C)."""
    P = np.asarray(logits.detach().cpu().double())
    if from_logits:
        P = np.vectorize(logistic)(P)
    Y = np.asarray(target.detach().cpu().double())

    def of(tensor, b, c):
        return None if tensor is None else np.asarray(tensor.detach().cpu())[b, c]

    values = np.zeros(P.shape[:2])
    for b, c in np.ndindex(values.shape):
        values[b, c] = algorithm_1(P[b, c], Y[b, c], instances=of(instances, b, c), mask=of(mask, b, c), **options).L_SM
    return values
