"""Pixels by prediction and truth, and the formulas on them."""

from typing import NamedTuple

import numpy as np


class Counts(NamedTuple):
    """Pixels by prediction and truth. `+` adds images up for the pooled values."""

    tp: int
    fp: int
    fn: int
    tn: int

    @classmethod
    def of(cls, prediction: np.ndarray, truth: np.ndarray) -> "Counts":
        """Of two boolean masks of one shape."""
        tp, p, y = int((prediction & truth).sum()), int(prediction.sum()), int(truth.sum())
        return cls(tp, p - tp, y - tp, truth.size - p - y + tp)

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN); 1 for two empty masks."""
        return divided(2 * self.tp, 2 * self.tp + self.fp + self.fn, 1.0)

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN); 1 for two empty masks."""
        return divided(self.tp, self.tp + self.fp + self.fn, 1.0)

    @property
    def sensitivity(self) -> float:
        """The share of true mass that was found: TP / (TP + FN)."""
        return divided(self.tp, self.tp + self.fn)

    @property
    def precision(self) -> float:
        """The share of predicted mass that is true: TP / (TP + FP)."""
        return divided(self.tp, self.tp + self.fp)

    @property
    def specificity(self) -> float:
        """The share of the rest that was left alone: TN / (TN + FP)."""
        return divided(self.tn, self.tn + self.fp)

    @property
    def accuracy(self) -> float:
        """The share of pixels that are right: (TP + TN) / all."""
        return (self.tp + self.tn) / sum(self)

    @property
    def area_difference(self) -> float:
        """Signed: (predicted - true) / true area; 0 for two empty masks."""
        return divided(self.fp - self.fn, self.tp + self.fn, 0.0 if self.fp == 0 else np.nan)


def divided(above: float, below: float, undefined: float = np.nan) -> float:
    """`above` / `below`, or `undefined` where `below` is 0."""
    return above / below if below else undefined
