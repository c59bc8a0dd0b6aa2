"""The losses that can be cores: each is a loss over the whole image by itself, and can stand in the cells of a grid.

A new core loss is one entry here, `LOSSES` and `CORES` follow: see `catalogue.py` for all others.
"""

from ..base import WholeImageLoss
from ..entry import Entry
from .adaptive import AdaptiveTversky
from .base import BCE, Dice, DiceBCE, Hybrid, Tversky
from .weighted import BalancedBCE, Combo, Focal, FocalTversky, TopKBCE, UnifiedFocal, WeightedBCE


def _core(name: str, core: type, source: str, fidelity: str, line: str) -> Entry:
    return Entry(name, WholeImageLoss, source, fidelity, line, core)


ENTRIES: list[Entry] = [
    _core("bce", BCE, "the paper, Eq. 2", "exact", "cross-entropy, -mean(y log p + (1 - y) log(1 - p))"),
    _core(
        "tversky",
        Tversky,
        "Salehi et al. 2017; the paper, Eq. 3",
        "exact; the weights are the best of Salehi et al., smoothing 1 is ours",
        "1 - TP / (TP + fn_weight FN + fp_weight FP), smoothed",
    ),
    _core(
        "dice",
        Dice,
        "Milletari et al. 2016; the paper, Appendix A",
        "exact with squared=true; by default without squares, as is usual today; smoothing 1 is ours",
        "soft Dice, 1 - 2 TP / (sum p + sum y), smoothed",
    ),
    _core(
        "hybrid",
        Hybrid,
        "Sun et al. 2020 (AU-Net), the paper's baseline",
        "exact form; the weights of a half each are those of public code",
        "bce_weight BCE + dice_weight Dice",
    ),
    _core(
        "dice-bce",
        DiceBCE,
        "Isensee et al. 2021 (nnU-Net); MONAI's DiceCELoss",
        "exact form; Dice of each image by itself, smoothing 1",
        "BCE + Dice",
    ),
    _core(
        "weighted-bce",
        WeightedBCE,
        "Pihur et al. 2007",
        "exact form; the default weight of 10 is ours",
        "cross-entropy with a weight on mass, -mean(w y log p + (1 - y) log(1 - p))",
    ),
    _core(
        "balanced-bce",
        BalancedBCE,
        "Xie and Tu 2015 (HED)",
        "exact; plain cross-entropy where one class is missing",
        "cross-entropy in which both classes weigh the same",
    ),
    _core(
        "focal",
        Focal,
        "Lin et al. 2017",
        "exact",
        "cross-entropy that fades on pixels that are right, -mean(a_t (1 - p_t)^gamma log p_t)",
    ),
    _core(
        "unified-focal",
        UnifiedFocal,
        "Yeung et al. 2022",
        "exact, with the authors' sum over the two classes",
        "focal cross-entropy and focal Tversky, the asymmetric form",
    ),
    _core(
        "combo",
        Combo,
        "Taghanaki et al. 2019",
        "exact, with the paper's sign, which the authors' code does not have",
        "alpha weighted BCE - (1 - alpha) Dice index",
    ),
    _core(
        "focal-tversky",
        FocalTversky,
        "Abraham and Khan 2019",
        "exact form; smoothing 1 is ours",
        "(1 - T)^gamma, T the Tversky index",
    ),
    _core(
        "adaptive-tversky",
        AdaptiveTversky,
        "Chen et al. 2023 (IEEE TPAMI)",
        "adapted: the formula of public code of others, without its smoothing of the shares; smoothing 1 is ours",
        "Tversky whose weights follow from the shares of false positives and misses among the errors",
    ),
    _core(
        "topk-bce",
        TopKBCE,
        "Wu et al. 2016",
        "adapted: of each image by itself; the share of 10 % is that of nnU-Net, which takes it of the whole batch",
        "mean of the hardest pixels' cross-entropies",
    ),
]
CORES: dict[str, type] = {entry.name: entry.core for entry in ENTRIES if entry.core is not None}
