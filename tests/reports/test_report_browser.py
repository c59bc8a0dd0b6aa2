"""The report in a real browser: nothing fails, nothing is fetched, all can be read narrow, dark and by keyboard."""

from itertools import pairwise

import pytest

from browser import contrasts, needs_browser, opened, tabbed
from made_up_reports import write_drawn_runs
from massmatch.reports.page import write_report
from massmatch.runs.collection import collect

pytestmark = needs_browser
LEAST_CONTRAST = 4.5  # WCAG 2.1, 1.4.3, level AA


@pytest.fixture(scope="module")
def page(cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("page")
    write_drawn_runs(out / "runs", cohort)
    write_report(out / "report.html", collect(out / "runs"), cohort, draws=100, pictures=1)
    return out / "report.html"


def unfold(view):
    """Open everything that is folded."""
    view.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_its_window_and_complains_of_nothing(page, width):
    with opened(page, width=width) as view:
        unfold(view)
        view.page.mouse.wheel(0, 10_000)
        assert view.complaints == []
        assert view.overflow == 0
        assert view.page.title() == "Losses on tiny"


def test_what_is_wider_than_a_narrow_window_scrolls_in_its_own_box(page):
    inside = """() => [...document.querySelectorAll("table, pre, .ranks svg")].filter((each) => {
      const box = each.closest(".scroll, pre");
      return !box || !["auto", "scroll"].includes(getComputedStyle(box).overflowX);
    }).length"""
    with opened(page, width=400) as view:
        unfold(view)
        assert view.page.locator("table").count() > 5
        assert view.page.evaluate(inside) == 0


@pytest.mark.long
@pytest.mark.parametrize("dark", [False, True])
def test_every_text_stands_out_from_its_ground(page, dark):
    with opened(page, dark=dark) as view:
        unfold(view)
        found = contrasts(view)
        assert len(found) > 300
        assert [each for each in found if each["ratio"] < LEAST_CONTRAST] == []


def test_dark_mode_is_dark(page):
    ground = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    with opened(page, dark=True) as view:
        assert max(view.page.evaluate(ground)) < 60
    with opened(page) as view:
        assert min(view.page.evaluate(ground)) > 240


@pytest.mark.long
def test_the_keyboard_reaches_the_navigation_and_every_table(page):
    with opened(page) as view:
        reached = tabbed(view, most=400)
        assert reached[0] == "a.skip"
        links = view.page.locator("nav a").count()
        assert reached[1 : 1 + links] == ["a"] * links
        boxes = view.page.locator("main > section > .scroll, main > section > figure > .scroll").count()
        assert boxes > 5
        assert sum(each.startswith("div.scroll") for each in reached) == boxes
        assert reached.count("summary") == view.page.locator("summary").count()


def test_the_skip_link_leads_to_the_summary(page):
    with opened(page) as view:
        view.page.keyboard.press("Tab")
        view.page.keyboard.press("Enter")
        assert view.page.evaluate("document.activeElement.id") == "summary"


def test_every_chart_and_picture_has_a_name_in_words(page):
    nameless = """() => [...document.querySelectorAll("svg[role=img]")]
      .filter((each) => !(each.getAttribute("aria-label") || "").match(/\\w+ \\w+|: \\S/))
      .map((each) => each.outerHTML)"""
    hidden = """() => [...document.querySelectorAll("main svg:not([role=img])")]
      .filter((each) => !each.parentElement.closest("svg, [aria-hidden=true]")).length"""
    with opened(page) as view:
        assert view.page.locator("svg[role=img]").count() > 40
        assert view.page.evaluate(nameless) == []
        assert view.page.evaluate(hidden) == 0


def test_headings_step_down_one_by_one(page):
    with opened(page) as view:
        levels = view.page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((each) => +each.tagName[1])")
        assert levels[:2] == [1, 2]
        assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_navigation_stays_in_sight(page):
    with opened(page) as view:
        view.page.locator("#methods").scroll_into_view_if_needed()
        assert view.page.locator("nav").bounding_box()["y"] == pytest.approx(0, abs=1)


def test_a_click_on_a_heading_sorts_its_table_and_another_turns_it_round(page):
    read = "[...document.querySelectorAll('table.sortable')][0].tBodies[0].innerText"
    with opened(page) as view:
        names = [view.page.evaluate(read).split("\n")[0]]
        button = view.page.locator("table.sortable").first.locator("thead button").nth(2)
        for direction in ("descending", "ascending"):
            button.click()
            heading = view.page.locator("table.sortable").first.locator("th[aria-sort]")
            assert heading.get_attribute("aria-sort") == direction
            names.append(view.page.evaluate(read).split("\n")[0])
        assert names[1] != names[2]
        assert view.complaints == []


def test_pictures_draw_truth_in_green_and_prediction_in_blue(page):
    stroke = "(name) => getComputedStyle(document.querySelector('path.' + name)).stroke"
    with opened(page) as view:
        red, green, blue = eval(view.page.evaluate(stroke, "truth").removeprefix("rgb"))
        assert green > max(red, blue)
        red, green, blue = eval(view.page.evaluate(stroke, "prediction").removeprefix("rgb"))
        assert blue > max(red, green)
        shown = view.page.evaluate("document.querySelector('.pictures use').getBoundingClientRect().width")
        assert shown > 50


def test_print_leaves_the_navigation_out(page):
    with opened(page, media="print") as view:
        assert not view.page.locator("nav").is_visible()
