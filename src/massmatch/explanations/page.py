"""One self-contained page that shows an image through every variant of the loss, cell by cell.

Everything is computed here, in float64; the page only formats numbers and picks colours from a palette.
"""

import json
import math
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from matplotlib.colors import to_hex

from massmatch.explanations.figure import GLOW, window
from massmatch.explanations.ledger import BY, Ledger, share
from massmatch.explanations.subject import Subject
from massmatch.explanations.variants import AGGREGATIONS, WEIGHTINGS, Family, Variant
from massmatch.pictures import mammogram_uri, outline

OF_GRID = ("top", "left", "height", "width", "true", "predicted")  # the same in every variant
SHADES = 32  # of the palette
WORDS = {
    "none": "none: the core alone",
    "b": "B: every cell alike",
    "s": "S: times σ(S)",
    "d": "D: by distance",
    "sd": "SD: both",
    "soft": "soft form",
    "a": "G-A: all cells",
    "nz": "G-NZ: cells with mass",
}


class Pool:
    """Lists of numbers, each kept once: most columns of a variant are those of another one too."""

    def __init__(self) -> None:
        self.lists: list[list[float | int | None]] = []
        self._index: dict[tuple[float | int | None, ...], int] = {}

    def add(self, values: Iterable[Any]) -> int:
        """Where the list stands; numbers have 6 digits, what is undefined is None."""
        plain = tuple(_plain(value) for value in values)
        if plain not in self._index:
            self._index[plain] = len(self.lists)
            self.lists.append(list(plain))
        return self._index[plain]


def _plain(value: Any, digits: int = 6) -> float | int | None:
    """A number as JSON holds it, without what no reader sees."""
    number = float(value)
    if math.isnan(number):
        return None
    short = float(f"{number:.{digits}g}")
    return int(short) if short.is_integer() else short


def page(subject: Subject, family: Family, ledgers: Mapping[Variant, Ledger], moved: int = 0) -> str:
    """The HTML of the page about one image, with all that it needs inside.

    Args:
        subject: the image.
        family: the loss that was asked for, which is shown first.
        ledgers: of every variant of the family.
        moved: how many pixels `off_the_ends` has moved.
    """
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        (files("massmatch.explanations") / "templates" / "explain.html").read_text(encoding="utf-8")
    )
    first = ledgers[family.asked]
    options = {"numerator": "kept", "threshold": 0.5, "distance_unit": "cell", **family.options}
    return template.render(
        subject=subject,
        spec=family.spec,
        first=first,
        masses=len(np.unique(subject.instances[subject.mask])),
        image=mammogram_uri(subject.image),
        truth=outline(subject.mask),
        prediction=outline(subject.probability > first.threshold),
        drawn_at=subject.drawn_at(first.threshold),
        cores=list(family.cores),
        weightings={name: WORDS[name] for name in ("none", *WEIGHTINGS, "soft")},
        aggregations={name: WORDS[name] for name in AGGREGATIONS},
        asked=family.asked,
        options=options,
        moved=moved,
        data=_script(data(family, ledgers)),
    )


def data(family: Family, ledgers: Mapping[Variant, Ledger]) -> dict[str, Any]:
    """What the page shows: `pool` holds the lists that `grid` and each variant's `columns` point to."""
    pool, first = Pool(), ledgers[family.asked]
    view = window(first)
    return {
        "asked": family.asked.name,
        "shape": first.shape,
        "grid_shape": first.grid_shape,
        "view": [view.left, view.top, view.right - view.left, view.bottom - view.top],
        "palette": [[to_hex(colour[:3]), round(float(colour[3]), 3)] for colour in GLOW(np.linspace(0, 1, SHADES))],
        "grid": {name: pool.add(first.cells[name]) for name in OF_GRID},
        "variants": {variant.name: _variant(variant, ledger, pool) for variant, ledger in ledgers.items()},
        "pool": pool.lists,
    }


def _variant(variant: Variant, ledger: Ledger, pool: Pool) -> dict[str, Any]:
    """The numbers above the cells, and where the lists of the cells are."""
    cells = ledger.cells
    columns = {name: cells[name] for name in ("kept", "distance", "weight", "loss", "term", "share_of_loss")}
    for by in BY:
        columns[by] = cells[f"share_of_gradient_by_{by}"]
        total = float(cells[f"gradient_by_{by}"].sum())
        columns[f"{by}_of_grid"] = share(cells[f"gradient_by_{by}_of_grid"], total)
    facts = {name: value if isinstance(value, str) else _plain(value, 12) for name, value in ledger.facts().items()}
    return {
        **facts,
        **variant._asdict(),
        "name": variant.name,
        "columns": {name: pool.add(column) for name, column in columns.items()},
        "most": {name: _plain(column.max()) for name, column in columns.items()},
    }


def _script(content: dict[str, Any]) -> str:
    """JSON that no text in it can end early."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
