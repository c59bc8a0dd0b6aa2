"""The options of a training: name, type, bounds, meaning and default of each stand here and nowhere else.

`Experiment` takes its fields from here, and the commands `train` and `sweep` their options. This module imports nothing
heavy, so that `massmatch train --help` appears at once.
"""

from dataclasses import dataclass
from math import inf
from typing import Annotated, Literal

from annotated_doc import Doc
from annotated_types import Ge, Gt, Le, Lt

MOST_THREADS = 1024  # far above any machine of today; tens of thousands end the process in a segmentation fault


@dataclass
class TrainingOptions:
    """What may be chosen for a training. A new option is one more field, and the code that follows it.

    Defaults are those of section 4.1 of the paper where it names one; the comments say where the others come from.
    """

    # Ahead in small networks: docs/results.md.
    loss: Annotated[str, Doc("A name of `massmatch losses`, options behind it as in name:a=1,b=2.")] = (
        "soft-sm:random_phase=true"
    )
    model: Annotated[str, Doc("A name of `massmatch models`.")] = "aunet"
    width: Annotated[int, Ge(1), Le(4096), Doc("Channels of the first level; 64 is AU-Net's own, 8 suits a CPU.")] = 64
    # The paper starts at random.
    start: Annotated[
        str,
        Doc(
            "First weights: random; imagenet, which lite-unet has (the extra imagenet of the package); packaged, "
            "those of the network in this package; or a run or a file of weights that is to be trained further."
        ),
    ] = "random"
    scheme: Annotated[
        Literal["kfold", "paper", "split", "official"],
        Doc("How patients are divided; paper: 80, 10 and 10 % (docs/experiments.md)."),
    ] = "kfold"
    folds: Annotated[int, Ge(2), Doc("How many folds.")] = 5
    # scikit-learn takes seeds of 32 bits.
    seed: Annotated[int, Ge(0), Lt(2**32), Doc("Of folds, first weights and order.")] = 0
    epochs: Annotated[int, Ge(1), Doc("Rounds through the training images.")] = 50  # not stated in the paper
    batch_size: Annotated[
        int,
        Ge(1),
        Doc("Images per step (the paper's 4), of all processes together: so --devices needs no other learning rate."),
    ] = 4
    # Not stated in the paper; Adam is what AU-Net's other users take.
    optimizer: Annotated[Literal["adam", "adamw"], Doc("The optimiser.")] = "adam"
    schedule: Annotated[
        Literal["constant", "one-cycle"],
        Doc("How the learning rate runs; one-cycle learns far faster in a short run."),
    ] = "constant"
    learning_rate: Annotated[
        float, Gt(0), Lt(inf), Doc("Of the optimiser; with one-cycle the highest, 2e-3 where it is not given.")
    ] = 1e-4
    # The paper names none. What each level does: data/augmentation.py.
    augment: Annotated[
        Literal["none", "flips", "strong"], Doc("How training images are changed; `massmatch augment` draws it.")
    ] = "none"
    # The paper names none of the three.
    ema: Annotated[
        float, Ge(0), Lt(1), Doc("Decay of the moving average of the weights, which is validated and kept; 0: none.")
    ] = 0.0
    patience: Annotated[
        int,
        Ge(0),
        Doc("Epochs with a lower validation DSC than the best that end the training; 0: none does. Not for one-cycle."),
    ] = 0
    clip: Annotated[
        float, Ge(0), Lt(inf), Doc("Longest gradient, by its norm; longer ones are shortened; 0: none.")
    ] = 0.0
    adversarial: Annotated[
        float,
        Ge(0),
        Lt(inf),
        Doc("Weight of critics that learn to tell predictions from truth (Chen et al. 2020); 0: none."),
    ] = 0.0
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        Doc(
            "Numbers of the network (the loss has float32 always); float16 is scaled; auto: bfloat16 where the "
            "processor has it and it is faster."
        ),
    ] = "auto"
    memory: Annotated[
        Literal["auto", "contiguous", "channels-last"], Doc("Layout of images in memory; auto: the faster one.")
    ] = "auto"
    threads: Annotated[int | None, Ge(1), Le(MOST_THREADS), Doc("CPU threads; by default PyTorch's choice.")] = None
    threshold: Annotated[
        Literal["validation"] | Annotated[float, Gt(0), Lt(1)],
        Doc("A pixel above it is predicted mass; validation: the value with the best pooled DSC on that part."),
    ] = 0.5
