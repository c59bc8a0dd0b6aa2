"""The numbers that the paper prints, under our names, and why they are not to be held against other runs."""

from collections.abc import Iterator, Sequence

import pandas as pd

from massmatch.losses import VariantName
from massmatch.runs.collection import Run

METRICS = ("dsc", "delta_a", "sen", "hau", "acc")

# As printed, in percent but for HAU: DSC, delta A, SEN, HAU, ACCU with G-A, and again with G-NZ.
VARIANTS = """
1 bce     b   72.12 13.09 70.88 5.00 98.69   71.25 16.21 71.95 5.08 98.54
1 bce     d   73.13 12.45 72.80 5.00 98.66   73.03 14.77 70.89 4.97 98.67
1 bce     s   73.03 14.44 74.42 5.11 98.60   72.76 16.53 71.16 5.01 99.32
1 bce     sd  75.70 10.29 73.79 4.89 99.46   71.12 12.62 66.95 5.14 98.59
1 tversky b   71.77 14.88 70.70 5.06 98.58   75.92 11.85 78.41 5.00 98.72
1 tversky d   72.25 17.58 74.92 5.11 99.17   71.86 13.51 70.65 5.06 98.57
1 tversky s   77.24 09.49 79.38 4.84 98.78   73.38 12.31 75.82 4.96 99.16
1 tversky sd  72.72 05.80 72.87 4.97 98.57   70.36 21.34 69.46 5.03 98.55
3 dice    b   70.76 07.76 68.13 5.08 98.52   73.05 22.42 72.03 4.98 98.66
3 dice    d   73.17 11.82 71.69 5.15 98.65   75.31 11.25 76.49 5.02 98.72
3 dice    s   73.17 13.13 68.86 4.92 98.72   73.86 07.66 74.78 5.03 98.66
3 dice    sd  73.72 13.18 72.58 5.09 99.41   72.11 09.08 70.57 4.98 98.59
"""
# Table 2: name, network, loss; the columns as above. Its second "SEN" is HAU.
METHODS = """
ARF-Net        arfnet hybrid          70.05 30.05 59.59 -    98.71
AU-Net         aunet  hybrid          65.32 23.68 57.95 5.29 98.46
ASP-Q          aunet  asp-q           68.03 25.04 63.12 -    98.54
ASP-L          aunet  asp-l           71.92 22.31 64.56 -    98.71
ASP-C          aunet  asp-c           74.18 19.28 67.21 -    98.78
Density-ASP    aunet  density-asp     74.59 10.91 78.16 -    98.65
SM-SD(BCE)     aunet  sm-bce-sd-a     75.70 10.29 73.49 4.89 99.46
SM-S(Tversky)  aunet  sm-tversky-s-a  77.24 09.49 79.38 4.84 98.78
"""
IMPROVEMENTS = {"dsc": 11.92, "delta_a": -14.19, "sen": 21.43, "hau": -0.45, "acc": 0.32}  # section 4.1.2, in points
ODDITIES = {  # by the tables in which they stand
    'Table 2 heads two columns "SEN"; the second holds HAU.': (2,),
    "SM-SD with BCE and G-A has a SEN of 73.79 in Table 1 and of 73.49 in Table 2; nothing tells which is right.": (
        1,
        2,
    ),
    "Five printed accuracies above 99 % do not fit the DSC and SEN beside them, which give 98.5 to 98.8: SM-SD (99.46) "
    "and SM-S with G-NZ (99.32) with BCE, SM-D (99.17) and SM-S with G-NZ (99.16) with Tversky, SM-SD with Dice "
    "(99.41), G-A where nothing is said.": (1, 2, 3),
    "The paper has no line for a plain core loss; its SM-B with BCE and G-A is twice plain BCE.": (1,),
}


def published() -> pd.DataFrame:
    """A row per printed line: table (1, 2, 3), name, model, loss; dsc, delta_a, sen, acc as fractions, hau as it is.

    NaN where the paper prints a dash.
    """
    rows = pd.DataFrame(_printed(), columns=["table", "name", "model", "loss", *METRICS])
    fractions = [name for name in METRICS if name != "hau"]
    rows[fractions] = (rows[fractions] / 100).round(6)
    return rows


def _printed() -> Iterator[list[object]]:
    for line in VARIANTS.split("\n")[1:-1]:
        table, core, variant, *numbers = line.split()
        for aggregation, half in (("a", numbers[:5]), ("nz", numbers[5:])):
            name = f"SM-{variant.upper()} {core} G-{aggregation.upper()}"
            yield [int(table), name, "aunet", VariantName(core, variant, aggregation).text, *map(float, half)]
    for line in METHODS.split("\n")[1:-1]:
        name, model, loss, *numbers = line.split()
        yield [2, name, model, loss, *(float(n) if n != "-" else float("nan") for n in numbers)]


def incomparable(runs: Sequence[Run], *, reader: str | None = None) -> list[str]:
    """Why the paper's numbers say nothing about these runs, and the other way round: a sentence for each reason.

    `reader`: how the cohort was made, as in its cohort.json; None where it is not known. The last reasons
    always hold: they lie in the paper.
    """
    return [*_data(runs, reader), *_training(runs), *ALWAYS]


def _data(runs: Sequence[Run], reader: str | None) -> Iterator[str]:
    images = {id for run in runs for id in run.rows["id"]}
    patients = {patient for run in runs for patient in run.rows["patient"]}
    here = f"{len(images)} images of {len(patients)} patients"
    if reader != "inbreast":
        names = ", ".join(sorted({str(run.experiment.get("cohort")) for run in runs}))
        unless = "" if reader else f", unless {names} is INbreast, which nothing here says"
        yield f"Other data{unless}: the paper tested on 107 images of INbreast, here it is {names}, {here}."
    elif len(images) != 107:
        yield f"Other images: the paper took 107 of INbreast, here they are {here}."
    sizes = sorted({tuple(size) for run in runs for size in run.rows[["rows", "cols"]].drop_duplicates().to_numpy()})
    if sizes != [(256, 256)]:
        few = ", ".join([*(f"{rows} x {cols}" for rows, cols in sizes[:3]), *["and others"][: len(sizes) > 3]])
        yield f"Another size: the paper measured at 256 x 256, here it is {few}."


def _training(runs: Sequence[Run]) -> Iterator[str]:
    schemes = sorted({f"{run.facts['scheme']}" for run in runs})
    yield (
        "Another split: the paper divided at random, probably image by image, and calls both 5 folds and 80/10/10; "
        f"here no patient is in two parts (scheme {', '.join(schemes)})."
    )
    widths = sorted({run.width for run in runs if run.width != 64})
    if widths:
        yield f"A smaller or larger network: width {', '.join(map(str, widths))}, where the published AU-Net has 64."


ALWAYS = (
    "Another training: the paper states the batch size of 4 and a learning rate of 0.0001 only; optimiser, epochs, "
    "choice of the weights, smoothing and weights of the losses are unknown.",
    "Other metrics: the paper does not define them. In 29 of its 32 rows ΔA is more than half a point above "
    "|2 SEN / DSC - 2|, which pixels added up over all images would give, and in none below: averages over folds or "
    "images fit. Our pooled columns, added up within each run and then averaged, come nearest.",
    "HAU is not defined there: no unit is given, and values of 5 at a DSC of 72 % are too small for a Hausdorff "
    "distance per image in pixels.",
    "The share of mass that its numbers imply, about 2.5 % of the pixels, suggests that the images were cropped to "
    "the breast; it does not say so.",
    "It gives no interval and no test: about 11 test images a fold, so that differences of 1 or 2 points are noise.",
)
