"""A trainer for nnU-Net with a loss and options of one's own choice. Needs nnunetv2.

Put this file into a folder, and tell nnU-Net where it is:

    export nnUNet_extTrainer=FOLDER
    nnUNetv2_train 101 2d 0 -tr nnUNetTrainerScaledMatching

`massmatch nnunet install-trainer FOLDER --loss soft-sm:random_phase=true` writes such a file.
"""

from massmatch.integrations.nnunet import spatial_matching_trainer

Trainer = spatial_matching_trainer("tversky", {"scale": True, "min_cell": 8})


class nnUNetTrainerScaledMatching(Trainer):  # noqa: N801  nnU-Net finds trainers by such names
    """nnU-Net with the Spatial Matching loss: a Tversky core, weighed by the ratio of the cells."""
