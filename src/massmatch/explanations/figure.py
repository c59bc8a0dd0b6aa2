"""The paper's Figure 2 for one image: its grid, which cells count, their terms, and where loss and gradient lie."""

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from massmatch.explanations.ledger import BY, Ledger
from massmatch.explanations.subject import Subject

GREEN, BLUE = "#3cdc5a", "#4696ff"  # truth and prediction (Fig. 4)
KINDS = {  # the colours of Fig. 2: green true, orange predicted, yellow both
    "both": "#ffd92f",
    "missed": "#2fb344",
    "false positive": "#ff7a1a",
}
GLOW = ListedColormap(  # dark cells add little, bright ones much; the mammogram shows through the dark ones
    np.c_[colormaps["inferno"](np.linspace(0.3, 1, 256))[:, :3], np.linspace(0.04, 0.85, 256)]
)
SHARPNESS = 150  # dots per inch of the picture
MOST_ALIKE = 16  # cells with the same number beyond which it is left to the colour
MOST_LABELS = 64  # numbers in one panel; beyond, only the largest
LEGIBLE = 15  # points that a number needs; in narrower cells too only the largest
MOST_CROSSES = 1100  # cells in view up to which those that do not count are crossed out
NAMED = 8  # how many the largest are


class Window(NamedTuple):
    """Pixels that are shown: rows from top to bottom, columns from left to right, without the ends."""

    top: int
    bottom: int
    left: int
    right: int


class Panel(NamedTuple):
    """What one picture shows of the cells."""

    title: str
    values: np.ndarray  # (rows, columns), NaN where nothing is painted
    text: Callable[[float], str]


def window(ledger: Ledger) -> Window:
    """The whole image, or, where the cells with mass fill less than half of its sides, these with what is around."""
    rows, columns = ledger.shape
    active = ledger.cells[ledger.cells["true"] | ledger.cells["predicted"]]
    if active.empty:
        return Window(0, rows, 0, columns)
    height, width = ledger.cell_size
    top, left = int(active["top"].min()) - height, int(active["left"].min()) - width
    bottom, right = int(active["top"].max()) + 2 * height, int(active["left"].max()) + 2 * width
    side = max(bottom - top, right - left, 6 * min(height, width))  # some six cells at least: a place to look around
    if side > 0.6 * max(rows, columns):
        return Window(0, rows, 0, columns)
    return Window(*_centred(top, bottom, side, height, rows), *_centred(left, right, side, width, columns))


def _centred(low: int, high: int, side: int, step: int, end: int) -> tuple[int, int]:
    """A span of about `side` around [low, high), within [0, end) and along the edges of cells."""
    start = (low + high - side) // 2
    start = min(max(start, 0), max(end - side, 0))
    return start // step * step, min(-(-(start + side) // step) * step, end)


def outlines(field: np.ndarray, level: float) -> list[np.ndarray]:
    """Closed lines along which a (H, W) field crosses the level, each (n, 2) of x, y in pixels from the corner."""
    padded = np.pad(field.astype(np.float64), 1)
    if not (padded > level).any():
        return []
    lines = Figure().add_subplot().contour(padded, [level]).allsegs[0]
    return [line - 0.5 for line in lines if len(line) > 1]  # from centres in the padded field to corners in the image


def picture(subject: Subject, ledger: Ledger) -> bytes:
    """The figure of an image and its ledger, as the bytes of a PNG file."""
    buffer = BytesIO()
    draw(subject, ledger).savefig(buffer, format="png", dpi=SHARPNESS)
    return buffer.getvalue()


def draw(subject: Subject, ledger: Ledger) -> Figure:
    """The mammogram with its grid, the kinds of cells with their weights, and a panel for each term.

    Six panels, or four for the core alone, which has neither cell losses nor shares of them.
    """
    panels, view = _panels(ledger), window(ledger)
    columns = 3 if len(panels) == 4 else 2
    figure = Figure(figsize=(5.3 * columns, 11.4), layout="compressed")
    figure.suptitle(headline(ledger), fontsize=15)
    figure.supxlabel(
        "   ".join(filter(None, [subject.id, subject.source, "for research, not for diagnosis"])), fontsize=9
    )
    axes = figure.subplots(2, columns).ravel()
    _overview(axes[0], subject, ledger, view)
    _kinds(axes[1], subject, ledger, view)
    for axis, panel in zip(axes[2:], panels, strict=True):
        _paint(axis, subject, ledger, view, panel)
    return figure


