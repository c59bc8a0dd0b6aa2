"""The command `app`."""

from typing import Annotated

import typer

from massmatch.cli.screen import screen, told


def app(
    port: Annotated[int, typer.Option(min=1024, max=65535, help="On which the pages are served.")] = 8017,
) -> None:
    """Serve pages to this machine: the loss bench, where a prediction is painted over a truth.

    They show for any loss its value, its cells with their weights, and its gradient. Nothing is asked of or sent to
    another machine. Ctrl+C ends it.
    """
    with told():
        from massmatch.app.server import HOST, serve

        screen.print(f"http://{HOST}:{port}/ until Ctrl+C", markup=False, highlight=False)
        serve(port)
