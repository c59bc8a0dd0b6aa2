"""Grey pictures and masks from files: read as a viewer shows them, or refused by name.

Pillow hands out other pixels than a viewer shows for some kinds of file; each of those is read right here, or refused
with the way out.
"""

import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, JpegImagePlugin, TiffImagePlugin, UnidentifiedImageError

from massmatch.data.errors import DataError, DataWarning

IMAGE_ENDINGS = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
DICOM_ENDINGS = (".dcm", ".dicom")
BITS, ORIENTATION, PHOTOMETRIC, CHANNELS, SAMPLE_FORMAT = 0x0102, 0x0112, 0x0106, 0x0115, 0x0153  # tags of TIFF 6.0
WHITE_IS_ZERO, SIGNED = 0, 2  # of photometric and sample format
BYTES = {b"II": "little-endian", b"MM": "big-endian"}
MAX_PIXELS = 100_000_000  # no mammogram is larger: the largest film scans of CBIS-DDSM have some 35 million
LONGEST = 500.0  # mm: the longest films and detectors of radiography have 43 cm
JPEG_NOISE = 8  # levels of 256 by which the channels of a grey picture differ after a JPEG in colour
LOSSY = ("JPEG", "MPO", "WEBP", "jpeg", "webp")  # formats, and how TIFF calls them
FAINT = 128  # of 256: what is brighter is white with blurred edges, of which half the range is the limit
FEW_BITS = {"L;2": 85, "L;2I": 85, "L;4": 17, "L;4I": 17}  # Pillow spreads 2 and 4 bits over 0 to 255 by these


def misfit(image: tuple[int, ...], mask: tuple[int, ...]) -> str:
    """What to say of a mask whose (rows, columns) are not those of its image."""
    turned = "; it looks transposed" if image == mask[::-1] else ""
    return (
        f"the mask must have the size of its image, {image} (rows, columns), but has {mask}{turned}: "
        "make it again from this image"
    )


def refuse_long(path: str, size: tuple[int, ...], spacing: tuple[float, float] | None) -> None:
    """Raise DataError for a spacing in mm with which an image of (rows, columns) would fit on no detector or film."""
    longest = max((side * mm for side, mm in zip(size, spacing or (), strict=False)), default=0.0)
    if spacing is not None and longest > LONGEST:
        raise DataError(
            f"{path}: a spacing of {spacing[0]:g} x {spacing[1]:g} mm would make the image {longest:.0f} mm long: give "
            "it in millimetres (70 micrometres are 0.07), or leave it out"
        )


def levels(mask: np.ndarray) -> np.ndarray:
    """The values other than 0 in a mask of (H, W), ascending."""
    there = np.zeros(np.iinfo(mask.dtype).max + 1, bool)  # no sorting: masks may have many millions of pixels
    there[mask] = True
    return np.flatnonzero(there[1:]) + 1


def read_grey(root: Path, path: str) -> np.ndarray:
    """Read an image as (H, W) uint8 or uint16, 0 = black; `path` is relative to root and begins every message.

    Colour with equal channels is grey; where they differ by a few levels, as after a JPEG in colour, the luminance is
    taken with a DataWarning.

    Raises DataError for what is no image, in colour, of other bits, of several pages, or to be shown turned, and for
    an alpha channel that hides what is not black.
    """
    image: Image.Image = _opened(root, path)[0]
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    grey = _grey(image, path)
    if image.mode in ("LA", "RGBA"):
        alpha = np.asarray(image.getchannel("A"))
        if grey[alpha < alpha.max()].any():  # air that is white below its transparency, say
            raise DataError(f"{path}: its alpha channel hides pixels that are not black: save it as grey alone")
    return grey


