"""Swin-Unet (Cao et al. 2022): a U-Net of shifted-window transformers (Liu et al. 2021)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from massmatch.models.blocks import PaddedNet, require_width

HEADS = (3, 6, 12, 24)
WINDOW = 8  # the paper's 7 divides 224 / 4, but not 256 / 4


class WindowAttention(nn.Module):
    """Self-attention within windows of 8 x 8, with a bias for each relative position."""

    index: Tensor  # (64, 64): which bias a pair of tokens has

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.bias = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias, std=0.02)
        row, col = torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")
        place = torch.stack([row.flatten(), col.flatten()])
        apart = place[:, :, None] - place[:, None, :] + WINDOW - 1
        self.register_buffer("index", apart[0] * (2 * WINDOW - 1) + apart[1], persistent=False)

    def forward(self, x: Float[Tensor, "n t c"], mask: Tensor | None) -> Float[Tensor, "n t c"]:
        """x: windows of t = 64 tokens; mask (w, t, t) bool: which pairs may see each other, window by window."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self.bias[self.index].permute(2, 0, 1)[None]
        if mask is not None:
            hidden = torch.zeros_like(mask, dtype=bias.dtype).masked_fill(~mask, float("-inf"))
            bias = (bias + hidden[:, None]).repeat(len(x) // len(mask), 1, 1, 1)
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return self.out(found.transpose(1, 2).flatten(-2))


def windows(x: Float[Tensor, "B H W c"]) -> Float[Tensor, "n t c"]:
    """Cut into windows, those of one image after the other."""
    b, h, w, c = x.shape
    return x.view(b, h // WINDOW, WINDOW, w // WINDOW, WINDOW, c).transpose(2, 3).reshape(-1, WINDOW**2, c)


def assembled(x: Float[Tensor, "n t c"], shape: tuple[int, ...]) -> Float[Tensor, "B H W c"]:
    """The way back from `windows`, to (B, H, W, c)."""
    b, h, w, c = shape
    return x.view(b, h // WINDOW, w // WINDOW, WINDOW, WINDOW, c).transpose(2, 3).reshape(b, h, w, c)


def seam_mask(height: int, width: int, device: torch.device) -> Tensor:
    """(windows, 64, 64) bool for images rolled by half a window: pixels across a seam do not see each other."""
    part = torch.zeros(1, height, width, 1, device=device)
    cuts = (slice(0, -WINDOW), slice(-WINDOW, -WINDOW // 2), slice(-WINDOW // 2, None))
    for number, (rows, cols) in enumerate((r, c) for r in cuts for c in cuts):
        part[:, rows, cols] = number
    own = windows(part)[..., 0]
    return own[:, :, None] == own[:, None, :]


class SwinBlock(nn.Module):
    """Attention in windows, shifted by half a window in every other block, and a perceptron; both added."""

    def __init__(self, channels: int, heads: int, shifted: bool) -> None:
        super().__init__()
        self.shift = WINDOW // 2 if shifted else 0
        self.before, self.attention = nn.LayerNorm(channels), WindowAttention(channels, heads)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )

    def forward(self, x: Float[Tensor, "B H W c"]) -> Float[Tensor, "B H W c"]:
        """The tokens after attention within windows and the perceptron, in the same places."""
        shift = self.shift if min(x.shape[1:3]) > WINDOW else 0  # one window sees everything already
        rolled = self.before(x).roll((-shift, -shift), (1, 2))
        mask = seam_mask(x.shape[1], x.shape[2], x.device) if shift else None
        seen = assembled(self.attention(windows(rolled), mask), rolled.shape).roll((shift, shift), (1, 2))
        x = x + seen
        return x + self.perceptron(x)


def stage(channels: int, heads: int) -> nn.Sequential:
    """Two blocks, the second one shifted."""
    return nn.Sequential(SwinBlock(channels, heads, False), SwinBlock(channels, heads, True))


class Merge(nn.Module):
    """Four neighbouring tokens become one of twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(nn.LayerNorm(4 * channels), nn.Linear(4 * channels, 2 * channels, bias=False))

    def forward(self, x: Float[Tensor, "B H W c"]) -> Float[Tensor, "B h w d"]:
        """Tokens of half the rows and columns, with twice the channels."""
        return self.reduce(torch.cat([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], -1))


class Expand(nn.Module):
    """One token becomes `factor` squared ones of `outputs` channels."""

    def __init__(self, channels: int, outputs: int, factor: int = 2) -> None:
        super().__init__()
        self.factor = factor
        self.widen = nn.Linear(channels, outputs * factor**2, bias=False)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Float[Tensor, "B h w c"]) -> Float[Tensor, "B H W d"]:
        """`factor` times the rows and columns."""
        b, h, w, _ = x.shape
        spread = self.widen(x).view(b, h, w, self.factor, self.factor, -1).transpose(2, 3)
        return self.norm(spread.reshape(b, h * self.factor, w * self.factor, -1))


class SwinUnet(PaddedNet):
    """Swin-Unet with depths 2, 2, 2, 2 in encoder and decoder and heads 3, 6, 12, 24; no weights from ImageNet.

    `width` is the number of channels of the tokens of 4 x 4 pixels: 96 in the paper, a multiple of 3 so that the
    heads divide it. Ours: windows of 8, and no stochastic depth.
    """

    multiple = 4 * 8 * WINDOW  # patches, three halvings, whole windows at the bottom

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 96) -> None:
        super().__init__(in_channels, out_channels, width)
        require_width(width, HEADS[0])
        widths = [width * 2**level for level in range(4)]
        self.patches = nn.Conv2d(in_channels, width, 4, stride=4)
        self.norm = nn.LayerNorm(width)
        self.down = nn.ModuleList(stage(c, h) for c, h in zip(widths, HEADS, strict=True))
        self.merge = nn.ModuleList(Merge(c) for c in widths[:-1])
        self.expand = nn.ModuleList(Expand(2 * c, c) for c in reversed(widths[:-1]))
        self.join = nn.ModuleList(nn.Linear(2 * c, c) for c in reversed(widths[:-1]))
        self.up = nn.ModuleList(stage(c, h) for c, h in reversed(list(zip(widths, HEADS, strict=True))[:-1]))
        self.last = Expand(width, width, 4)
        self.head = nn.Conv2d(width, out_channels, 1, bias=False)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of (B, C, *spatial), of the input's height and width, without activation."""
        x = self.norm(self.patches(x).permute(0, 2, 3, 1))
        skips = []
        for level, block in enumerate(self.down):
            x = block(self.merge[level - 1](x) if level else x)
            skips.append(x)
        for expand, join, block, skip in zip(self.expand, self.join, self.up, reversed(skips[:-1]), strict=True):
            x = block(join(torch.cat([expand(x), skip], -1)))
        return self.head(self.last(x).permute(0, 3, 1, 2))
