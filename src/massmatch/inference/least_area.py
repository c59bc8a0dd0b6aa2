"""How small a finding may be: an area with its unit, since a number alone would mean two things."""

import math
import re
from dataclasses import dataclass

from massmatch.data.errors import DataError
from massmatch.errors import UsageError


@dataclass(frozen=True)
class LeastArea:
    """The smallest area of a finding that is kept.

    Example: `LeastArea.parse("20mm2").in_pixels((0.1, 0.1), "a.dcm")` is 2000.
    """

    value: float
    unit: str  # mm2 or px

    @classmethod
    def parse(cls, text: str) -> "LeastArea":
        """From a number and its unit, such as 20mm2 or 500px. UsageError for anything else."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(mm2|px)", text.strip(), re.ASCII)
        if found is None or float(found[1]) == 0:
            raise UsageError(f"--least-area: must be an area with its unit and above 0, such as 20mm2, but is {text}")
        return cls(float(found[1]), found[2])

    def __str__(self) -> str:
        """The area and its unit, as `parse` reads them."""
        return f"{self.value:g}{self.unit}"

    def in_pixels(self, spacing_mm: tuple[float, float] | None, source: str) -> float:
        """Pixels of an image with this spacing (row, column).

        Raises DataError for mm2 on an image whose spacing is not known.
        """
        if self.unit == "px":
            return self.value
        if spacing_mm is None:
            raise DataError(f"{source}: has no spacing, so nothing is known in mm2: give --least-area in px")
        return self.value / math.prod(spacing_mm)
