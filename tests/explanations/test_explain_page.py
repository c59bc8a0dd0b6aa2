"""The page as a reader meets it: its numbers are Python's in every variant, by mouse, by keyboard, on small screens."""

import json
import re

import numpy as np
import pytest

from browser import contrasts, needs_browser, opened, tabbed
from massmatch.explanations.ledger import ledger, off_the_ends
from massmatch.explanations.page import Pool, data, page
from massmatch.explanations.subject import Subject
from massmatch.explanations.variants import family

SPEC = "sm-tversky-sd-nz:smooth=0.5"


def made_up():
    labels = np.zeros((48, 60), np.uint8)
    labels[20:29, 8:18], labels[5:13, 40:48] = 1, 2
    generator = np.random.default_rng(0)
    p = np.where(np.roll(labels, 2, 1) > 0, 0.9, 0.05) + generator.uniform(-0.04, 0.04, labels.shape)
    p[40:44, 52:56], p[22, 9], p[0, 0] = 0.8, 0, 0  # a false positive, a certainty that is wrong, one that is right
    image = generator.integers(0, 255, labels.shape).astype(np.uint8)
    return Subject("Mass & <1>", image, labels, p, "probabilities of 16 bits", licence="made up </script>")


def written(path, subject, losses):
    """The file of a page, and the ledgers that it shows, by name."""
    p, moved = off_the_ends(subject.probability, subject.mask)
    ledgers = {of: ledger(losses.loss(of), p, subject.instances, of.name) for of in losses.variants()}
    path.write_text(page(subject, losses, ledgers, moved), encoding="utf-8")
    return path, {variant.name: of for variant, of in ledgers.items()}


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    return written(tmp_path_factory.mktemp("page") / "page.html", made_up(), family(SPEC))


def fixed(value):
    """As the page writes numbers."""
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.001 else re.sub(r"e([+-])0*", r"e\1", f"{value:.2e}")


def close(shown, value):
    """A shown share is the value to the last digit that is shown, whichever way a half is rounded."""
    digits = len(shown.rstrip("%").partition(".")[2])
    return abs(float(shown.rstrip("%")) - 100 * value) <= 0.51 * 10.0**-digits


def terms(view):
    names, values = (view.page.locator(f"#terms {tag}").all_inner_texts() for tag in ("dt", "dd"))
    return dict(zip(names, values, strict=True))


def switch(view, **parts):
    for part, value in parts.items():
        view.page.locator(f"input[name={part}][value={value}]").check()


def test_lists_that_variants_share_are_kept_once():
    pool = Pool()
    assert pool.add([1.0, 2.5]) == pool.add([1, 2.5]) != pool.add([1, 2.6])
    assert pool.lists[pool.add([float("nan"), 1 / 3])] == [None, 0.333333]


def test_the_data_hold_every_variant_and_point_into_the_pool(explained):
    _, ledgers = explained
    losses = family(SPEC)
    content = data(losses, {variant: ledgers[variant.name] for variant in losses.variants()})
    assert set(content["variants"]) == set(ledgers)
    for name, variant in content["variants"].items():
        assert variant["loss"] == pytest.approx(ledgers[name].loss, rel=1e-11)
        for column in ("kept", "distance", "weight", "loss", "term", "share_of_loss"):
            found = content["pool"][variant["columns"][column]]
            assert found == pytest.approx(ledgers[name].cells[column].astype(float).tolist(), rel=1e-5)
    assert len(content["pool"]) < sum(len(variant["columns"]) for variant in content["variants"].values())


def test_the_page_holds_everything_itself_and_no_text_ends_its_script(explained):
    text = explained[0].read_text()
    assert "Mass &amp; &lt;1&gt;" in text
    assert "made up &lt;/script&gt;" in text
    assert "http:" not in text.replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert "https:" not in text
    json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))
    assert "1 pixel is stored as 0 on mass" in text