def read_labels(root: Path, path: str) -> np.ndarray:
    """Read a mask as (H, W) uint8 or uint16, 0 = background; otherwise as `read_grey`.

    The numbers of a palette are labels where number 0 alone is black; in other palettes black is background and the
    other colours are labels, counted in the order of their numbers. Where the colours are even and an alpha channel is
    not, the alpha channel is the mask.

    Raises DataError as `read_grey` does, for labels that were compressed with losses, where palette or alpha channel do
    not say which pixels are background, and for a palette of several greys, which may be labels or a smoothed edge.
    """
    image, stored = _opened(root, path)
    if image.mode == "P" and "transparency" not in image.info:
        return _by_palette(image, path)
    if image.mode in ("LA", "RGBA", "P"):
        return _by_alpha(image.convert("LA" if image.mode == "LA" else "RGBA"), path)
    grey = _grey(image, path)
    if image.format in LOSSY or image.info.get("compression") in LOSSY:
        refuse_faint(grey, path)
    if image.mode == "RGB" and grey.max() < FAINT and np.ptp(np.asarray(image), axis=2).any():
        raise DataError(f"{path}: a mask must be grey, but has dark colours, which would be lost: convert it")
    step = FEW_BITS.get(stored, 1)
    return grey if step > 1 and _reach_white(grey) else grey // step


def refuse_faint(grey: np.ndarray, path: str) -> None:
    """Raise DataError for a mask that was compressed with losses and holds small numbers only.

    The losses blur the edge of a mass into numbers between, which would be labels, so that its rings were masses.
    """
    if 0 < (top := int(grey.max())) < FAINT:
        raise DataError(
            f"{path}: a mask in JPEG must be black and white, but its brightest pixel is {top}: losses have blurred "
            "its labels: save it without loss as PNG, from its source"
        )


def _reach_white(grey: np.ndarray) -> bool:
    """Whether a mask of few bits goes from black over several greys to white, as a packed smoothed edge does."""
    found = levels(grey)
    return len(found) > 3 and int(found[-1]) == 255


def read_size(root: Path, path: str) -> tuple[int, int]:
    """Rows and columns from the file's head. DataError for what is no image; `path` is relative and begins it."""
    try:
        with Image.open(root / path) as image:
            return image.height, image.width
    except Exception as error:
        raise _unread(root, path, error) from None


def _unread(root: Path, path: str, error: Exception) -> DataError:
    """Pillow's readers raise whatever a torn header makes of their code; a kind that they do not know is named."""
    if isinstance(error, Image.DecompressionBombError):
        return DataError(f"{path}: must have at most {MAX_PIXELS / 1e6:.0f} million pixels: replace the file")
    kind = _unidentified(root / path) if isinstance(error, UnidentifiedImageError) else None
    return DataError(f"{path}: {kind or f'cannot be read as an image ({type(error).__name__}): replace the file'}")


def _opened(root: Path, path: str) -> tuple[ImageFile.ImageFile, str]:
    """The loaded image, and how the file stores its pixels in Pillow's spelling, such as "L;4".

    Raises DataError for what cannot be read, or would not be read as a viewer shows it.
    """
    try:
        with (
            warnings.catch_warnings(category=Image.DecompressionBombWarning, action="ignore"),
            Image.open(root / path) as image,
        ):
            raw = [tile[3] for tile in image.tile][:1]
            stored = str(raw[0][0] if raw and isinstance(raw[0], tuple) else "".join(map(str, raw)))
            _refuse_what_would_change(image, stored, path)
            image.load()
            if image.format == "PNG":  # Pillow reads pixels past wrong checksums, which a second look compares
                with Image.open(root / path) as again:
                    again.verify()
            if image.getexif().get(ORIENTATION, 1) != 1:  # PNG and JPEG may have it behind their pixels
                raise _turned(path)
            _refuse_one_clear_grey(image, path)
            if image.mode == "P" and int(np.asarray(image).max()) >= len(image.getpalette("RGB") or ()) // 3:
                raise DataError(f"{path}: has numbers that its palette gives no colour: save it as grey")
    except DataError:
        raise
    except Exception as error:
        raise _unread(root, path, error) from None
    return image, stored


