"""Take the screenshots of docs/explore.md and README in headless Chromium: `make screenshots`.

README's are those of a review page, if there is one; docs/screenshots.json records the text in each
screenshot, and the files that they were made from.
"""

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import matplotlib as mpl
from playwright.sync_api import Browser, Page, sync_playwright

from autoencoder.base.cli import make_parser, run
from autoencoder.base.errors import UserError, one_line
from autoencoder.base.files import atomic_write, file_digest
from autoencoder.data import table
from autoencoder.network.model import Autoencoder
from tools.explore import page_facts, write

log = logging.getLogger(__name__)

MODEL, TEST = "models/autoencoder.safetensors", "data/test.csv"
SOURCES = ("tools/explore.html", "tools/explore.py", "tools/screenshots.py")
REVIEW = Path("review/index.html")
REVIEW_SOURCES = ("tools/review/review.html", "tools/review/report.py", "metrics/test.json")
RECORD = "screenshots.json"

WIDTH, REVIEW_WIDTH = 1180, 680
HEIGHT = 1600  # of the window, in which all that is drawn or pointed at is visible
MARGIN = 16  # above and below what is shown
# A three, as shares of the drawing pad.
STROKE_X = (0.3, 0.45, 0.65, 0.68, 0.5, 0.68, 0.7, 0.58, 0.4, 0.3)
STROKE_Y = (0.27, 0.17, 0.25, 0.36, 0.48, 0.58, 0.7, 0.82, 0.82, 0.72)
POINTED_AT = 311  # which dot of the map shows its image


def chromium_path() -> str:
    """Return the path of Chromium; a UserError if there is none."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise UserError("no Chromium on PATH (Debian: apt-get install chromium libatomic1)")
    return path


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium without a window."""
    path = chromium_path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def draw_three(page: Page) -> None:
    """Draw a three on the pad."""
    box = page.locator("#pad").bounding_box()
    if box is None:
        raise RuntimeError("the drawing pad is not visible")
    first, *others = (
        (box["x"] + x * box["width"], box["y"] + y * box["height"])
        for x, y in zip(STROKE_X, STROKE_Y, strict=True)
    )
    page.mouse.move(*first)
    page.mouse.down()
    for point in others:
        page.mouse.move(*point)
    page.mouse.up()
    page.mouse.move(0, 0)


def position_on_map(page: Page, index: int) -> tuple[float, float]:
    """Return where in the window a dot of the map is."""
    x, y = page.evaluate(
        """index => {
            const box = document.getElementById("map").getBoundingClientRect();
            const [x, y] = place(mapPoints[index], box.width, box.height);
            return [box.left + x, box.top + y];
        }""",
        index,
    )
    return x, y


def point_at_the_map(page: Page) -> None:
    """Move the mouse to a dot of the map, which shows its image."""
    page.mouse.move(*position_on_map(page, POINTED_AT))


# For each screenshot, what is done first, where it begins, and the elements that it shows.
SHOTS = {
    "explore-code.png": (draw_three, "h1", ("h1", "h1 + p", ".explorer")),
    "explore-map.png": (point_at_the_map, "#map-title", (".two",)),
}

# Of a review, what README shows.
REVIEW_SHOWN = ("h1", ".verdict", "#metrics", ".drawn:nth-of-type(2)")


@contextmanager
def opened(
    browser: Browser, file: Path, width: int, scheme: Literal["light", "dark"]
) -> Iterator[Page]:
    """Open a page, with the same font everywhere, so that screenshots have the same size."""
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHT},
        color_scheme=scheme,
        reduced_motion="reduce",
        offline=True,
    )
    page = context.new_page()
    page.goto(file.resolve().as_uri())
    fonts = Path(mpl.get_data_path()) / "fonts/ttf"
    style = "* { font-family: Shown !important; }"
    for weight, name in (("normal", "DejaVuSans.ttf"), ("bold", "DejaVuSans-Bold.ttf")):
        source = f"url({(fonts / name).as_uri()})"
        style += f"@font-face {{ font-family: Shown; font-weight: {weight}; src: {source}; }}"
    page.add_style_tag(content=style)
    page.evaluate("document.fonts.ready.then(() => true)")
    yield page
    context.close()


def take_review(browser: Browser, page_file: Path, directory: Path) -> dict[str, str]:
    """Take the screenshots of the main parts of a review, light and dark; return their text."""
    texts = {}
    for scheme in ("light", "dark"):
        with opened(browser, page_file, REVIEW_WIDTH, scheme) as page:
            page.evaluate(
                """shown => {
                    for (const element of document.querySelectorAll("body > *"))
                        if (!shown.some(selector => element.matches(selector))) element.remove();
                    for (const row of document.querySelectorAll("#metrics tbody tr"))
                        if (!/[↓↑]/.test(row.cells[0].textContent)) row.remove();  // baselines
                }""",
                list(REVIEW_SHOWN),
            )
            name, body = f"review-{scheme}.png", page.locator("body")
            texts[name] = one_line(body.inner_text())
            with atomic_write(directory / name) as partial:
                partial.write_bytes(body.screenshot())
    return texts


def take(browser: Browser, page_file: Path, directory: Path) -> dict[str, str]:
    """Take the screenshots of a page of `make explore`; return the text in each one."""
    texts = {}
    for name, (act, first, shown) in SHOTS.items():
        with opened(browser, page_file, WIDTH, "light") as page:
            page.wait_for_function("window.autoencoder")
            page.locator(shown[-1]).scroll_into_view_if_needed()
            act(page)
            page.wait_for_function("endsLeft === 0")
            texts[name] = one_line(" ".join(page.locator(part).inner_text() for part in shown))
            edges = """([first, last]) => [
                scrollY + document.querySelector(first).getBoundingClientRect().top,
                scrollY + document.querySelector(last).getBoundingClientRect().bottom,
            ]"""
            top, bottom = page.evaluate(edges, [first, shown[-1]])
            height = bottom - top + 2 * MARGIN
            picture = page.screenshot(
                full_page=True, clip={"x": 0, "y": top - MARGIN, "width": WIDTH, "height": height}
            )
            with atomic_write(directory / name) as partial:
                partial.write_bytes(picture)
    return texts


def main() -> None:
    """Write the page of the current model to a temporary directory and take the screenshots."""
    parser = make_parser(__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs"), help="directory (%(default)s)")
    directory = parser.parse_args().out
    model, (labels, images) = Autoencoder.load(MODEL), table.read(Path(TEST))
    with tempfile.TemporaryDirectory() as temporary, chromium() as browser:
        page_file = Path(temporary) / "index.html"
        write(page_file, page_facts(model, labels, images, model.training_noise))
        texts = take(browser, page_file, directory)
        sources = [MODEL, TEST, *SOURCES]
        if REVIEW.exists():
            texts |= take_review(browser, REVIEW, directory)
            sources += REVIEW_SOURCES
    made_from = {path: file_digest(Path(path), "md5") for path in sources}
    with atomic_write(directory / RECORD) as partial:
        partial.write_text(json.dumps({"md5": made_from, "text": texts}, indent=2) + "\n")
    log.info("%s", ", ".join(str(directory / name) for name in (*texts, RECORD)))


if __name__ == "__main__":
    run(main)
