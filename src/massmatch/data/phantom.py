"""Made-up mammograms that look the part: for demonstrations and tests without patients' data.

Everything is drawn from one generator per image that follows from (seed, patient, side, view) alone, so a patient
looks the same whatever their number. Lengths are fractions of the image's side; the chest wall is on the left.
Sizes of breasts and masses follow the 1231 mass mammograms of CBIS-DDSM at 256x256: breast area 28 % (sd 8.5 %)
of the image, mass area 0.27 % (median), 0.08 to 1.07 % (5th to 95th percentile).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.interpolate import PchipInterpolator

from massmatch.data.phantom_mass import draw_mass
from massmatch.data.sample import Sample
from massmatch.errors import UsageError

DENSITY_SHARES = (0.20, 0.45, 0.26, 0.09)  # of ACR 1 to 4 in CBIS-DDSM
MOST_PATIENTS, LARGEST = 1_000_000, 8192  # far above any use; beyond, memory ends before the images are drawn
SEVERAL = 0.06  # share of images with mass that hold more than one (CBIS-DDSM: 5 %)
SIDES, VIEWS = ("L", "R"), ("CC", "MLO")


def phantoms(patients: int, *, seed: int = 0, size: int = 256, normal_fraction: float = 0.15) -> Iterator[Sample]:
    """Mammograms of made-up patients, 2 or 4 each (both views of one side, or of both).

    Args:
        patients: how many, at least 1.
        seed: the same seed gives the same patients, whatever their number.
        size: side of the square images in pixels, at least 64.
        normal_fraction: share of the images without mass, 0 to 1.

    Yields:
        Samples of (size, size) uint8, with ids such as phantom_0003_L_MLO.

    Raises:
        ValueError: an argument out of range.
    """
    for name, value, least, most in (
        ("patients", patients, 1, np.inf),
        ("seed", seed, 0, np.inf),
        ("size", size, 64, np.inf),
        ("normal_fraction", normal_fraction, 0, 1),
    ):
        if not least <= value <= most:
            bounds = f"at least {least}" if most == np.inf else f"from {least} to {most}"
            raise UsageError(f"{name} must be {bounds}, but is {value}")
    for name, value, most in (("patients", patients, MOST_PATIENTS), ("size", size, LARGEST)):
        if value > most:
            raise UsageError(f"{name} must be at most {most}, but is {value}")
    for patient in range(patients):
        yield from _patient(patient, seed, size, normal_fraction)


def _patient(patient: int, seed: int, size: int, normal_fraction: float) -> Iterator[Sample]:
    rng = np.random.default_rng([seed, patient])
    density = int(rng.choice(4, p=DENSITY_SHARES)) + 1
    shape = Build.of(rng)
    sides = SIDES if rng.random() < 0.3 else (SIDES[rng.integers(2)],)
    for side in sides:
        for view in VIEWS:
            drawn = np.random.default_rng([seed, patient, SIDES.index(side), VIEWS.index(view)])
            image, instances = mammogram(drawn, size, shape, view, density, normal_fraction)
            yield Sample(
                id=f"phantom_{patient:04d}_{side}_{view}",
                patient=f"phantom_{patient:04d}",
                image=image,
                instances=instances,
                side=side,
                view=view,
                density=density,
            )


class Build(NamedTuple):
    """What all images of a woman share."""

    reach: float  # from chest wall to nipple
    height: float  # of the breast along the chest wall
    exposure: float  # grey of fat

    @classmethod
    def of(cls, rng: np.random.Generator) -> "Build":
        """The build of a patient, drawn at random."""
        reach = float(np.clip(rng.normal(0.47, 0.09), 0.28, 0.75))
        return cls(reach, float(np.clip(reach * rng.normal(1.75, 0.15), 0.55, 1.05)), rng.uniform(0.26, 0.42))


def mammogram(
    rng: np.random.Generator, size: int, build: Build, view: str, density: int, normal_fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Image and instances, both (size, size) uint8."""
    rows, cols = np.mgrid[0:size, 0:size] / size
    edge, nipple = outline(rng, size, build, view)
    breast = cols < edge[:, None]
    depth = ndimage.distance_transform_edt(np.pad(breast, ((size // 8,) * 2, (size, 0)), "edge"))
    depth = depth[size // 8 : -(size // 8), size:] / size  # the skin is an edge, the image's border is not
    gland = glandular_region(rng, rows, cols, build, nipple, density)
    tissue = texture(rng, size, rows, cols, nipple, gland, density)
    thickness = 1 - np.exp(-depth / rng.uniform(0.02, 0.035))
    image = (build.exposure + tissue) * (0.35 + 0.65 * thickness)
    image += 0.07 * np.exp(-(((depth - 0.004) / 0.004) ** 2)) * rng.uniform(0.3, 1.2)  # skin line
    image += 0.22 * np.exp(-((rows - nipple[0]) ** 2 + (cols - nipple[1] + 0.008) ** 2) / 0.012**2) * rng.uniform(0, 1)
    allowed = breast & (depth > 0.03)
    if view == "MLO":
        image, muscle = pectoral(rng, image, rows, cols)
        allowed &= ~muscle
    image, instances = with_masses(rng, image, allowed, gland, density, normal_fraction)
    return developed(rng, image, breast), instances


def outline(rng: np.random.Generator, size: int, build: Build, view: str) -> tuple[np.ndarray, tuple[float, float]]:
    """For each row how far the breast reaches, and where the nipple is (row, column)."""
    rows = (np.arange(size) + 0.5) / size
    reach, half = build.reach, build.height / 2
    if view == "CC":
        centre = 0.5 + rng.normal(0, 0.03)
        knots = centre + half * np.array([-1, -0.92, -0.7, -0.35, 0, 0.35, 0.7, 0.92, 1])
        values = reach * np.array([0, 0.28, 0.66, 0.93, 1, 0.94, 0.68, 0.3, 0])
    else:
        centre = np.clip(0.62 + rng.normal(0, 0.04), 0.5, 0.72)
        fold = min(centre + half * 0.85, 0.99)
        knots = np.array(
            [-0.02, centre - half * 1.1, centre - half * 0.5, centre, (centre + fold) / 2, fold, fold + 0.05]
        )
        values = reach * np.array([rng.uniform(0.25, 0.5), 0.58, 0.84, 1, 0.86, 0.26, rng.choice([0.0, 0.12])])
        knots = np.maximum.accumulate(knots) + np.arange(len(knots)) * 1e-3  # strictly rising
    values = values * rng.normal(1, 0.02, len(values))
    edge = PchipInterpolator(knots, values, extrapolate=False)(rows)
    after = values[-1] if view == "MLO" else 0.0
    edge = np.where(rows > knots[-1], after * np.exp(-(rows - knots[-1]) / 0.1), np.nan_to_num(edge))
    edge = edge + ndimage.gaussian_filter1d(rng.normal(0, 0.006, size), size / 60) * (edge > 0)
    bump = rng.uniform(0, 0.018) * np.exp(-(((rows - centre) / 0.012) ** 2))  # the nipple in profile
    edge = edge + bump
    return np.where(edge > 0.01, edge, 0), (float(centre), float(reach))


def noise(rng: np.random.Generator, size: int, slope: float, stretch: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """(size, size) noise with amplitude 1 / frequency^slope, mean 0 and standard deviation 1."""
    fy, fx = np.fft.fftfreq(size)[:, None] * stretch[0], np.fft.rfftfreq(size)[None] * stretch[1]
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = np.inf
    field = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(size, size))) / frequency**slope, s=(size, size))
    return (field - field.mean()) / field.std()


def glandular_region(
    rng: np.random.Generator,
    rows: np.ndarray,
    cols: np.ndarray,
    build: Build,
    nipple: tuple[float, float],
    density: int,
) -> np.ndarray:
    """(H, W) from 0 (fat) to 1 (gland): a fan behind the nipple, larger and fuller with density."""
    size = len(rows)
    reach = build.reach * (0.30, 0.42, 0.52, 0.62)[density - 1]
    centre = nipple[1] - reach * rng.uniform(0.85, 1.15) - 0.03
    height = build.height * (0.20, 0.27, 0.33, 0.40)[density - 1] * rng.uniform(0.85, 1.15)
    away = np.hypot((rows - nipple[0] + rng.normal(0, 0.02)) / height, (cols - centre) / reach)
    return 1 / (1 + np.exp((away - 0.95 + 0.22 * noise(rng, size, 1.6)) / 0.12))


def texture(
    rng: np.random.Generator,
    size: int,
    rows: np.ndarray,
    cols: np.ndarray,
    nipple: tuple[float, float],
    gland: np.ndarray,
    density: int,
) -> np.ndarray:
    """(H, W) grey above fat: clouds of gland, strands that run to the nipple, fine fibres everywhere."""
    clouds = 1 / (1 + np.exp(-(noise(rng, size, 1.75) + 0.55 * density - 1.5) / 0.5))
    strands = streaks(rng, size, rows, cols, nipple)
    fibres = np.exp(-np.abs(noise(rng, size, 1.5)) / 0.13)  # ridges where the noise changes its sign
    amount = (0.14, 0.22, 0.29, 0.34)[density - 1] * rng.uniform(0.8, 1.25)
    grey = amount * gland * (0.25 + 0.75 * clouds + 0.10 * noise(rng, size, 1.3))
    grey += (0.05 + 0.17 * gland) * strands + (0.05 + 0.10 * gland) * fibres
    return grey + 0.02 * noise(rng, size, 1.6) + vessels(rng, size, nipple)


def streaks(
    rng: np.random.Generator, size: int, rows: np.ndarray, cols: np.ndarray, nipple: tuple[float, float]
) -> np.ndarray:
    """(H, W) from 0 to 1: ridges along rays from behind the nipple; noise looked up in bent polar coordinates."""
    angle = np.arctan2(rows - nipple[0], nipple[1] + 0.12 - cols) + 0.28 * noise(rng, size, 1.7)
    radius = np.hypot(rows - nipple[0], nipple[1] + 0.12 - cols) + 0.02 * noise(rng, size, 1.5)
    at = [angle / np.pi * size * 0.9 % size, radius * size * 0.22 % size]
    ridges = ndimage.map_coordinates(np.exp(-np.abs(noise(rng, size, 1.1)) / 0.22), at, order=1, mode="grid-wrap")
    return ridges * np.clip(0.6 + 0.5 * noise(rng, size, 1.6), 0, 1)


def vessels(rng: np.random.Generator, size: int, nipple: tuple[float, float]) -> np.ndarray:
    """(H, W): a few thin bent lines from the chest wall towards the nipple."""
    canvas = np.zeros((size, size))
    steps = np.linspace(0, 1, 3 * size)
    for _ in range(rng.integers(3, 8)):
        start = nipple[0] + rng.normal(0, 0.22)
        end = nipple[0] + (start - nipple[0]) * rng.uniform(0.2, 0.7)
        bends = sum(rng.normal(0, 0.012 / k) * np.sin(k * np.pi * steps + rng.uniform(0, 6)) for k in range(1, 7))
        row = (start + (end - start) * steps**1.3 + bends) * size
        col = steps * nipple[1] * rng.uniform(0.5, 0.95) * size
        inside = (row >= 0) & (row < size - 1)
        canvas[row[inside].astype(int), col[inside].astype(int)] = rng.uniform(0.4, 1)
    return 0.16 * ndimage.gaussian_filter(canvas, size / 256 * 0.75)


def pectoral(
    rng: np.random.Generator, image: np.ndarray, rows: np.ndarray, cols: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The image with the pectoral muscle over its upper left corner, a bright wedge with a soft edge; where it lies."""
    top, bottom = rng.uniform(0.14, 0.34), rng.uniform(0.35, 0.75)
    line = top * (1 - rows / bottom) + 0.035 * np.sin(np.clip(rows / bottom, 0, 1) * np.pi) * rng.normal(0.6, 0.6)
    inside = 1 / (1 + np.exp(-(line - cols) / 0.006)) * (rows < bottom)
    grey = rng.uniform(0.5, 0.8) - 0.14 * rows / bottom + 0.03 * noise(rng, len(rows), 1.6)
    return image + inside * np.maximum(grey - image, 0.08), inside > 0.5


def with_masses(
    rng: np.random.Generator,
    image: np.ndarray,
    allowed: np.ndarray,
    gland: np.ndarray,
    density: int,
    normal_fraction: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The image with its masses, and their labels; most of them lie in or at the gland, none in another."""
    instances = np.zeros(image.shape, np.uint8)
    if rng.random() < normal_fraction:
        return image, instances
    count = 1 if rng.random() > SEVERAL else int(rng.integers(2, 4))
    for label in range(1, count + 1):
        free = allowed & (ndimage.distance_transform_edt(instances == 0) > len(image) / 12)
        weight = (free * (0.15 + gland)).ravel()
        if not weight.any():
            break
        centre = np.unravel_index(rng.choice(weight.size, p=weight / weight.sum()), image.shape)
        grey, body = draw_mass(rng, image.shape, (int(centre[0]), int(centre[1])), density)
        image = image + grey
        instances[body & allowed] = label
    return image, instances


def developed(rng: np.random.Generator, image: np.ndarray, breast: np.ndarray) -> np.ndarray:
    """uint8: blurred as by a scanner, with grain, on pure black, stretched to the full range as films are."""
    size = len(image)
    soft = ndimage.gaussian_filter(image, 0.6 * size / 256) + rng.normal(0, 0.004, image.shape)
    inside = ndimage.gaussian_filter(breast.astype(float), 0.7 * size / 256)
    soft = np.clip(soft, 0, None) * inside * (inside > 0.15)
    grey = np.clip(soft / max(np.percentile(soft[breast], 99.9), 1e-6), 0, 1) ** rng.uniform(0.85, 1.1)
    return np.rint(255 * grey).astype(np.uint8)
