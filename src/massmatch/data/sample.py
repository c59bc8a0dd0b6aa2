"""One mammogram with its masses."""

from dataclasses import dataclass, field

import numpy as np

from massmatch.errors import UsageError


@dataclass(frozen=True, eq=False)
class Sample:
    """One image, its masses, and what is known about it. Raises ValueError where the parts do not fit."""

    id: str
    patient: str
    image: np.ndarray  # (H, W) uint8 or uint16, 0 = black
    instances: np.ndarray  # (H, W) uint8 or uint16: 0 = background, 1..n = the masses
    side: str | None = None  # "L" or "R"
    view: str | None = None  # "CC" or "MLO"
    density: int | None = None  # ACR 1-4
    spacing_mm: tuple[float, float] | None = None  # row, column
    facts: dict[str, object] = field(default_factory=dict)  # further columns of samples.csv

    def __post_init__(self) -> None:
        for name in ("image", "instances"):
            array = getattr(self, name)
            if array.ndim != 2 or array.dtype not in (np.uint8, np.uint16):
                raise UsageError(
                    f"{self.id}: {name} must be (H, W) of uint8 or uint16, but is {array.shape} of {array.dtype}"
                )
        if self.image.shape != self.instances.shape:
            raise UsageError(
                f"{self.id}: image and instances must have one shape, not {self.image.shape} and {self.instances.shape}"
            )
        if self.image.size == 0:
            raise UsageError(f"{self.id}: image and instances must have pixels, but have the shape {self.image.shape}")
        if self.density not in (None, 1, 2, 3, 4):
            raise UsageError(f"{self.id}: density must be an ACR category from 1 to 4, but is {self.density!r}")

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool: where there is mass."""
        return self.instances > 0
