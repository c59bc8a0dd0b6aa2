"""The commands `models`, which lists the networks, and `models show`, which tells all of one."""

from typing import Annotated

import typer

from massmatch.cli.screen import screen, told
from massmatch.errors import UsageError

models = typer.Typer(invoke_without_command=True, help="List the networks, or show one.")


@models.callback()
def list_all(
    context: typer.Context,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of docs/systems.md instead.")] = False,
) -> None:
    """List the networks with what each is, its published width, and its parameters at that width."""
    if context.invoked_subcommand is not None:
        if markdown:
            raise typer.BadParameter("belongs to the list, not to one of it: leave it out", param_hint="--markdown")
        return
    from rich.table import Table

    from massmatch.models import MODELS
    from massmatch.models.cost import cost

    if markdown:
        screen.print("\n".join(catalogue()), soft_wrap=True)
        return
    table = Table("network", "what it is", "width", "million parameters", "GFLOP", box=None, pad_edge=False)
    for name, network in MODELS.items():
        parameters, operations = cost(network, network.published_width)
        costs = str(network.published_width), f"{parameters / 1e6:.2f}", f"{operations / 1e9:.1f}"
        table.add_row(name, network.line, *costs)
    screen.print(table)


def catalogue() -> list[str]:
    """The Markdown table of the catalogue; * marks deep supervision."""
    from massmatch.models import MODELS
    from massmatch.models.cost import cost

    lines = ["| name | source | what it is | fidelity | width | million parameters | GFLOP |", "|---" * 7 + "|"]
    for name, network in MODELS.items():
        parameters, operations = cost(network, network.published_width)
        cells = [f"`{name}`{' *' if network.deep_supervision else ''}", network.source, network.line, network.fidelity]
        cells += [str(network.published_width), f"{parameters / 1e6:.2f}", f"{operations / 1e9:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


@models.command()
def show(name: Annotated[str, typer.Argument(help="A name of the list.")]) -> None:
    """Show all that is known of one network: source, fidelity, parameters and operations at two widths."""
    import inspect

    with told():
        from massmatch.models.cost import cost
        from massmatch.runs.network import network_of

        if ":" in name:
            raise UsageError(f"{name}: give a name of `massmatch models`; one of your own, module:Class, is not listed")
        network = network_of(name)
        lines = [f"{name}: {network.line}", f"source     {network.source}", f"fidelity   {network.fidelity}"]
        small = -(-8 // network.width_step) * network.width_step
        for width in (small, network.published_width):
            parameters, operations = cost(network, width)
            costs = f"{parameters / 1e6:.2f} million parameters, {operations / 1e9:.1f} GFLOP for 256 x 256"
            lines.append(f"width {width:<4} {costs}")
        lines.append("deep supervision: the loss is applied to several outputs" if network.deep_supervision else "")
        lines += ["docs       docs/systems.md", "", inspect.getdoc(network.build) or ""]
        screen.print("\n".join(line for line in lines), soft_wrap=True)
