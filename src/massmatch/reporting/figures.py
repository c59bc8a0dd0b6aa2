"""Pictures: contours on mammograms as in the paper's Figure 4 (truth green, prediction blue)."""

import base64
import io

import numpy as np
from PIL import Image
from scipy import ndimage

GREEN, BLUE = (60, 220, 90), (70, 150, 255)


def overlay(image: np.ndarray, *, truth: np.ndarray | None = None, prediction: np.ndarray | None = None) -> Image.Image:
    """The image with contours, at least 512 pixels on its longer side so that lines stay thinner than masses.

    Args:
        image: (H, W) grey of any type, stretched to the full range.
        truth, prediction: (H, W) bool, or None. Where both lines meet, the prediction's is on top.
    """
    scale = max(1, -(-512 // max(image.shape)))
    low, high = float(image.min()), float(image.max())
    grey = ((image.astype(np.float32) - low) * (255 / max(high - low, 1))).astype(np.uint8)
    picture = Image.fromarray(grey).convert("RGB")
    pixels = np.array(picture.resize((image.shape[1] * scale, image.shape[0] * scale), Image.Resampling.BICUBIC))
    for mask, colour in ((truth, GREEN), (prediction, BLUE)):
        if mask is not None and mask.any():
            large = np.kron(mask, np.ones((scale, scale), bool))
            pixels[large & ~ndimage.binary_erosion(large, iterations=2)] = colour  # a line of two pixels, inside
    return Image.fromarray(pixels)


def data_uri(picture: Image.Image) -> str:
    """The picture as text that a page holds by itself."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