def _unidentified(file: Path) -> str | None:
    """What to say of a TIFF, a JPEG or a DICOM file that Pillow cannot open; None for another file."""
    with file.open("rb") as stream:
        if stream.read(4) == b"MM\0+":
            return "a BigTIFF with big-endian bytes: this kind is not read: save it as a plain TIFF"
        stream.seek(128)
        if stream.read(4) == b"DICM":
            return "is DICOM, but its name does not say so: let it end in .dcm"
        stream.seek(0)
        head = stream.read(16)  # 8 of them in a plain TIFF
        if head[:4] in (b"II*\0", b"MM\0*", b"II+\0"):
            with suppress(Exception), warnings.catch_warnings(action="ignore"):  # torn tags say nothing
                tags = TiffImagePlugin.ImageFileDirectory_v2(head if b"+" in head[:4] else head[:8])
                stream.seek(tags.next)
                tags.load(stream)
                signed = " with a sign" if tags.get(SAMPLE_FORMAT, (1,))[0] == SIGNED else ""
                channels = f" in {number} channels" if (number := tags.get(CHANNELS, 1)) > 1 else ""
                zero = "white" if tags[PHOTOMETRIC] == WHITE_IS_ZERO else "black"
                big = "BigTIFF" if b"+" in head[:4] else "TIFF"
                kind = f"a {big} of {tags[BITS][0]} bits{signed}{channels}, {BYTES[head[:2]]} bytes, {zero} at zero"
                return f"{kind}: this kind is not read: save it as 16-bit grey without a sign, with black at zero"
        if head.startswith(b"\xff\xd8"):
            try:
                JpegImagePlugin.JpegImageFile(file)
            except SyntaxError as error:
                return f"a JPEG that is not read ({error}): save it as 16-bit PNG"
    return None


def _refuse_what_would_change(image: ImageFile.ImageFile, stored: str, path: str) -> None:
    """Raise DataError where Pillow or this reader would hand out other pixels than a viewer shows."""
    if (size := image.width * image.height) > MAX_PIXELS:
        raise DataError(
            f"{path}: must have at most {MAX_PIXELS / 1e6:.0f} million pixels, not {size / 1e6:.0f}: replace the file"
        )
    parts = [tile.extents for tile in image.tile if tile.extents is not None]
    covered = sum((right - left) * (bottom - top) for left, top, right, bottom in parts)
    if parts and covered < size:  # Pillow would leave the rest black
        raise DataError(f"{path}: holds pixels for a part of its {image.height} rows only: replace the file")
    if (pages := getattr(image, "n_frames", 1)) > 1:
        raise DataError(f"{path}: must be one picture, but holds {pages}: save each as its own file")
    if image.mode in ("RGB", "RGBA", "LA") and (";16" in stored or _tag(image, BITS, 8) > 8):
        raise DataError(f"{path}: 16 bits in several channels would be cut to 8: save it as 16-bit grey")
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "F") and not image.mode.startswith("I;16"):
        raise DataError(f"{path}: must be a grey picture, but has the colours of {image.mode}: convert it")
    if _tag(image, ORIENTATION, 1) != 1:  # before loading, after which Pillow says no more of it
        raise _turned(path)
    if stored.endswith("BS") and image.tile[0][0] == "libtiff":  # unpacked already, and Pillow swaps the bytes again
        raise DataError(f"{path}: compressed big-endian numbers with a sign would be swapped: save it as unsigned grey")
    if image.mode == "L" and _tag(image, SAMPLE_FORMAT, 1) == SIGNED:
        raise DataError(f"{path}: must have no negative greys, but has signed 8 bits: save it as unsigned grey")


def _refuse_one_clear_grey(image: Image.Image, path: str) -> None:
    """Raise DataError where one grey, or colour, is transparent by the file's head (tRNS of PNG) and not black."""
    clear = image.info.get("transparency")
    if image.mode in ("P", "PA") or not isinstance(clear, int | tuple) or not np.any(clear):
        return
    pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
    if (pixels.reshape(*pixels.shape[:2], -1) == clear).all(axis=-1).any():
        raise DataError(f"{path}: its pixels of {clear} are transparent, but not black: save it as grey alone")


def _turned(path: str) -> DataError:
    return DataError(f"{path}: an orientation tag asks to show it turned: save it upright, without the tag")


