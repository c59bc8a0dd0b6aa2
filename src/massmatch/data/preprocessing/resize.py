"""Resizing by exact area, so that a small mass keeps its share of the image and no grey is invented."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse


def area_weights(source: int, target: int) -> sparse.csr_array:
    """(target, source): the share of each target pixel that each source pixel covers; rows add up to 1."""
    cuts = np.unique(np.concatenate([np.arange(source + 1) * target, np.arange(target + 1) * source]))  # in 1/(s t)
    middle, length = (cuts[:-1] + cuts[1:]) / 2, np.diff(cuts)
    index = ((middle // source).astype(int), (middle // target).astype(int))
    return sparse.csr_array((length.astype(np.float32) / source, index), shape=(target, source))


def linear_weights(source: int, target: int) -> sparse.csr_array:
    """(target, source): linear interpolation between pixel centres, the outermost ones continued."""
    where = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.minimum(where.astype(int), max(source - 2, 0))
    high = np.minimum(low + 1, source - 1)
    part = (where - low).astype(np.float32)
    rows = np.arange(target)
    entries = (np.concatenate([1 - part, part]), (np.concatenate([rows, rows]), np.concatenate([low, high])))
    return sparse.csr_array(entries, shape=(target, source))


def resized(image: np.ndarray, size: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W) to (rows, columns), axis by axis: averaged over the area where it shrinks, linear where it grows."""
    rows, cols = (
        (area_weights if target < source else linear_weights)(source, target)
        for source, target in zip(image.shape, size, strict=True)
    )
    result = image.astype(np.float32)
    result = result if size[0] == image.shape[0] else rows @ result
    return result if size[1] == image.shape[1] else (cols @ result.T).T


def resized_labels(labels: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, list[int]]:
    """A map of masses resized by area, and the labels of those that would have vanished.

    A pixel belongs to a mass where masses cover at least half of it, and then to the one that covers most. A mass
    that would own no pixel keeps the one that it covers most.
    """
    if labels.shape == tuple(size):
        return labels, []
    rows, cols = (area_weights(source, target) for source, target in zip(labels.shape, size, strict=True))
    most, total = np.zeros(size, np.float32), np.zeros(size, np.float32)
    owner = np.zeros(size, labels.dtype)
    peaks = {}
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        share = rows[:, box[0]] @ (labels[box] == label).astype(np.float32) @ cols[:, box[1]].T
        peaks[label] = np.unravel_index(share.argmax(), size)
        owner[share > most] = label
        most, total = np.maximum(most, share), total + share
    result = np.where(total >= 0.5 - 1e-6, owner, 0).astype(labels.dtype)  # rounding must not cost a pixel
    vanished = sorted(peaks.keys() - set(np.unique(result).tolist()))
    for label in vanished:
        result[peaks[label]] = label
    return result, vanished
