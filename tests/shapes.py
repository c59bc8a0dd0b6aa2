"""Masks drawn in text, and squares."""

import numpy as np


def drawn(*rows):
    assert len({len(row) for row in rows}) == 1
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def digits(*rows):
    return np.array([[int(pixel) for pixel in row] for row in rows], np.uint8)


def square(corner, side=10, size=64):
    mask = np.zeros((size, size), bool)
    mask[corner[0] : corner[0] + side, corner[1] : corner[1] + side] = True
    return mask


EMPTY = np.zeros((64, 64), bool)