def _tag(image: Image.Image, tag: int, default: int) -> int:
    """The first value of a tag of a TIFF; the default for other files."""
    value = getattr(image, "tag_v2", {}).get(tag, default)
    return int(value[0] if isinstance(value, tuple) else value)


def _grey(image: Image.Image, path: str) -> np.ndarray:
    """The pixels of a loaded grey image, or of one in colour that holds no colour."""
    pixels = np.asarray(image.convert({"1": "L", "LA": "L"}.get(image.mode, image.mode)))
    if pixels.ndim == 3:
        pixels = _luminance(pixels[..., :3], path)
    if pixels.dtype.kind in "iu" and pixels.itemsize > 1 and pixels.min() >= 0 and pixels.max() < 65536:
        pixels = pixels.astype(np.uint16)  # Pillow opens some 16-bit files as 32-bit, or big-endian
    if pixels.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path}: must have 8 or 16 bits, but has {pixels.dtype}: convert it")
    if pixels.dtype == np.uint16 and _tag(image, PHOTOMETRIC, 1) == WHITE_IS_ZERO:  # Pillow inverts 8 bits alone
        pixels = ((1 << _tag(image, BITS, 16)) - 1) - pixels
    return pixels


def _luminance(colours: np.ndarray, path: str) -> np.ndarray:
    """(H, W) grey of (H, W, 3) uint8 colours that are grey but for the noise of JPEG. DataError for true colours."""
    differ = int(np.ptp(colours, axis=2).max())
    if differ == 0:
        return colours[..., 0]
    if differ > JPEG_NOISE:
        raise DataError(f"{path}: must be grey, but is in colour (channels differ by {differ} levels): convert it")
    text = f"{path}: the colours of a grey picture differ by up to {differ} levels (JPEG?); the luminance is taken"
    warnings.warn(text, DataWarning, stacklevel=4)
    return np.asarray(Image.fromarray(np.ascontiguousarray(colours)).convert("L"))


def _by_palette(image: Image.Image, path: str) -> np.ndarray:
    """Labels of a mask with a palette, whose colours say which numbers are background."""
    numbers = np.asarray(image)
    palette = np.array(image.getpalette("RGB"), int).reshape(-1, 3)
    used = [int(number) for number in np.flatnonzero(np.bincount(numbers.ravel(), minlength=256))]
    colours = {number: tuple(palette[number]) for number in used}
    black = [number for number, colour in colours.items() if colour == (0, 0, 0)]
    if len(used) > 1 and len(set(colours.values())) == 1:  # the colours say nothing
        return numbers
    distinct = list(dict.fromkeys(colour for colour in colours.values() if colour != (0, 0, 0)))
    if (
        len(distinct) > 1
        and all(len(set(colour)) == 1 for colour in distinct)
        and not np.array_equal(palette[used, 0], used)
    ):
        raise DataError(
            f"{path}: its palette holds {len(distinct)} greys beside black, which may be labels or a smoothed edge: "
            "save it as grey, with 0 for background and labels 1, 2, ..."
        )
    if black in ([], [0]) and len(distinct) == len(used) - len(black) and (0 not in used or black):
        return numbers
    if not black:
        raise DataError(
            f"{path}: none of its palette's colours is black, so that none is background: save it as grey, with 0 for "
            "background"
        )
    label = {(0, 0, 0): 0, **{colour: n for n, colour in enumerate(distinct, start=1)}}
    table = np.zeros(256, np.uint8)
    table[used] = [label[colours[number]] for number in used]
    return table[numbers]


def _by_alpha(image: Image.Image, path: str) -> np.ndarray:
    """The mask of an image with an alpha channel: the channel that is not even."""
    alpha = np.asarray(image.getchannel("A"))
    if alpha.min() == alpha.max():  # it says nothing
        return _grey(image, path)
    colours = np.asarray(image)[..., :-1]
    if (colours == colours[:1, :1]).all():
        return alpha
    grey = _grey(image, path)
    if not np.array_equal(grey > 0, alpha > 0):
        raise DataError(f"{path}: its colours and its alpha channel mark other pixels: save the mask as grey alone")
    return grey
