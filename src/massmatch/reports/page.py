"""`massmatch report`: one self-contained page about a collection of runs, and its tables as files."""

from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from massmatch.data import Cohort, open_cohort
from massmatch.errors import DataError
from massmatch.reports import charts, tables
from massmatch.reports.blocks import Block, Heading, Section, Table, mammograms
from massmatch.reports.blocks import tables as all_tables
from massmatch.reports.comparison import differences, figure_3, side_by_side
from massmatch.reports.contours import pictures
from massmatch.reports.files import write_tables
from massmatch.reports.masses import froc_curves, normal_images
from massmatch.reports.paper.section import paper_tables
from massmatch.reports.subject import Subject, subject
from massmatch.reports.summary import licence, methods, summary
from massmatch.reports.training import curves, training
from massmatch.runs.atomic import write_atomic
from massmatch.runs.collection import Collection, collect, fingerprints
from massmatch.runs.folder import RunFolder
from massmatch.statistics.intervals import DRAWS
from massmatch.wording import count

PICTURES = 2  # images of each kind; ours
FRAME = {
    "width": charts.WIDTH,
    "height": charts.HEIGHT,
    "left": charts.LEFT,
    "right": charts.RIGHT,
    "top": charts.TOP,
    "bottom": charts.BOTTOM,
}


def report(
    runs: Collection | Sequence[Path | str | RunFolder] | Path | str | RunFolder,
    *,
    cohort: Cohort | Path | str | None = None,
    out: Path | str = "report",
    title: str = "",
    baseline: str | None = None,
    pictures: int = PICTURES,
    draws: int = DRAWS,
) -> Path:
    """Write a page about runs, with statistics, charts and contours, and its tables as Markdown, LaTeX and CSV.

    Args:
        runs: what `sweep` gives, or folders of runs, or folders that hold such folders.
        cohort: the cohort of the runs, or its folder; without it the report has no pictures.
        out: the folder for `report.html` and `tables/`.
        title: above the page; by default after the cohort.
        baseline: the loss that all are compared with; by default hybrid, or another plain one.
        pictures: images of each kind (best, median, worst, ...).
        draws: of the bootstrap over patients.

    Returns:
        The page.

    Raises:
        UsageError: where a folder is missing, no run is finished, or the baseline is not among them.
        DataError: where the cohort is not the one that the runs were trained on.

    Example:
        massmatch.report("runs", cohort="cohort")
    """
    if not isinstance(runs, Collection):
        folders = [runs] if isinstance(runs, (str, Path, RunFolder)) else runs
        runs = collect(*map(Path, folders))
    page, opened = Path(out) / "report.html", None if cohort is None else open_cohort(cohort)
    if opened is not None and opened.fingerprint not in (known := fingerprints(runs)):
        raise DataError(
            f"{opened.root}: its fingerprint is {opened.fingerprint}, but the runs were trained on "
            f"{', '.join(known) or 'none that is finished'}: give the cohort of the runs, or leave --cohort away"
        )
    tables_in = page.with_name("tables")
    write_report(
        page, runs, opened, title=title, baseline=baseline, pictures=pictures, draws=draws, tables_in=tables_in
    )
    return page


def write_report(
    page: Path,
    collection: Collection,
    cohort: Cohort | None,
    *,
    title: str = "",
    remark: str = "",
    baseline: str | None = None,
    pictures: int = PICTURES,
    draws: int = DRAWS,
    tables_in: Path | None = None,
) -> None:
    """Write the page, and with `tables_in` its tables as Markdown, LaTeX and CSV.

    The same runs and cohort give the same bytes.

    Args:
        page: the HTML file; it holds everything itself.
        collection: of `runs.collect`. The largest group of comparable runs is reported, others are listed apart.
        cohort: on which the runs were measured; without it, or with another one, there are no pictures.
        title: by default after the cohort.
        remark: a sentence to stand above everything.
        baseline: the system that all others are compared with; by default the hybrid loss, or another plain one.
        pictures: images of each kind (best, median, worst, ...).
        draws: of the bootstrap.

    Raises UsageError where no run is finished, or the baseline is not among them.
    """
    of = subject(collection, cohort, baseline)
    sections = _sections(of, pictures, draws)
    content = _page(of, sections, title, remark).encode()
    page.parent.mkdir(parents=True, exist_ok=True)
    if tables_in is not None:
        page.unlink(missing_ok=True)  # an earlier one would stand beside these tables if this were stopped now
        write_tables(tables_in, all_tables(sections))
    write_atomic(page, content)


