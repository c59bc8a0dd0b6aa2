"""Masks drawn as text, and made-up images to try a loss on."""

import torch


def draw(text):
    """A mask (1, 1, rows, columns) of zeros and ones: "#" is mass, "." is none, spaces are for the eye."""
    rows = rows_of(text)
    assert set("".join(rows)) <= {"#", "."}, f"draw with # and . only: {text!r}"
    return torch.tensor([[[[float(character == "#") for character in row] for row in rows]]])


def draw_instances(text):
    """An instance map (1, 1, rows, columns): a digit is the number of a mass, "." is none."""
    rows = rows_of(text)
    assert set("".join(rows)) <= set("123456789."), f"draw with digits and . only: {text!r}"
    return torch.tensor([[[[0 if character == "." else int(character) for character in row] for row in rows]]])


def rows_of(text):
    rows = [line.replace(" ", "") for line in text.strip().splitlines() if line.strip()]
    assert rows
    assert all(len(row) == len(rows[0]) > 0 for row in rows), f"rows of unequal length: {text!r}"
    return rows


def box(shape, *corners_and_sides):
    """A mask (1, 1, *shape) with one rectangle per (corner, sides), for images too large to draw."""
    mask = torch.zeros(1, 1, *shape)
    for corner, sides in corners_and_sides:
        assert len(corner) == len(sides) == len(shape)
        ends = [start + side for start, side in zip(corner, sides, strict=True)]
        assert all(end <= length for end, length in zip(ends, shape, strict=True)), "the box leaves the image"
        mask[(0, 0, *[slice(start, end) for start, end in zip(corner, ends, strict=True)])] = 1
    return mask


def sure(mask, logit=10.0):
    """Logits that predict the mask firmly."""
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    return (2 * mask - 1) * logit


def made_up(seed, shape=(1, 1, 16, 16), *, masses=2, dtype=torch.float64, soft=False):
    """Logits and a target with up to `masses` boxes per channel; the prediction is noisy, and partly elsewhere.

    No logit is within 0.05 of the threshold of p > 1/2, so that a step of finite differences does not cross it.
    """
    generator = torch.Generator().manual_seed(seed)

    def integer(low, high):
        return int(torch.randint(low, high + 1, (1,), generator=generator))

    def some_boxes(number):
        mask = torch.zeros(shape, dtype=dtype)
        for b in range(shape[0]):
            for c in range(shape[1]):
                for _ in range(number):
                    sides = [integer(1, max(1, side // 2)) for side in shape[2:]]
                    corner = [integer(0, side - length) for side, length in zip(shape[2:], sides, strict=True)]
                    where = [slice(a, a + length) for a, length in zip(corner, sides, strict=True)]
                    mask[(b, c, *where)] = 1
        return mask

    target = some_boxes(masses)
    predicted = torch.where(torch.rand(shape, generator=generator) < 0.8, target, some_boxes(1))
    logits = 4 * predicted - 3 + torch.randn(shape, generator=generator, dtype=dtype)
    logits = torch.where(logits.abs() < 0.05, torch.full_like(logits, 0.05), logits)
    if soft:
        target = 0.9 * target + 0.1 * torch.rand(shape, generator=generator, dtype=dtype)
    assert torch.isfinite(logits).all()
    assert ((target >= 0) & (target <= 1)).all()
    return logits, target
