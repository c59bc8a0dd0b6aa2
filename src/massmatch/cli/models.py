"""The command `models`."""

from massmatch.cli.screen import screen


def models() -> None:
    """List the networks: parameters and floating point operations for one image of 256 x 256."""
    from rich.table import Table

    from massmatch.models import MODELS
    from massmatch.models.cost import cost, published_width

    table = Table("network", "width", "million parameters", "GFLOP", box=None, pad_edge=False)
    for name, network in MODELS.items():
        for width in (8, published_width(network)):
            parameters, operations = cost(network, width)
            table.add_row(name, str(width), f"{parameters / 1e6:.2f}", f"{operations / 1e9:.1f}")
    screen.print(table)