def draw_summary(subject: Subject, ledger: Ledger) -> Figure:
    """Three panels in a row, for a page: the masses, the cells with their weights, and their shares of the loss."""
    figure = Figure(figsize=(15.9, 5.8), layout="compressed")
    figure.suptitle(headline(ledger), fontsize=15)
    overview, kinds, shares = figure.subplots(1, 3)
    view = window(ledger)
    _overview(overview, subject, ledger, view)
    _kinds(kinds, subject, ledger, view)
    _paint(shares, subject, ledger, view, _panels(ledger)[1])
    return figure


def draw_cells(subject: Subject, ledgers: Sequence[Ledger]) -> Figure:
    """A panel for each loss, two in a row: which cells of the same image it keeps, and with what weight."""
    rows = -(-len(ledgers) // 2)
    figure = Figure(figsize=(10.6, 6 * rows), layout="compressed")
    for axis, ledger in zip(figure.subplots(rows, 2, squeeze=False).flat, ledgers, strict=False):
        _kinds(axis, subject, ledger, window(ledger))
        axis.set_title(f"{ledger.name}\n{axis.get_title()}", fontsize=11)
    return figure


def headline(ledger: Ledger) -> str:
    """The formula with its numbers."""
    if not ledger.grid_weight:
        return rf"{ledger.name}:  $L(P,Y)$ = {ledger.loss:.4f}"
    if ledger.soft:
        return rf"{ledger.name}:  $L = L(P,Y)$ + cells = {ledger.image:.4f} + {ledger.grid:.4f} = {ledger.loss:.4f}"
    weight = "" if ledger.grid_weight == 1 else f"{ledger.grid_weight:g} · "
    return (
        rf"{ledger.name}:  $L_{{SM}} = L(P,Y) + {'g' if weight else ''}\,s\,\sum w_i L_i\,/\,\sum$kept"
        f" = {ledger.image:.4f} + {weight}{ledger.ratio:.4f} · {ledger.grid:.4f} = {ledger.loss:.4f}"
    )


def _panels(ledger: Ledger) -> list[Panel]:
    gradients = [_gradient(ledger, by) for by in BY]
    if not ledger.grid_weight:
        return gradients
    counted = ledger.map("term") != 0
    losses = np.where(ledger.map("kept"), ledger.map("loss"), np.nan)
    shares = np.where(counted, 100 * ledger.map("share_of_loss"), np.nan)
    of_image = ledger.share_of_image
    what = "Dice loss of cells with mass, mean p of the others" if ledger.soft else "core loss $L_i$ of the kept cells"
    parts = f"whole image: {percent(of_image)} %, cells: {percent(1 - of_image)} %"
    return [
        Panel(f"{what}\n", losses, lambda value: f"{value:.2f}"),
        Panel(f"share of the loss, %\n{parts}", shares, short),
        *gradients,
    ]


def _gradient(ledger: Ledger, by: str) -> Panel:
    symbol, what = {"probability": ("p", "probability"), "logit": ("z", "logit: what the network gets")}[by]
    part = f"\ngrid term: {percent(ledger.gradient_of_grid(by))} % of it" if ledger.grid_weight else ""
    title = f"share of the gradient, %: $\\Sigma\\,|\\partial L/\\partial {symbol}|$ by {what}{part}"
    return Panel(title, 100 * ledger.map(f"share_of_gradient_by_{by}"), short)


def percent(part: float) -> str:
    """A fraction in percent, or a dash for nothing to share."""
    return "–" if np.isnan(part) else f"{100 * part:.1f}"


def short(value: float) -> str:
    """A percentage, short enough to be written into a cell."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.95 else f"{value:.2g}"


def _mammogram(axis: Axes, subject: Subject, ledger: Ledger, view: Window, dim: float = 1.0) -> None:
    """The image with its contours and the lines of the grid."""
    rows, columns = ledger.shape
    low, high = float(subject.image.min()), float(subject.image.max())
    extent = (0, columns, rows, 0)
    axis.imshow(subject.image, cmap="gray", vmin=low, vmax=low + max(high - low, 1) / dim, extent=extent)
    for field, level, colour in ((subject.mask, 0.5, GREEN), (subject.probability, ledger.threshold, BLUE)):
        axis.add_collection(
            LineCollection(
                outlines(field, level),
                colors=colour,
                linewidths=1.6,
                path_effects=[withStroke(linewidth=2.8, foreground="#000c")],
                zorder=4,
            )
        )
    height, width = ledger.cell_size
    across = (view.right - view.left) / width
    edges = [[(0, y), (columns, y)] for y in range(0, rows + 1, height)]
    edges += [[(x, 0), (x, rows)] for x in range(0, columns + 1, width)]
    strength = 0.35 if across <= 16 else 0.22 if across <= 40 else 0.12
    axis.add_collection(LineCollection(edges, colors=(1, 1, 1, strength), linewidths=0.6, zorder=3))
    axis.set(xlim=(view.left, view.right), ylim=(view.bottom, view.top), xticks=[], yticks=[], facecolor="black")


def _overview(axis: Axes, subject: Subject, ledger: Ledger, view: Window) -> None:
    """The whole mammogram, with a frame around what the other panels show."""
    rows, columns = ledger.shape
    _mammogram(axis, subject, ledger, Window(0, rows, 0, columns))
    if view != (0, rows, 0, columns):
        size = (view.right - view.left, view.bottom - view.top)
        axis.add_patch(Rectangle((view.left, view.top), *size, fill=False, edgecolor="white", linewidth=1.2, zorder=5))
    height, width = ledger.cell_size
    grid = " × ".join(map(str, ledger.grid_shape))
    at = f"above {ledger.threshold:g}"
    if subject.measured_at not in (None, ledger.threshold):
        at += f" (of the loss; rows.csv: {subject.measured_at:g})"
    title = f"truth (green), prediction (blue) {at}\n{grid} cells of {height} × {width} pixels"
    axis.set_title(title, fontsize=11)


def _kinds(axis: Axes, subject: Subject, ledger: Ledger, view: Window) -> None:
    """Which cells hold what, which do not count, and how much the others weigh."""
    _mammogram(axis, subject, ledger, view, dim=0.8)
    true, predicted, kept = (ledger.map(name) for name in ("true", "predicted", "kept"))
    masks = {"both": true & predicted, "missed": true & ~predicted, "false positive": predicted & ~true}
    handles = []
    for (kind, colour), cells in zip(KINDS.items(), masks.values(), strict=True):
        _fill(axis, ledger, cells, to_rgba(colour, 0.5))
        handles.append(Patch(color=to_rgba(colour, 0.75), label=f"{kind}: {int(cells.sum())}"))
    _cross_out(axis, ledger, ~kept, view)
    axis.legend(handles=handles, loc="best", fontsize=9, framealpha=0.85)
    NZ_P, NZ_Y = int(predicted.sum()), int(true.sum())
    title = f"S = {NZ_P} predicted / {NZ_Y} true cells = {ledger.S:.3g}"
    if ledger.grid_weight and not ledger.soft:
        title += (
            f", s = {ledger.ratio:.3f}\nkept: {int(kept.sum())} of {kept.size} cells; {_weights(axis, ledger, view)}"
        )
    axis.set_title(title, fontsize=11)
    _limit(axis, view)


def _weights(axis: Axes, ledger: Ledger, view: Window) -> str:
    """Names w_i in the cells with mass, with d_i below in false positives; what to say of the others."""
    weight, mass = ledger.map("weight"), ledger.map("true") | ledger.map("predicted")
    if (weight == weight[0, 0]).all():
        return f"each weighs $w_i$ = {weight[0, 0]:g}"
    distance = dict(zip(weight[mass], ledger.map("distance")[mass], strict=True))

    def text(w: float) -> str:
        return f"{w:.2f}" + (f"\nd {distance[w]:.3g}" if distance[w] else "")

    _name_cells(axis, ledger, view, np.where(mass, weight, np.nan), text)
    return "numbers: weight $w_i$, distance d"


def _cross_out(axis: Axes, ledger: Ledger, cells: np.ndarray, view: Window) -> None:
    """A cross in each cell, as in Fig. 2; only a shade where they are too many."""
    _fill(axis, ledger, cells, (0, 0, 0, 0.35))
    if _count(ledger, view) <= MOST_CROSSES:
        of = ledger.cells[cells.ravel()]
        lines = []
        for x, y, w, h in zip(of["left"], of["top"], of["width"], of["height"], strict=True):
            a, b, c, d = x + 0.3 * w, x + 0.7 * w, y + 0.3 * h, y + 0.7 * h
            lines += [[(a, c), (b, d)], [(a, d), (b, c)]]
        axis.add_collection(LineCollection(lines, colors=(1, 1, 1, 0.3), linewidths=0.7, zorder=3))


def _paint(axis: Axes, subject: Subject, ledger: Ledger, view: Window, panel: Panel) -> None:
    """A panel: values as colours over the darkened mammogram, with a scale, and numbers where they fit."""
    _mammogram(axis, subject, ledger, view, dim=0.7)
    top = float(np.nanmax(panel.values)) if np.isfinite(panel.values).any() else 0.0
    extent = _extent(ledger)
    shown = axis.imshow(panel.values, cmap=GLOW, vmin=0, vmax=top or 1.0, extent=extent, interpolation="nearest")
    bar = axis.figure.colorbar(shown, ax=axis, fraction=0.046, pad=0.02)
    bar.ax.set_facecolor("black")
    named = np.where(panel.values >= top / 20, panel.values, np.nan)
    _name_cells(axis, ledger, view, named, panel.text)
    axis.set_title(panel.title, fontsize=11)
    _limit(axis, view)


def _fill(axis: Axes, ledger: Ledger, cells: np.ndarray, colour: tuple[float, ...]) -> None:
    """Paint all cells of a kind in one colour."""
    if cells.any():
        painted = np.where(cells, 1.0, np.nan)
        axis.imshow(painted, cmap=ListedColormap([colour]), extent=_extent(ledger), interpolation="nearest")


def _name_cells(axis: Axes, ledger: Ledger, view: Window, values: np.ndarray, text: Callable[[float], str]) -> None:
    """Numbers in the cells in view: the largest where all would not fit, and none that stand in most of them."""
    of = ledger.cells.assign(value=values.ravel())
    of = of[(of["top"] >= view.top) & (of["top"] < view.bottom) & (of["left"] >= view.left) & (of["left"] < view.right)]
    of = of[of["value"].notna() & (of["value"] != 0)]
    of = of.assign(text=[text(value) for value in of["value"]])
    of = of[of.groupby("text")["text"].transform("size") <= MOST_ALIKE]
    per_cell = 250 * ledger.cell_size[1] / (view.right - view.left)  # points of its width
    if len(of) > MOST_LABELS or per_cell < LEGIBLE:
        of = of.nlargest(NAMED, "value")
    size = min(9.0, max(6.0, 0.33 * per_cell))
    halo = [withStroke(linewidth=1.8, foreground="black")]
    style: dict[str, Any] = {
        "ha": "center",
        "va": "center",
        "color": "white",
        "weight": "bold",
        "path_effects": halo,
        "zorder": 6,
    }
    for x, y, w, h, label in zip(of["left"], of["top"], of["width"], of["height"], of["text"], strict=True):
        axis.text(x + w / 2, y + h / 2, label, fontsize=size, clip_on=True, **style)


def _count(ledger: Ledger, view: Window) -> float:
    """The number of cells that are in view."""
    height, width = ledger.cell_size
    return (view.bottom - view.top) / height * (view.right - view.left) / width


def _extent(ledger: Ledger) -> tuple[float, float, float, float]:
    """Of the grid in pixels; the last cells reach over the border of the image."""
    (rows, columns), (height, width) = ledger.grid_shape, ledger.cell_size
    return 0, columns * width, rows * height, 0


def _limit(axis: Axes, view: Window) -> None:
    """Back to the view, which every picture widens."""
    axis.set(xlim=(view.left, view.right), ylim=(view.bottom, view.top))
