"""massmatch: breast mass segmentation on whole mammograms, and the losses it is trained with."""

__version__ = "0.2.0"
