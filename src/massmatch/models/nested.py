"""Nested U-Nets after U-Net++ (Zhou et al. 2018): Attention U-Net++ and a dilated one."""

from torch import Tensor, nn

from massmatch.models.blocks import Gate, PaddedNet, double, enlarged, joined, pooled, separate

LEVELS = 5


class Nested(PaddedNet):
    """The grid of nodes of U-Net++: node (i, j) sees all earlier nodes of its level and the one below it.

    `width` channels at the first level, doubled four times. Deep supervision at the nodes (0, 1) to (0, 4); the
    main output is the last one's.
    """

    def __init__(self, in_channels: int, out_channels: int, width: int, *, gated: bool, dilated: bool) -> None:
        super().__init__(in_channels, out_channels, width)
        widths = [width * 2**level for level in range(LEVELS)]
        self.nodes, self.gates = nn.ModuleDict(), nn.ModuleDict()
        for j in range(LEVELS):
            for i in range(LEVELS - j):
                inputs = (widths[i - 1] if i else in_channels) if j == 0 else j * widths[i] + widths[i + 1]
                self.nodes[f"{i}{j}"] = block(inputs, widths[i], dilated)
                if gated and j:
                    self.gates[f"{i}{j}"] = Gate(j * widths[i], widths[i + 1])
        self.heads = nn.ModuleList(nn.Conv2d(width, out_channels, 1) for _ in range(LEVELS - 1))

    def logits(self, x: Tensor) -> list[Tensor]:
        """Of the node (0, 4), then (0, 3), (0, 2), (0, 1)."""
        found: dict[tuple[int, int], Tensor] = {}
        for i in range(LEVELS):
            x = self.nodes[f"{i}0"](pooled(x) if i else x)
            found[i, 0] = x
        for j in range(1, LEVELS):
            for i in range(LEVELS - j):
                skips, below = joined(*(found[i, k] for k in range(j))), found[i + 1, j - 1]
                if f"{i}{j}" in self.gates:
                    skips = self.gates[f"{i}{j}"](skips, below)
                found[i, j] = self.nodes[f"{i}{j}"](joined(skips, enlarged(below, skips)))
        return [self.heads[j - 1](found[0, j]) for j in reversed(range(1, LEVELS))]


def block(inputs: int, outputs: int, dilated: bool) -> nn.Module:
    """Two convolutions; dilated ones see twice as far in the second."""
    if not dilated:
        return double(inputs, outputs)
    return nn.Sequential(separate(inputs, outputs), separate(outputs, outputs, dilation=2))


class AttentionUNetPlusPlus(Nested):
    """Attention U-Net++ (Li et al. 2020): U-Net++ with attention gates on its skips.

    Known: the nested grid, gates, deep supervision. Ours: one gate for all skips of a node together, and the widths of
    U-Net (64) rather than U-Net++ (32).
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 64) -> None:
        super().__init__(in_channels, out_channels, width, gated=True, dilated=False)


class DilatedUNetPlusPlus(Nested):
    """U-Net++ with dilated convolutions, after Wu et al. 2019 (pelvic organs in CT): a reconstruction.

    Known: U-Net++, and that both convolutions of a node are dilated. Ours: only the second convolution of every node
    is, with a dilation of 2, and the widths are those of U-Net.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 64) -> None:
        super().__init__(in_channels, out_channels, width, gated=False, dilated=True)
