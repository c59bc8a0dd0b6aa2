"""The figures of the paper that need no training of their own: `massmatch sweep COHORT --figure 1`, `2` and `4`."""

from pathlib import Path

from massmatch.cli.screen import screen

ELSEWHERE = {  # figures that show one image or several networks, and the commands that draw them
    "2": "figure 2 shows the cells of one image: `massmatch explain RUN ID --cohort COHORT` draws it for any image",
    "4": "figure 4 shows contours beside the truth: train with --table 2, then `massmatch report RUNS --cohort COHORT`",
}


def show_figure_1(out: Path) -> None:
    """Measure how often the claims of Figure 1 hold, print it, and write figure_1.png and figure_1.csv."""
    from massmatch.explanations.figure_1 import draw_figure
    from massmatch.explanations.placements import CLAIMS, PLACEMENTS, random_pairs, share_of
    from massmatch.runs.atomic import write_atomic
    from massmatch.sweeps.tables import CORES, variants

    pairs = random_pairs()
    shares = share_of(["bce", *(name for core in CORES for name in variants(core)), "soft-sm"], pairs)
    screen.print(f"share of {PLACEMENTS} random placements in which each claim of figure 1 holds, in percent")
    screen.print((100 * shares).round().astype(int).to_string())
    screen.print(*(f"{claim}: {text}" for claim, text in CLAIMS.items()), sep="\n", soft_wrap=True)
    out.mkdir(parents=True, exist_ok=True)
    draw_figure(pairs, shares, out / "figure_1.png")
    write_atomic(out / "figure_1.csv", shares.round(4).to_csv().encode())
    screen.print(f"{out / 'figure_1.png'}\n{out / 'figure_1.csv'}", soft_wrap=True)
