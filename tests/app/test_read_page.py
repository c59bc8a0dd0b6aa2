"""The page "Read" in a browser: files become outlines and rows, keys and sliders work, broken files are said."""

import numpy as np
import pytest
from PIL import Image

from browser import contrasts, needs_browser, opened, tabbed, until
from mammograms import mammogram, write_dicom
from massmatch.app.server import build
from serving import served

pytestmark = needs_browser


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A mammogram with a bright disc as DICOM and as PNG, and a broken file."""
    folder = tmp_path_factory.mktemp("files")
    image = mammogram(640, 480)
    row, col = np.mgrid[:640, :480]
    image[np.hypot(row - 300, col - 140) < 30] = 6000
    write_dicom(folder / "a.dcm", image, ImagerPixelSpacing=[0.2, 0.2])
    Image.fromarray(image).save(folder / "b.png")
    (folder / "c.png").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def address():
    with served(build()) as found:
        yield found


def read(view, *paths):
    view.page.locator("#choose").set_input_files(list(paths))
    until(view, f"() => document.querySelectorAll('#files button').length === {len(paths)}")
    until(view, "() => !document.querySelector('#files').textContent.includes(': waiting')")
    until(view, "() => document.querySelector('#findings tr') && !document.querySelector('#busy').textContent")


def threshold(view):
    return float(view.page.locator("#probability").text_content())


@pytest.mark.parametrize(("width", "dark"), [(1280, True), (400, False)])
def test_a_file_is_read_at_any_width_light_and_dark(address, files, width, dark):
    with opened(f"{address}/read", width=width, dark=dark) as view:
        read(view, files / "a.dcm")
        assert "128 × 96 mm" in view.page.locator("#about").text_content()
        assert view.page.locator("#keep a:visible").count() == 6
        assert view.complaints == []
        assert view.overflow == 0
        assert [each for each in contrasts(view) if each["ratio"] < 4.5] == []
        assert "input#choose.unseen" in tabbed(view)


def test_picture_findings_and_files_are_of_the_file_opened_last_even_if_an_earlier_one_comes_late(address, files):
    with opened(f"{address}/read") as view:
        read(view, files / "b.png", files / "a.dcm")
        until(view, "() => document.querySelector('#files button').getAttribute('aria-pressed') === 'true'")
        view.page.evaluate("""() => {
            const whole = Response.prototype.arrayBuffer;
            let late = true;
            Response.prototype.arrayBuffer = async function () {
                const first = late;
                late = false;
                const got = await whole.call(this);
                if (first) await new Promise((go) => { window.comes = () => { go(); window.came = true; }; });
                return got;
            };
        }""")
        for number in (0, 1):
            view.page.locator("#files button").nth(number).click()
        until(view, "() => document.querySelector('#about').textContent.includes('128 × 96 mm') && !!window.comes")
        view.page.evaluate("() => window.comes()")
        until(view, "() => !!window.came")
        view.page.wait_for_timeout(100)
        assert "128 × 96 mm" in view.page.locator("#about").text_content()
        pressed = [each.get_attribute("aria-pressed") for each in view.page.locator("#files button").all()]
        assert pressed == ["false", "true"]
        assert view.page.locator("#keep a:visible").count() == 6  # DICOM, too


@pytest.mark.parametrize("answer", ["refused", "none"])
def test_findings_that_cannot_be_had_leave_none_of_another_image(address, files, answer):
    with opened(f"{address}/read") as view:
        read(view, files / "a.dcm", files / "b.png")
        assert view.page.locator("#findings tr").count() > 1
        view.page.route(
            "**/findings*",
            lambda route: route.fulfill(status=400, json={"error": "gone"}) if answer == "refused" else route.abort(),
        )
        view.page.locator("#files button").nth(1).click()
        until(view, "() => !document.querySelector('#wrong').hidden")
        assert view.page.locator("#findings tr").count() == 0
        assert view.page.locator("#note").text_content() == ""


def test_the_threshold_moves_the_findings(address, files):
    with opened(f"{address}/read") as view:
        read(view, files / "a.dcm")
        first, rows = threshold(view), view.page.locator("#findings").text_content()
        for _ in range(3):
            view.page.keyboard.press("]")
        assert threshold(view) > first
        link = view.page.locator("#keep a").first.get_attribute("href")
        assert float(link.partition("threshold=")[2]) == pytest.approx(threshold(view), rel=1e-2)
        view.page.locator("#threshold").fill("9")
        until(view, "(rows) => document.querySelector('#findings').textContent !== rows", rows)
        view.page.get_by_role("button", name="the network's own").click()
        assert threshold(view) == first
        until(view, "(rows) => document.querySelector('#findings').textContent === rows", rows)
        with view.page.expect_download() as kept:
            view.page.get_by_role("link", name="DICOM SR").click()
        assert kept.value.suggested_filename.endswith("_sr.dcm")


def test_several_files_and_a_broken_one(address, files):
    with opened(f"{address}/read") as view:
        read(view, files / "c.png", files / "a.dcm", files / "b.png")
        view.page.keyboard.press("n")
        until(view, "() => document.querySelector('#files [aria-pressed=true]').textContent.startsWith('b.png')")
        until(view, "() => document.querySelector('#about').textContent.includes('size in mm not known')")
        assert view.page.locator("#keep a:visible").count() == 4
        view.page.locator("#files button").first.click()
        until(view, "() => document.querySelector('#wrong').textContent.startsWith('c.png: cannot be read')")
        assert view.fetched == []


def test_zoom_window_and_move_change_the_picture(address, files):
    picture = "() => document.querySelector('#shown').toDataURL().length + document.querySelector('#shown').toDataURL()"
    with opened(f"{address}/read") as view:
        read(view, files / "a.dcm")
        view.page.wait_for_timeout(200)
        seen = {view.page.evaluate(picture)}
        box = view.page.locator("#shown").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        view.page.mouse.move(x, y)
        view.page.mouse.wheel(0, -300)
        view.page.wait_for_timeout(200)
        seen.add(view.page.evaluate(picture))
        for button in ("left", "right"):
            view.page.mouse.move(x, y)
            view.page.mouse.down(button=button)
            view.page.mouse.move(x + 60, y + 40, steps=3)
            view.page.mouse.up(button=button)
            view.page.wait_for_timeout(200)
            seen.add(view.page.evaluate(picture))
        view.page.keyboard.press("o")
        view.page.wait_for_timeout(200)
        seen.add(view.page.evaluate(picture))
        assert len(seen) == 5
        assert view.complaints == []
