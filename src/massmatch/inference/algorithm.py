"""Which networks made a prediction: what DICOM calls the identification of an algorithm."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from massmatch import __version__

SHORT = 12  # hex digits of a SHA-256 that tell files apart in a table


class WeightsFile(NamedTuple):
    """A file of weights that took part."""

    name: str  # of the file, or of the run
    network: str
    sha256: str  # of the whole file, threshold and preparation included, as `sha256sum` prints it

    @classmethod
    def of(cls, path: Path, name: str, facts: dict[str, Any]) -> "WeightsFile":
        """The identification of a weights file with these facts."""
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return cls(name, f"{facts['model']} of width {facts['width']}", digest)


@dataclass(frozen=True)
class Algorithm:
    """The weights of a prediction, several of an ensemble, and whether mirror images took part (`--tta`)."""

    weights: tuple[WeightsFile, ...] = ()
    tta: bool = False

    def __str__(self) -> str:
        """As it stands in a table: `cbis_ddsm.safetensors 6f3ae06f39a9`."""
        return "; ".join(f"{each.name} {each.sha256[:SHORT]}" for each in self.weights)

    @property
    def parameters(self) -> dict[str, str]:
        """As names and texts, for DICOM; several networks are numbered."""
        named: dict[str, str] = {}
        for number, each in enumerate(self.weights, start=1):
            which = f" {number}" if len(self.weights) > 1 else ""
            named |= {f"network{which}": each.network, f"weights{which}": each.name, f"SHA-256{which}": each.sha256}
        return named | ({"test-time augmentation": "mirror image"} if self.tta else {})

    def described(self) -> dict[str, Any]:
        """The fields as a dictionary that can be written as JSON."""
        files = [each._asdict() for each in self.weights]
        return {"massmatch_version": __version__, "weights": files, "tta": self.tta}


UNKNOWN = Algorithm()