@pytest.mark.long
@needs_browser
def test_nothing_is_complained_of_or_fetched_in_any_variant(explained):
    path, ledgers = explained
    with opened(path) as view:
        for name, of in ledgers.items():
            view.page.locator(f'#all button[data-name="{name}"]').click()
            assert view.page.locator("#name").inner_text() == name
            assert view.page.locator("#equation b").inner_text() == fixed(of.loss)
        assert view.complaints == []


@needs_browser
def test_switching_changes_the_headline_to_the_numbers_of_the_ledger(explained):
    path, ledgers = explained
    with opened(path) as view:
        assert view.page.locator("#name").inner_text() == "sm-tversky-sd-nz"
        before = view.page.locator("#equation").inner_text()
        switch(view, core="bce", weighting="s", aggregation="a")
        of = ledgers["sm-bce-s-a"]
        said = view.page.locator("#equation").inner_text()
        assert said != before
        assert said.endswith(f"= {fixed(of.image)} + {fixed(of.ratio)} · {fixed(of.grid)} = {fixed(of.loss)}")
        facts = view.page.locator("#facts").inner_text()
        assert f"{len(of.cells)} of {len(of.cells)}" in facts
        assert f"{of.cells['predicted'].sum()} / {of.cells['true'].sum()} = {fixed(of.S)}" in facts
        switch(view, weighting="none")
        assert view.page.locator("#equation").inner_text() == f"L(P, Y) = {fixed(ledgers['bce'].loss)}"
        assert view.page.locator("input[name=aggregation][value=a]").is_disabled()


@needs_browser
def test_the_soft_form_has_distances_and_headings_of_its_own(explained):
    path, ledgers = explained
    cells = ledgers["soft-sm"].cells
    empty = cells.index[~cells["predicted"] & ~cells["true"]][-1]
    assert cells.loc[empty, "distance"] > 0 == ledgers["sm-tversky-sd-nz"].cells.loc[empty, "distance"]
    with opened(path) as view:
        for name, heading in (("soft-sm", "term of the cell"), ("sm-tversky-sd-nz", "w L / Σ kept")):
            view.page.locator(f'#all button[data-name="{name}"]').click()
            view.page.locator(f'#cells rect[data-i="{empty}"]').hover()
            assert terms(view)["distance d"] == fixed(ledgers[name].cells.loc[empty, "distance"])
            assert view.page.locator("#of-term").inner_text() == heading


@needs_browser
@pytest.mark.parametrize("name", ["sm-tversky-sd-nz", "sm-hybrid-d-a", "dice"])
def test_pointing_at_a_cell_shows_its_terms(explained, name):
    path, ledgers = explained
    cells = ledgers[name].cells
    false_positive = cells.index[cells["predicted"] & ~cells["true"]][-1]
    with opened(path) as view:
        view.page.locator(f'#all button[data-name="{name}"]').click()
        view.page.locator(f'#cells rect[data-i="{false_positive}"]').hover()
        cell, shown = cells.loc[false_positive], terms(view)
        assert view.page.locator("#cell-name").inner_text() == f"Cell in row {cell['row']}, column {cell['col']}"
        assert (shown["true mass"], shown["predicted mass"]) == ("no", "yes")
        assert shown["distance d"] == fixed(cell["distance"])
        assert shown["core loss L of the cell"] == fixed(cell["loss"])
        for by in ("probability", "logit"):
            assert close(shown[f"share of the gradient by {by}"], cell[f"share_of_gradient_by_{by}"])
        if name != "dice":
            assert (shown["weight w"], shown["w L / Σ kept"]) == (fixed(cell["weight"]), fixed(cell["term"]))
            assert close(shown["share of the loss"], cell["share_of_loss"])


