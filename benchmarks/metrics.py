"""How long the metrics of one pair of masks take: seconds on one thread, medians of several, and the peak of memory.

    python benchmarks/metrics.py

Full size is 4084 x 3328, as INbreast's larger images. "near": a mass of some 150 pixels across and a prediction beside
it; "far": the same with a false positive in the opposite corner; "speckle": a twentieth, or half, of all pixels, drawn
at random, in both masks.
"""

import platform
import resource
import time
from collections.abc import Callable

import numpy as np

from massmatch.metrics import image_metrics, lesion_counts

SIZES = ((256, 256), (1024, 1024), (4084, 3328))
ISOTROPIC, OBLONG = (0.07, 0.07), (0.91, 0.70)


def disc(shape: tuple[int, int], row: float, col: float, radius: float) -> np.ndarray:
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    return (rows - row * shape[0]) ** 2 + (cols - col * shape[1]) ** 2 <= (radius * shape[0]) ** 2


def pairs(shape: tuple[int, int]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    truth, near = disc(shape, 0.3, 0.3, 0.02), disc(shape, 0.305, 0.3, 0.02)
    rng = np.random.default_rng(0)
    drawn = {f"speckle {s:.0%}": (rng.random(shape) < s, rng.random(shape) < s) for s in (0.05, 0.5)}
    return {"near": (near, truth), "far": (near | disc(shape, 0.95, 0.95, 0.02), truth), **drawn}


def seconds(call: Callable[[], object], times: int = 5) -> float:
    took = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return float(np.median(took))


def main() -> None:
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, one thread")
    print(f"{'size':12} {'pair':12} {'no spacing':>12} {'square mm':>12} {'oblong mm':>12} {'lesions':>12}")
    for shape in SIZES:
        for name, (prediction, truth) in pairs(shape).items():
            spacings = (None, ISOTROPIC, OBLONG)
            times = 1 if "speckle" in name else 5
            took = [seconds(lambda s=s: image_metrics(prediction, truth, s), times) for s in spacings]  # noqa: B023
            masses = truth.astype(np.uint8)
            took.append(seconds(lambda: lesion_counts(prediction, masses), times))  # noqa: B023
            print(f"{shape[0]}x{shape[1]:<7} {name:12} " + " ".join(f"{1000 * t:9.1f} ms" for t in took), flush=True)
    print(f"peak of memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
