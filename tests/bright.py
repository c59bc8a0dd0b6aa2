"""Networks whose right answer is known, and mammograms to try them on."""

import numpy as np
import torch
from torch import nn

from mammograms import mammogram
from massmatch.data.preprocessing.frame import Preprocessing
from massmatch.inference.algorithm import Algorithm, WeightsFile
from massmatch.inference.batch import Options, predict_file
from massmatch.inference.images import image_files

MADE_UP = WeightsFile("made_up.safetensors", "bright of width 1", "0123456789abcdef" * 4)


class Bright(nn.Module):
    """A "network" that finds what is brighter than 0.8 of the range: then the right answer is known."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(200.0))

    def forward(self, images):
        return self.gain * (images - 0.8)


def facts(orientation="mixed", **how):
    prepared = Preprocessing(**how).model_dump(mode="json")
    return {
        "threshold": 0.5,
        "normalise": "min-max",
        "preprocessing": prepared,
        "orientation": orientation,
        "algorithm": Algorithm((MADE_UP,)),
    }


def marked(side):
    """A drawn mammogram with a bright rectangle of 12 x 9 pixels, off centre in both directions."""
    image = mammogram(160, 120, side)
    rows, cols = slice(50, 62), slice(20, 29) if side == "left" else slice(91, 100)
    image[rows, cols] = 4000
    truth = np.zeros(image.shape, bool)
    truth[rows, cols] = True
    return image, truth


def predicted(path, model=None, how=None, **options):
    """The prediction of one file, by default by `Bright` on images of any size."""
    asked = {"modality": "MG", "keep_names": False, "allow_for_processing": False, "probabilities": False, **options}
    (file,) = image_files([path])
    return predict_file(model or Bright(), how or facts(size="native"), file, Options(**asked))