@needs_browser
def test_the_keyboard_reaches_every_cell_and_shows_its_terms(explained):
    path, ledgers = explained
    cells = ledgers["sm-tversky-sd-nz"].cells
    columns = cells["col"].max() + 1
    with opened(path) as view:
        assert tabbed(view).count("rect") == 1  # one stop; arrows move within
        view.page.locator('#cells rect[tabindex="0"]').focus()
        view.page.keyboard.press("Home")
        for _ in range(cells["row"].max() + 1):
            view.page.keyboard.press("ArrowUp")
        assert view.page.locator("#cell-name").inner_text() == "Cell in row 0, column 0"
        view.page.keyboard.press("ArrowLeft")  # no further
        view.page.keyboard.press("ArrowDown")
        view.page.keyboard.press("ArrowRight")
        cell, shown = cells.loc[columns + 1], terms(view)
        assert view.page.locator("#cell-name").inner_text() == "Cell in row 1, column 1"
        assert shown["core loss L of the cell"] == fixed(cell["loss"])
        assert shown["kept"] == ("yes" if cell["kept"] else "no")
        focused = view.page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert focused.startswith("row 1, column 1:")
        view.page.keyboard.press("End")
        assert view.page.locator("#cell-name").inner_text() == f"Cell in row 1, column {columns - 1}"


@needs_browser
def test_the_table_holds_all_cells_by_their_share(explained):
    path, ledgers = explained
    cells = ledgers["sm-tversky-sd-nz"].cells
    with opened(path) as view:
        assert view.page.locator("#ledger tbody tr").count() == 25
        view.page.locator("#more").click()
        rows = view.page.locator("#ledger tbody tr").all_inner_texts()
        assert len(rows) == len(cells)
        best = cells.loc[cells["share_of_loss"].idxmax()]
        assert rows[0].startswith(f"{best['row']}, {best['col']}")
        assert fixed(best["term"]) in rows[0]


@pytest.mark.long
@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_small_screens_and_both_colour_schemes_are_readable(explained, dark):
    with opened(explained[0], width=400, dark=dark) as view:
        assert view.overflow == 0
        assert [of for of in contrasts(view) if of["ratio"] < 4.5] == []
        box = view.page.locator("#map").bounding_box()
        assert 0 <= box["x"] <= box["x"] + box["width"] <= 400
        assert view.complaints == []


@needs_browser
def test_the_colours_follow_the_choice(explained):
    path, ledgers = explained
    kept = ledgers["sm-tversky-sd-nz"].cells["kept"]
    with opened(path) as view:
        fills = {}
        for colour in ("share_of_loss", "logit", "kind"):
            view.page.locator("#colour").select_option(colour)
            fills[colour] = [rect.get_attribute("fill") for rect in view.page.locator("#cells rect").all()]
        assert len({tuple(fill) for fill in fills.values()}) == 3
        assert {fill for fill, counts in zip(fills["share_of_loss"], kept, strict=True) if not counts} == {"#000"}
        assert set(fills["kind"]) <= {"#ffd92f", "#2fb344", "#ff7a1a", "#000"}


@needs_browser
def test_an_address_names_its_variant(explained):
    path, ledgers = explained
    with opened(path) as view:
        view.page.goto(f"{path.resolve().as_uri()}#sm-dice-b-a")
        view.page.reload()
        assert view.page.locator("#equation b").inner_text() == fixed(ledgers["sm-dice-b-a"].loss)


@needs_browser
def test_cells_that_are_too_small_to_point_at_are_shown_near_the_masses_first(tmp_path):
    labels = np.zeros((104, 104), np.uint8)
    labels[40:44, 60:64] = 1
    subject = Subject("small", labels * 200, labels, np.where(labels, 0.9, 0.1), "probabilities of 16 bits")
    path, _ = written(tmp_path / "page.html", subject, family("sm-bce-b-nz"))
    with opened(path) as view:
        shown = [int(side) for side in view.page.locator("#map").get_attribute("viewBox").split()]
        assert shown[0] <= 60 <= 64 <= shown[0] + shown[2] < 104
        assert shown[1] <= 40 <= 44 <= shown[1] + shown[3] < 104
        view.page.locator("#near").uncheck()
        assert view.page.locator("#map").get_attribute("viewBox") == "0 0 104 104"
