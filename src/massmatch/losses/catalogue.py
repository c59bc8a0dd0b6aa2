"""Every loss by name: `LOSSES["sm-tversky-s-a"](cell_statistic="mean", smooth=0.1)` builds one.

A new loss is one entry here, or in `cores/catalogue.py` if it can stand in the cells of a grid. The command line, the
tables of the documentation and the marks of the report follow from the entries.
"""

from .cores.catalogue import CORES
from .cores.catalogue import ENTRIES as CORE_ENTRIES
from .entry import Catalogue, Entry, VariantName
from .rivals.adaptive import AdaptiveSampleLoss, DensityASP
from .rivals.adaptive_region import AdaptiveRegionLoss
from .rivals.catmil import CATMIL
from .rivals.distance import BoundaryLoss, GeneralisedSurface, HausdorffDT, RegionWise
from .rivals.instance import BlobLoss, CCDiceBCE, InstanceLoss
from .rivals.region import RMI, SSIM, SSL
from .soft_matching import SoftMatchingLoss
from .spatial_matching import SpatialMatchingLoss

_WEIGHTINGS = {"b": "basic", "d": "weighted by distance", "s": "scaled", "sd": "scaled and weighted by distance"}
_AGGREGATIONS = {"a": "all cells", "nz": "cells with predicted or true mass"}
VARIANTS = [VariantName(core, w, a) for core in ("bce", "tversky", "dice") for a in _AGGREGATIONS for w in _WEIGHTINGS]


def _spatial_matching(variant: VariantName) -> Entry:
    core, weighting, aggregation = variant
    how, where = _WEIGHTINGS[weighting], _AGGREGATIONS[aggregation]
    return Entry(
        variant.text,
        SpatialMatchingLoss,
        "the paper, Eqs. 1 and 4 to 9, Algorithm 1",
        "exact, with the readings of docs/paper.md"
        if aggregation == "a"
        else "adapted: only the kept cells are added, where Eq. 5 adds all (numerator=all); readings in docs/paper.md",
        f"Spatial Matching, {how}: {core} of the image, plus its mean over {where}",
        CORES[core],
        variant.switches,
        variant,
    )


ENTRIES: list[Entry] = [
    *CORE_ENTRIES,
    *map(_spatial_matching, VARIANTS),
    Entry(
        "soft-sm",
        SoftMatchingLoss,
        "this project, docs/repaired.md",
        "ours",
        "soft Spatial Matching: a core of the image, plus found cells, stray mass and the count of cells",
    ),
    Entry(
        "asp-q",
        AdaptiveSampleLoss,
        "Aliniya et al. 2023 (ICANN)",
        "reconstruction",
        "Dice and BCE with weights that follow the size of the masses, by quantiles of the training part",
        fixed={"strategy": "quantile"},
    ),
    Entry(
        "asp-c",
        AdaptiveSampleLoss,
        "Aliniya et al. 2023 (ICANN)",
        "reconstruction",
        "Dice and BCE with weights that follow the size of the masses, by clusters of the training part",
        fixed={"strategy": "cluster"},
    ),
    Entry(
        "asp-l",
        AdaptiveSampleLoss,
        "Aliniya et al. 2023 (ICANN)",
        "reconstruction",
        "Dice and BCE with weights that follow the size of the masses and are learned with the network",
        fixed={"strategy": "learned", "groups": 4},  # it has no groups
    ),
    Entry(
        "density-asp",
        DensityASP,
        "Aliniya et al. 2023 (ISVC)",
        "reconstruction",
        "BCE and the structural similarity loss with weights that follow the ACR density of the breast",
    ),
    Entry("ssim", SSIM, "Wang et al. 2004", "exact", "1 - structural similarity of p and y, over windows of 11 pixels"),
    Entry(
        "ssl",
        SSL,
        "Zhao et al. 2019 (arXiv 1910.08711)",
        "adapted from a write-up; window, border and weight are ours",
        "BCE, and cross-entropy on the pixels whose neighbourhood is structurally wrong",
    ),
    Entry(
        "rmi",
        RMI,
        "Zhao et al. 2019 (NeurIPS)",
        "exact, in torch.linalg",
        "BCE, and the mutual information of the 3 x 3 neighbourhoods of p and y",
    ),
    Entry(
        "arsl",
        AdaptiveRegionLoss,
        "Chen et al. 2023 (IEEE TPAMI)",
        "adapted: the formula of public code of others; each image by itself, the mass alone, the mean over regions",
        "adaptive Tversky in each of 16 x 16 fixed regions",
    ),
    Entry(
        "boundary",
        BoundaryLoss,
        "Kervadec et al. 2019",
        "exact",
        "(1 - a) Dice + a mean(phi p), phi the signed distance to the boundary; a grows by epoch",
    ),
    Entry(
        "hausdorff-dt",
        HausdorffDT,
        "Karimi and Salcudean 2019",
        "adapted: the balance of the two terms follows each image, not each epoch",
        "Dice + l mean((p - y)^2 (d_p^2 + d_y^2)), d the distances to the boundaries",
    ),
    Entry(
        "generalised-surface",
        GeneralisedSurface,
        "Celaya et al. 2023",
        "exact",
        "a (Dice + BCE) + (1 - a) S, S a surface term that takes over by epoch",
    ),
    Entry(
        "region-wise",
        RegionWise,
        "Valverde and Tohka 2023",
        "exact",
        "mean(p z_mass + (1 - p) z_rest), rectified region-wise maps",
    ),
    Entry(
        "blob",
        BlobLoss,
        "Kofler et al. 2022",
        "adapted: the other masses are left out, where the authors' code sets their p to 0.5",
        "Dice + BCE of the image, and of each mass without the others",
    ),
    Entry(
        "cc-dice-bce",
        CCDiceBCE,
        "Bouteille et al. 2025 (CC-DiceCE)",
        "adapted: weights of 1 and 1 are ours",
        "mean over the masses of Dice + BCE in each one's Voronoi region",
    ),
    Entry(
        "catmil",
        CATMIL,
        "Luu et al. 2026 (arXiv 2604.08015)",
        "adapted: each image by itself, where theirs takes the masses of a batch together",
        "Dice + BCE, a Tversky loss in which each mass weighs about the same, and -log max p of each mass",
    ),
    Entry(
        "instance",
        InstanceLoss,
        "after Rachmadi et al. 2023 and 2024",
        "reconstruction",
        "BCE and Dice of the image, Dice of each true mass, and the share of predicted pieces that hit none",
    ),
]
LOSSES = Catalogue({entry.name: entry for entry in ENTRIES})
