"""The loss bench in a browser: painting changes values, a link holds the state, and nothing breaks at 400 px."""

import pytest

from browser import contrasts, needs_browser, opened, until
from massmatch.app.server import build
from serving import served

pytestmark = needs_browser
TEXTS = "[...document.querySelectorAll('.value')].map((each) => each.textContent)"


@pytest.fixture(scope="module")
def address():
    with served(build()) as found:
        yield found


def values(view):
    until(view, f"() => {TEXTS}.length > 0 && {TEXTS}.every(Boolean)")
    return view.page.locator(".value").all_text_contents()


def changed(view, before):
    until(view, f"(before) => {TEXTS}.join() !== before", ",".join(before))
    return values(view)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (400, True)])
def test_the_page_is_whole_at_any_width_light_and_dark(address, width, dark):
    with opened(f"{address}/bench", width=width, dark=dark) as view:
        assert len(values(view)) == 3
        assert view.complaints == []
        assert view.overflow == 0
        assert [each for each in contrasts(view) if each["ratio"] < 4.5] == []


def test_a_pair_of_the_figure_is_the_same_for_bce_and_not_for_its_cells(address):
    with opened(f"{address}/bench") as view:
        left = values(view)
        view.page.get_by_role("button", name="a right").click()
        right = changed(view, left)
        assert left[0] == right[0]
        assert left[1] != right[1]
        assert "one of the same area" in view.page.locator("#claim").text_content()


def test_painting_moving_and_undoing(address):
    with opened(f"{address}/bench") as view:
        first = values(view)
        view.page.locator("#painted").focus()
        view.page.keyboard.press("Shift+ArrowDown")
        moved = changed(view, first)
        view.page.get_by_role("button", name="paint").click()
        box = view.page.locator("#painted").bounding_box()
        view.page.mouse.move(box["x"] + 50, box["y"] + 50)
        view.page.mouse.down()
        view.page.mouse.move(box["x"] + 150, box["y"] + 90, steps=5)
        view.page.mouse.up()
        changed(view, moved)
        for _ in range(2):
            view.page.get_by_role("button", name="undo").click()
        until(view, f"(first) => {TEXTS}.join() === first", ",".join(first))
        assert view.complaints == []


def test_a_link_holds_the_state(address):
    with opened(f"{address}/bench") as view:
        values(view)
        view.page.get_by_role("button", name="c left").click()
        view.page.locator(".card input").first.fill("sm-tversky-s-a:smooth=0.1")
        view.page.locator(".card input").first.press("Enter")
        view.page.locator("#view").select_option("weight")
        until(view, "() => location.hash.includes('v=weight') && location.hash.includes('smooth')")
        until(view, "() => document.querySelector('#cards').getAttribute('aria-busy') === 'false'")
        link, told = view.page.evaluate("location.href"), values(view)
    with opened(link) as view:
        assert values(view) == told
        assert view.page.locator(".card input").first.input_value() == "sm-tversky-s-a:smooth=0.1"
        assert view.page.locator("#view").input_value() == "weight"


@pytest.mark.parametrize("hash", ["#t=5&p=5", "#t=zz.-1&p=x", "#t=&p=", "#l=bce"])
def test_a_broken_link_is_said_and_the_page_goes_on(address, hash):
    with opened(f"{address}/bench{hash}") as view:
        assert len(values(view)) == 3
        assert view.page.locator("#wrong").is_visible() == ("t=" in hash)


def test_a_loss_that_is_not_there_is_said_on_its_card(address):
    with opened(f"{address}/bench") as view:
        values(view)
        view.page.locator(".card input").first.fill("bcee")
        view.page.locator(".card input").first.press("Enter")
        view.page.locator(".card .warning").first.wait_for(state="visible")
        assert "did you mean 'bce'" in view.page.locator(".card .warning").first.text_content()


def test_pointing_at_a_cell_reads_it(address):
    with opened(f"{address}/bench") as view:
        values(view)
        view.page.locator(".card canvas").nth(1).hover()
        until(view, "() => document.querySelectorAll('.at')[1].textContent.includes('weight')")
