"""Every metric once: its heading, its unit, whether more or less is better, how images are put together, its meaning.

Tables, statistics, findings and the report read all of this here. A metric of `kind` "mean" is averaged over images,
"pooled" is computed from pixels or masses added up over all images, and "count" is added up.

    >>> metric("false_alarms").better
    'less'
    >>> metric("hau_px").unit
    'px'
"""

from typing import Literal, NamedTuple

from massmatch.errors import UsageError

Unit = Literal["fraction", "px", "px2", "mm", "mm2", "count"]
Better = Literal["more", "less", "neither"]
Kind = Literal["mean", "pooled", "count"]


class Metric(NamedTuple):
    """One metric. `with_mass`: its mean is over the images with mass, so that two empty masks raise no mean."""

    key: str
    heading: str
    unit: Unit
    better: Better
    kind: Kind
    definition: str
    with_mass: bool = False

    @property
    def percent(self) -> bool:
        """Whether tables show it in percent."""
        return self.unit == "fraction"

    @property
    def sense(self) -> int:
        """-1 where less is better, else 1."""
        return -1 if self.better == "less" else 1


DISTANCES = (
    ("hau", "HAU", "Largest distance between the boundaries, in both directions."),
    ("hau95", "HAU95", "Larger of the two directed 95th percentiles of the distances between the boundaries."),
    ("assd", "ASSD", "Mean distance between the boundaries, over the pixels of both."),
)
MATCHES = {"": "0.2", "_iou10": "0.1", "_iou50": "0.5"}


def _distances(unit: Unit) -> list[Metric]:
    over = "Over the images with mass; nothing predicted: the diagonal of the image."
    found = "Over the images in which mass was found."
    means = [
        Metric(f"{key}_{unit}", f"{name} {unit}", unit, "less", "mean", f"{text} {over}", True)
        for key, name, text in DISTANCES
    ]
    hits = [
        Metric(f"{key}_{unit}_hits", f"{name} {unit}, hits", unit, "less", "mean", f"{text} {found}")
        for key, name, text in DISTANCES[:2]
    ]
    near = f"Share of both boundaries that lies within 2 {unit} of the other one, over the images with mass."
    return [*means, *hits, Metric(f"nsd_2{unit}", f"NSD 2 {unit}", "fraction", "more", "mean", near, True)]


def _masses() -> list[Metric]:
    found = [
        Metric(
            f"masses_found{end}",
            "found" if not end else f"found, IoU ≥ {iou}",
            "fraction",
            "more",
            "pooled",
            f"Share of the masses whose matched piece has an IoU of at least {iou}.",
        )
        for end, iou in MATCHES.items()
    ]
    false = [
        Metric(
            f"pieces_false_{name}",
            f"false per image, {name}",
            "count",
            "less",
            "mean",
            f"Predicted pieces that are neither matched by the criterion {name} nor touch a found mass.",
        )
        for name in ("iou10", "iou20", "iou50", "centre")
    ]
    return [*found, *false]


METRICS: dict[str, Metric] = {
    each.key: each
    for each in (
        Metric("dsc", "DSC", "fraction", "more", "mean",
               "2 TP / (2 TP + FP + FN) of each image with mass, then the mean. Nothing predicted: 0.", True),
        Metric("iou", "IoU", "fraction", "more", "mean", "TP / (TP + FP + FN) over the images with mass.", True),
        Metric("sen", "SEN", "fraction", "more", "mean", "TP / (TP + FN) over the images with mass.", True),
        Metric("precision", "precision", "fraction", "more", "mean",
               "TP / (TP + FP). Nothing predicted: undefined and left out."),
        Metric("specificity", "specificity", "fraction", "more", "mean", "TN / (TN + FP)."),
        Metric("acc", "ACC", "fraction", "more", "mean",
               "(TP + TN) / all pixels. Close to 1 whatever is predicted: shown because the "
               "paper shows it, never to choose by."),
        Metric("delta_a", "ΔA", "fraction", "less", "mean",
               "|predicted − true area| / true area over the images with mass. Nothing predicted: 1.", True),
        Metric("delta_a_signed", "ΔA, signed", "fraction", "neither", "mean",
               "(predicted − true area) / true area over the images with mass.", True),
        Metric("dsc_pooled", "DSC pooled", "fraction", "more", "pooled",
               "DSC of pixels added up over all images of a run. Large masses weigh more."),
        Metric("sen_pooled", "SEN pooled", "fraction", "more", "pooled", "SEN of pixels added up over all images."),
        Metric("acc_pooled", "ACC pooled", "fraction", "more", "pooled", "ACC of pixels added up over all images."),
        Metric("delta_a_pooled", "ΔA pooled", "fraction", "less", "pooled",
               "|predicted − true area| / true area of pixels added up over all images."),
        *_distances("px"),
        *_distances("mm"),
        Metric("hau_raw_px", "HAU px, infinite for a miss", "px", "less", "mean",
               "HAU; infinite where one of the two masks is empty.", True),
        Metric("fp_area_px", "false area px", "px2", "less", "mean",
               "Pixels predicted on an image without mass."),
        Metric("fp_area_mm2", "false area mm²", "mm2", "less", "mean", "Area predicted on an image without mass."),
        Metric("missed", "missed", "fraction", "less", "mean",
               "No pixel of the mass was found; as a share over the images with mass.", True),
        Metric("false_positive", "false alarm", "fraction", "less", "mean",
               "There is no mass, and something was predicted; share of all images."),
        Metric("false_alarms", "false alarms on normals", "fraction", "less", "mean",
               "Share of the images without mass on which something was predicted."),
        Metric("truth_empty", "without mass", "fraction", "neither", "mean", "There is no mass in the image."),
        Metric("prediction_empty", "predicted nothing", "fraction", "less", "mean",
               "No pixel was predicted as mass; as a share over the images with mass.", True),
        Metric("tp", "TP", "count", "more", "count", "Pixels of mass predicted as mass."),
        Metric("fp", "FP", "count", "less", "count", "Pixels outside the mass predicted as mass."),
        Metric("fn", "FN", "count", "less", "count", "Pixels of mass not predicted."),
        Metric("tn", "TN", "count", "more", "count", "Pixels outside the mass not predicted."),
        Metric("rows", "rows", "count", "neither", "count", "Height in pixels at which the image was measured."),
        Metric("cols", "columns", "count", "neither", "count", "Width in pixels at which the image was measured."),
        Metric("masses", "masses", "count", "neither", "count", "Instances of mass in the image."),
        *_masses(),
        Metric("masses_found_centre", "found, centre", "fraction", "more", "pooled",
               "Share of the masses in which the centre of gravity of their matched piece lies."),
        Metric("pieces", "pieces per image", "count", "less", "mean", "8-connected parts of the prediction."),
        Metric("pieces_false", "false per image", "count", "less", "mean", "Predicted pieces that touch no mass."),
    )
}  # fmt: skip


def metric(key: str) -> Metric:
    """The metric of a column of rows.csv or of a table. UsageError for an unknown one."""
    if key not in METRICS:
        raise UsageError(f"metric must be one of {', '.join(METRICS)}, but is {key!r}")
    return METRICS[key]
