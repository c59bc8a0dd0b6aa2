"""One made-up mass: a body between round and lobulated, perhaps ill-defined, perhaps with spicules."""

import numpy as np
from scipy import ndimage

MEDIAN_AREA, SPREAD = 0.0027, 0.75  # log-normal share of the image; 5th to 95th percentile 0.08 to 0.93 %


def draw_mass(
    rng: np.random.Generator, shape: tuple[int, ...], centre: tuple[int, int], density: int
) -> tuple[np.ndarray, np.ndarray]:
    """Grey to be added to a mammogram, and the mass's body (bool), both of `shape`."""
    size = shape[0]
    area = float(np.clip(MEDIAN_AREA * np.exp(rng.normal(0, SPREAD)), 0.0006, 0.03))
    radius = np.sqrt(area / np.pi) * size
    rows, cols = np.mgrid[0 : shape[0], 0 : shape[1]]
    angle = np.arctan2(rows - centre[0], cols - centre[1])
    away = np.hypot(rows - centre[0], cols - centre[1])
    kind = rng.choice(["circumscribed", "lobulated", "ill-defined", "spiculated"], p=[0.25, 0.25, 0.2, 0.3])
    signed = away - radius * contour(rng, angle, kind)  # pixels outside the contour
    blur = {"circumscribed": 0.12, "lobulated": 0.16, "ill-defined": 0.32, "spiculated": 0.22}[kind] * radius
    grey = 1 / (1 + np.exp(np.clip(signed / max(blur, 0.6), -30, 30)))
    mottle = ndimage.gaussian_filter(rng.normal(size=shape), max(radius / 4, 1))
    grey *= 1 + 0.18 * mottle / mottle.std() - 0.25 * np.clip(away / radius, 0, 1) ** 2  # thickest in the middle
    if kind == "spiculated":
        grey += spicules(rng, angle, away, radius)
    contrast = rng.uniform(0.18, 0.40) * (1.1, 1.05, 0.95, 0.9)[density - 1]
    return contrast * grey, signed < 0


def contour(rng: np.random.Generator, angle: np.ndarray, kind: str) -> np.ndarray:
    """Radius by angle, 1 on the average: an ellipse with a few waves."""
    turn, flat = rng.uniform(0, np.pi), rng.uniform(0.7, 1)
    waves = {"circumscribed": 0.02, "lobulated": 0.09, "ill-defined": 0.06, "spiculated": 0.08}[kind]
    ellipse = np.sqrt(flat) / np.sqrt((flat * np.cos(angle - turn)) ** 2 + np.sin(angle - turn) ** 2)
    return ellipse * (
        1 + sum(rng.normal(0, 2 * waves / k) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in range(2, 6))
    )


def spicules(rng: np.random.Generator, angle: np.ndarray, away: np.ndarray, radius: float) -> np.ndarray:
    """Thin straight lines that leave the body and fade within about its diameter."""
    lines = np.zeros(angle.shape)
    for _ in range(rng.integers(8, 18)):
        direction, length = rng.uniform(-np.pi, np.pi), radius * rng.uniform(1.3, 2.6)
        aside = away * np.abs(np.sin(angle - direction))
        ahead = np.cos(angle - direction) > 0
        lines += ahead * np.exp(-((aside / 0.8) ** 2)) * np.clip(1 - away / length, 0, 1) * rng.uniform(0.3, 0.8)
    return lines
