"""The options of a preparation: name, type, bounds, meaning and default of each stand here and nowhere else.

`Preprocessing` takes its fields from here, and the command `prepare` its options. This module imports nothing heavy, so
that `massmatch prepare --help` appears at once.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_doc import Doc
from annotated_types import Ge


@dataclass
class PreprocessingOptions:
    """What may be done to every image of a dataset before it is stored in a cohort."""

    # The paper names no crop (section 4.1).
    crop: Annotated[Literal["none", "breast"], Doc("breast: to the breast with a margin.")] = "none"
    flip: Annotated[Literal["none", "left", "right"], Doc("The side to which the chest wall is brought.")] = "none"
    pectoral: Annotated[Literal["keep", "suppress"], Doc("suppress: darken the muscle of oblique views.")] = "keep"
    range: Annotated[
        Literal["breast", "min-max"],
        Doc(
            "The greys that become black and white: breast, 0.5th to 99.5th percentile inside it; min-max, the lowest "
            "and the highest of the image."
        ),
    ] = "breast"
    normalise: Annotated[Literal["min-max", "z-score"], Doc("How each image is scaled on the way into a network.")] = (
        "min-max"
    )
    # 256 is the paper's.
    size: Annotated[tuple[int, int] | Literal["native"], Doc("Side in pixels, ROWSxCOLUMNS, or native.")] = (256, 256)
    bits: Annotated[Literal[8, 16], Doc("Bits per pixel of the images written.")] = 8
    min_mass: Annotated[
        int, Ge(0), Doc("Pixels of the native mask: smaller pieces of it are dropped, and told. 0: none, as published.")
    ] = 0