def write_showcase(page: Path, collection: Collection, cohort: Cohort, *, title: str, remark: str) -> None:
    """Write a page of pictures and curves alone, for made-up images: no table, no order of losses, no test.

    Images that were made up say nothing about patients, so neither does an order of losses on them: here they stand in
    the order of their names. `remark` stands above everything. Raises as `write_report` does.
    """
    of = ByName(**vars(subject(collection, cohort, None)))
    sections = [
        Section("figure-4", "Pictures", pictures(of, 1)),
        Section("training", "Training", curves(of)),
        Section("methods", "Methods", methods(of)),
    ]
    page.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(page, _page(of, sections, title, remark).encode())


class ByName(Subject):
    """A subject whose losses stand in the order of their names, which says nothing about them."""

    @cached_property
    def order(self) -> list[str]:
        """The names of the systems in alphabetical order."""
        return sorted(set(self.rows["system"]))


def _sections(of: Subject, pictured: int, draws: int) -> list[Section]:
    return [
        Section("summary", "Summary", summary(of, draws)),
        Section("losses", "Losses", side_by_side(of, draws)),
        Section("paper", "The paper's tables", paper_tables(of, draws)),
        Section("differences", "Differences", differences(of, draws)),
        Section("training", "Training", training(of)),
        Section("masses", "Masses", _masses(of, draws)),
        Section("figure-3", "Figure 3", figure_3(of, draws)),
        Section("figure-4", "Figure 4", pictures(of, pictured)),
        Section("methods", "Methods", methods(of)),
    ]


def _masses(of: Subject, draws: int) -> list[Block]:
    """By kind of image, by mass, and where there is none."""
    kinds = {"size": "mass_fraction", "density": "density", "view": "view"}
    known = [by for by, column in kinds.items() if column in of.rows and of.rows[column].notna().any()]
    strata = [Table(f"dsc_by_{by}", tables.stratified(of.rows, by, draws=draws)) for by in known]
    found = [Table("masses", tables.lesions(of.rows, draws=draws))] if "masses_found" in of.rows else []
    return [Heading("By kind of image"), *strata, Heading("Mass by mass"), *found, *froc_curves(of), *normal_images(of)]


def _code(text: str) -> Markup:
    """What stands between backticks is code; everything is escaped."""
    pieces = [str(escape(piece)) for piece in text.split("`")]
    marked = [f"<code>{piece}</code>" if at % 2 and at < len(pieces) - 1 else piece for at, piece in enumerate(pieces)]
    return Markup("".join(marked))


def _page(of: Subject, sections: list[Section], title: str, remark: str) -> str:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=PackageLoader("massmatch.reports", "templates"),
        trim_blocks=True,
    )
    environment.filters["code"] = _code
    images = count(of.rows["id"].nunique(), "test image")
    return environment.get_template("report.html").render(
        title=title or f"Losses on {of.runs[0].experiment['cohort']}",
        subtitle=f"{count(len(of.order), 'loss', 'losses')}, {count(len(of.runs), 'run')}, {images} of patients "
        "whose other images were neither trained nor chosen with.",
        remark=remark,
        sections=sections,
        mammograms=mammograms(sections),
        licence=f"Data: {licence(of)}",
        version=version("massmatch"),
        frame=FRAME,
    )
