import base64
import io
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from helpers.digits import draw_digits, named
from helpers.networks import network, parameters
from helpers.pages import Opener, contrast
from helpers.project import ROOT, Project
from PIL import Image
from playwright.sync_api import Browser, Page
from torch import Tensor

from autoencoder.base.params import Activation
from autoencoder.data import table
from autoencoder.network.model import Autoencoder, to_unit_range
from autoencoder.network.trainer import build_network
from autoencoder.plots import CODE_COLOURS, code_grid
from tools.explore import (
    MAP_IMAGES,
    affine_layers,
    choose_rows,
    effects,
    page_facts,
    principal_components,
    write,
)
from tools.screenshots import position_on_map

HOSTILE = ["<script>alert(1)</script>", "</script><b>", "it's &amp; ${name}", "x" * 64]

LABELS, IMAGES = named(draw_digits(120, seed=3))


def trained(
    z_size: int = 32,
    activation: Activation = "sigmoid",
    steps: int = 30,
    hidden_sizes: tuple[int, ...] = (64, 32),
) -> Autoencoder:
    """A network after a few steps: its codes and reconstructions tell images apart."""
    pixels = torch.from_numpy(IMAGES)
    shape = parameters(hidden_sizes=hidden_sizes, z_size=z_size, activation=activation)
    model = build_network(pixels, shape).plain()
    x = to_unit_range(pixels)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model(x), x).backward()
        optimizer.step()
    return model.eval()


def relabelled(names: list[str]) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    """The labels of the digits, the first ones renamed."""
    renamed = dict(zip("0123456789", [*names, *"0123456789"[len(names) :]], strict=True))
    return np.array([renamed[label] for label in LABELS])


# Without a browser


def test_the_page_has_the_layers_of_the_network() -> None:
    model = network(torch.from_numpy(IMAGES), z_size=5).plain()
    layers = affine_layers(model)
    sizes = [784, 64, 32, 5, 32, 64, 784]
    assert [(layer["inputs"], layer["outputs"]) for layer in layers] == [*pairwise(sizes)]


def test_the_effect_of_a_number_is_that_of_its_images() -> None:
    model = network(torch.from_numpy(IMAGES), z_size=3).plain()
    with torch.no_grad():
        weight = model.get_parameter("decoder.0.weight")
        weight[:, 1] = 0  # z1 changes nothing
        weight[:, 2] *= 3
    codes = np.full((4, 3), 0.5, np.float32)
    low, high = np.full(3, 0.2, np.float32), np.full(3, 0.8, np.float32)
    found = effects(model, codes, low, high)
    assert found[1] == 0
    assert found[2] > found[0] > 0
    code = torch.full((1, 3), 0.5)
    images = [model.decode(code.clone().index_fill_(1, torch.tensor([2]), v)) for v in (0.2, 0.8)]
    expected = (images[1] - images[0]).square().mean().sqrt().item()
    assert found[2] == pytest.approx(expected, rel=1e-4)


def test_the_map_shows_the_directions_of_most_variance() -> None:
    rng = np.random.default_rng(0)
    codes = (rng.normal(size=(500, 3)) * [0.1, 2, 1]).astype(np.float32)
    components = principal_components(codes)
    assert np.abs(components) == pytest.approx(np.array([[0, 1, 0], [0, 0, 1]]), abs=0.15)
    assert components.max(1) == pytest.approx(np.abs(components).max(1))


@pytest.mark.parametrize(("count", "z_size"), [(1, 5), (5, 1), (2, 2)])
def test_few_codes_and_small_ones_have_a_map(count: int, z_size: int) -> None:
    codes = np.random.default_rng(0).random((count, z_size), np.float32)
    assert principal_components(codes).shape == (2, z_size)


def test_every_class_is_on_the_map_and_the_worst_images_are_in_the_page() -> None:
    labels = np.array(["common"] * 5000 + ["rare"])
    bce = np.arange(5001.0)[::-1].copy()
    bce[4000] = 10000
    rows, worst = choose_rows(labels, bce)
    assert 5000 in rows[:MAP_IMAGES]
    assert len(set(rows)) == len(rows)
    assert rows[worst[:3]].tolist() == [4000, 0, 1]


@pytest.mark.process
def test_the_command_writes_the_page_or_one_line(tmp_path: Path) -> None:
    model, test, out = tmp_path / "m.safetensors", tmp_path / "test.csv", tmp_path / "a/page.html"
    network(torch.from_numpy(IMAGES)).save(model, {"parameters": {"noise": 0.5}})
    table.write(test, [(LABELS, IMAGES)])
    command = ["tools.explore", *map(str, ("--model", model, "--test", test, "--out", out))]
    Project(ROOT).run_module(*command)
    assert "trained to remove noise of 0.5" in out.read_text()
    page = out.read_bytes()
    test.write_text("label\n")
    message = Project(ROOT).run_module(*command, status=1)
    assert re.fullmatch(r"error: .*test\.csv: line 1.*\n", message)
    assert out.read_bytes() == page
    message = Project(ROOT).run_module(*command[:-1], str(model), status=1)
    assert message.startswith(f"error: {model}: --out would overwrite --model")


# In a browser


@pytest.fixture(scope="module")
def model() -> Autoencoder:
    return trained()


@pytest.fixture(scope="module")
def page_file(model: Autoencoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explore") / "index.html"
    write(path, page_facts(model, LABELS, IMAGES, noise=0))
    return path


def opened(open_page: Opener, file: Path, **options: Any) -> Page:
    """The page when its script has run."""
    page = open_page(file, **options)
    page.wait_for_function("window.autoencoder")
    return page


@pytest.fixture
def page(open_page: Opener, page_file: Path) -> Page:
    return opened(open_page, page_file)


def assert_same_numbers(page: Page, model: Autoencoder, images: Tensor) -> None:
    """Codes within 0.01 and pixels within 2 of 255 of PyTorch's."""
    x = to_unit_range(images)
    with torch.no_grad():
        codes = model.encode(x)
        pixels = model.decode(codes)
    found_codes = np.array(page.evaluate("xs => xs.map(autoencoder.encode)", x.tolist()))
    found_pixels = np.array(page.evaluate("zs => zs.map(autoencoder.decode)", codes.tolist()))
    assert np.abs(found_codes - codes.numpy()).max() < 0.01
    assert np.abs(found_pixels - pixels.numpy()).max() < 2 / 255
    both = page.evaluate("xs => xs.map(x => autoencoder.decode(autoencoder.encode(x)))", x.tolist())
    assert np.abs(np.array(both) - pixels.numpy()).max() < 2 / 255


def test_the_numbers_are_those_of_pytorch(page: Page, model: Autoencoder) -> None:
    assert_same_numbers(page, model, torch.from_numpy(IMAGES[:30]))
    assert page.evaluate("images.map(image => Array.from(image, x => Math.round(255 * x)))") == (
        IMAGES.tolist()
    )


@pytest.mark.parametrize(
    ("z_size", "activation"),
    [
        (70, "gelu"),
        pytest.param(1, "sigmoid", marks=pytest.mark.slow),
        pytest.param(4096, "sigmoid", marks=pytest.mark.slow),
        pytest.param(8, "relu", marks=pytest.mark.slow),
        pytest.param(8, "tanh", marks=pytest.mark.slow),
        pytest.param(8, "silu", marks=pytest.mark.slow),
    ],
)
def test_any_model_has_its_page(
    open_page: Opener, tmp_path: Path, z_size: int, activation: Activation
) -> None:
    model = trained(z_size, activation, steps=3, hidden_sizes=(512, 256))
    file = tmp_path / "page.html"
    write(file, page_facts(model, LABELS[:5], IMAGES[:5], noise=0.5))
    page = opened(open_page, file)
    assert_same_numbers(page, model, torch.from_numpy(IMAGES[:5]))
    assert page.locator(".sliders input").count() == min(z_size, 64)
    assert page.locator(".sliders input:visible").count() == min(z_size, 16)
    more = page.locator("#more summary")
    assert more.all_inner_texts() == (
        [f"{min(z_size, 64) - 16} more, which change the image less"] if z_size > 16 else []
    )
    said = "numbers that matter most" in page.locator("#sliders-text").inner_text()
    assert said == (z_size > 64)
    assert page.locator("#noise").input_value() == "0.5"
    page.get_by_role("button", name="Random code").click()


def picture(page: Page, name: str) -> str:
    """What a canvas shows."""
    data: str = page.locator(name).evaluate("canvas => canvas.toDataURL()")
    return data


def changes(page: Page, name: str, act: Callable[[], object]) -> bool:
    before = picture(page, name)
    act()
    return picture(page, name) != before


def bce(page: Page) -> float:
    return float(page.locator("#reconstruction-text").inner_text().removeprefix("BCE "))


def test_picking_an_image_shows_it_with_its_bce(page: Page, model: Autoencoder) -> None:
    page.locator("#group").select_option(label="class 3")
    button = page.locator("#thumbs button").nth(2)
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    text = page.locator("#image-text").inner_text()
    row = int(text.split()[1].rstrip(",")) - 1
    assert LABELS[row] == "3"
    x = to_unit_range(torch.from_numpy(IMAGES[row : row + 1]))
    with torch.no_grad():
        expected = torch.nn.functional.binary_cross_entropy_with_logits(model(x), x).item()
    assert bce(page) == pytest.approx(expected, abs=1e-4)
    page.locator("#group").select_option(label="worst reconstructions")
    page.locator("#thumbs button").first.click()
    assert bce(page) > expected


def test_sliders_change_the_reconstruction_and_are_reset(page: Page) -> None:
    reset = page.get_by_role("button", name="Reset to")
    assert reset.is_disabled()
    before = picture(page, "#reconstruction")
    slider = page.locator(".sliders input").first
    item = page.locator(".sliders li").first
    for end, index in (("low", 0), ("high", 1)):
        page.wait_for_function("endsLeft === 0")
        shown = item.locator("canvas").nth(index).evaluate("canvas => canvas.toDataURL()")
        value = item.get_attribute(f"data-{end}")
        # The picture at the end is what the value does; a slider has steps of 0.005.
        slider.evaluate(
            "(input, value) => { input.step = 'any'; input.value = value;"
            " input.dispatchEvent(new Event('input')); }",
            value,
        )
        assert picture(page, "#reconstruction") == shown != before
    reset.click()
    assert picture(page, "#reconstruction") == before
    assert changes(
        page, "#reconstruction", lambda: page.get_by_role("button", name="Random code").click()
    )


def test_sliders_are_ordered_by_what_they_do(page: Page) -> None:
    """The first ones change the mean reconstruction more than the last ones, here in one image."""
    page.wait_for_function("endsLeft === 0")
    effect = page.evaluate(
        """() => sliders.map(({ number, ends }) => {
            const [low, high] = ends.map(([, value]) => {
                const code = state.imageCode.slice();
                code[number] = value;
                return autoencoder.decode(code);
            });
            return low.reduce((sum, x, i) => sum + (x - high[i]) ** 2, 0);
        })"""
    )
    assert sum(effect[:8]) > sum(effect[-8:])


def test_noise_is_added_to_the_input(page: Page) -> None:
    noise = page.locator("#noise")
    assert changes(page, "#image", lambda: noise.fill("0.5"))
    assert page.locator("#noise-text").inner_text() == "0.50"
    assert page.evaluate("state.noisy.every((x, i) => x >= state.pixels[i] && x <= 1)")
    noise.fill("0")
    assert page.evaluate("state.noisy.every((x, i) => x === state.pixels[i])")


def drag(page: Page, points: list[tuple[float, float]]) -> None:
    """Draw on the pad; coordinates as shares of it."""
    pad = page.locator("#pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*at[0])
    page.mouse.down()
    for x, y in at[1:]:
        page.mouse.move(x, y, steps=4)
    page.mouse.up()


def test_a_drawing_is_normalised_like_mnist(page: Page) -> None:
    drag(page, [(0.1, 0.1), (0.1, 0.3), (0.15, 0.35)])
    assert page.locator("#image-text").inner_text() == "your drawing"
    image = np.array(page.evaluate("Array.from(state.pixels)")).reshape(28, 28)
    rows, columns = np.nonzero(image)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    centre = [(image.sum(axis) @ (np.arange(28) + 0.5)) / image.sum() for axis in (0, 1)]
    assert centre == pytest.approx([14, 14], abs=0.51)
    assert ((image > 0.05) & (image < 0.95)).any(), "not anti-aliased"
    assert picture(page, "#normalised") == picture(page, "#image")
    assert "with a drawing" in (page.locator("#pad").get_attribute("aria-label") or "")
    drag(page, [(0.8, 0.8), (0.9, 0.9)])  # a second stroke is added
    assert np.count_nonzero(page.evaluate("Array.from(state.pixels)")) != np.count_nonzero(image)
    assert changes(page, "#pad", lambda: page.get_by_role("button", name="Clear").click())
    assert page.evaluate("normalise(new Float32Array(100), 10)") is None


@pytest.mark.slow
def test_a_finger_draws_and_does_not_scroll(open_page: Opener, page_file: Path) -> None:
    page = opened(open_page, page_file, width=390, touch=True)
    page.locator("#pad").scroll_into_view_if_needed()
    box = page.locator("#pad").bounding_box()
    assert box
    finger = page.context.new_cdp_session(page)
    scrolled = page.evaluate("scrollY")

    def draw() -> None:
        for kind, share in (("touchStart", 0.2), ("touchMove", 0.5), ("touchMove", 0.8)):
            point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + share * box["height"]}
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    assert changes(page, "#normalised", draw)
    assert page.locator("#image-text").inner_text() == "your drawing"
    # Scrolling would move it by more than half of the pad; a longer caption moves it a little.
    assert abs(page.evaluate("scrollY") - scrolled) < 50


PROTECTED = """
const refuse = () => { throw new DOMException("refused", "SecurityError"); };
const random = data => { for (let i = 0; i < data.length; i++) data[i] = 256 * Math.random(); };
const protect = {
    "low bits": data => { for (let i = 0; i < data.length; i++) data[i] ^= Math.random() < 0.5; },
    random,
    white: data => data.fill(255),
    refused: () => refuse(),
}[KIND];
const read = CanvasRenderingContext2D.prototype.getImageData;
CanvasRenderingContext2D.prototype.getImageData = function (...place) {
    const picture = read.apply(this, place);
    protect(picture.data);
    return picture;
};
for (const name of ["toDataURL", "toBlob"]) HTMLCanvasElement.prototype[name] = refuse;
"""


@pytest.mark.parametrize(
    "kind",
    [
        "low bits",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("random", "white", "refused")),
    ],
)
def test_a_browser_that_protects_its_canvas_shows_the_same_numbers(
    open_page: Opener, page_file: Path, kind: str
) -> None:
    """As Firefox's strict mode, LibreWolf, Tor and Brave do: no number comes from a canvas."""

    def numbers(page: Page) -> tuple[object, ...]:
        picked = bce(page)
        drag(page, [(0.3, 0.2), (0.3, 0.7), (0.6, 0.5)])
        assert page.locator("#image-text").inner_text() == "your drawing"
        return picked, bce(page), page.evaluate("Array.from(state.pixels)")

    usual = numbers(opened(open_page, page_file))
    protected = opened(open_page, page_file, script=f"const KIND = {kind!r};" + PROTECTED)
    assert protected.evaluate("images.length") == len(IMAGES)
    assert numbers(protected) == usual


def ink(page: Page, size: int, stroke: str) -> list[float]:
    """The ink of a stroke, drawn twice, for ink on ink changes nothing."""
    found: list[float] = page.evaluate(
        f"""() => {{
            const ink = new Float32Array({size} * {size});
            for (let i = 0; i < 2; i++) addInk(ink, {size}, {stroke});
            return Array.from(ink);
        }}"""
    )
    return found


def test_a_stroke_covers_its_area_up_to_the_edge_of_the_pad(page: Page) -> None:
    """Anti-aliased, so the sum of the coverage is the area of a line with round ends."""
    for end, area in (("[50, 50]", np.pi * 11**2), ("[80, 90]", np.pi * 11**2 + 50 * 22)):
        found = ink(page, 140, f"[50, 50], {end}, 11")
        assert sum(found) == pytest.approx(area, rel=0.003)
        assert max(found) == 1
    beyond = ink(page, 10, "[-5, -5], [15, 3], 2")
    assert len(beyond) == 100
    assert 0 < sum(beyond) < 100


def shown_pixels(page: Page, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The pixels of a canvas: (h, w, 4), red, green, blue and alpha."""
    png = base64.b64decode(picture(page, name).partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


@pytest.mark.parametrize("z_size", [7, pytest.param(32, marks=pytest.mark.slow)])
def test_the_code_has_the_shape_and_colours_of_the_plots(
    open_page: Opener, tmp_path: Path, z_size: int
) -> None:
    file = tmp_path / "page.html"
    write(file, page_facts(trained(z_size, steps=3), LABELS, IMAGES, noise=0))
    page = opened(open_page, file)
    grid = code_grid(z_size)
    code = np.array(page.evaluate("Array.from(state.code)"))
    expected = mpl.colormaps[CODE_COLOURS](code[grid], bytes=True)
    expected[grid < 0] = 0
    assert (shown_pixels(page, "#code")[::2] == expected).all()


@pytest.mark.parametrize("depth", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_any_number_of_layers_has_its_page(open_page: Opener, tmp_path: Path, depth: int) -> None:
    widths = list(range(40, 40 - depth, -1))
    shape = parameters(hidden_sizes=widths, z_size=5, activation="tanh")
    model = build_network(torch.from_numpy(IMAGES), shape).plain()
    file = tmp_path / "page.html"
    write(file, page_facts(model, LABELS, IMAGES, noise=0))
    page = opened(open_page, file)
    assert_same_numbers(page, model, torch.from_numpy(IMAGES[:30]))
    sizes = [784, *widths, 5, *reversed(widths), 784]
    assert (
        f"Network {'-'.join(map(str, sizes))}, tanh;" in page.locator("p.soft").first.inner_text()
    )


def test_a_page_whose_script_is_blocked_says_so(
    browser: Browser, page_file: Path, page: Page
) -> None:
    assert page.locator("#unavailable").is_hidden()
    context = browser.new_context(offline=True)
    blocked = context.new_page()
    policy = {"content-security-policy": "default-src 'none'"}
    blocked.route("**/page.html", lambda route: route.fulfill(path=page_file, headers=policy))
    blocked.goto("http://localhost/page.html")
    assert "download it and open the file" in blocked.locator("#unavailable").inner_text()
    context.close()


def test_a_page_that_cannot_start_says_why(browser: Browser, page_file: Path) -> None:
    context = browser.new_context(offline=True)
    context.add_init_script("delete window.DecompressionStream;")
    old = context.new_page()
    old.goto(page_file.as_uri())
    old.locator("#unavailable").wait_for()
    text = old.locator("#unavailable").inner_text()
    assert text.startswith("This browser cannot run the page: ReferenceError: DecompressionStream")
    context.close()


def test_it_prints_black_on_white(open_page: Opener, page_file: Path) -> None:
    page = opened(open_page, page_file, scheme="dark")
    dark = page.evaluate("classColour(0)")
    page.emulate_media(media="print", color_scheme="dark")
    for place in ("body", "h2", "p.soft", "figcaption", "label", "summary"):
        colour = page.locator(place).first.evaluate("element => getComputedStyle(element).color")
        assert colour == "rgb(0, 0, 0)", place
    behind = "element => getComputedStyle(element).backgroundColor"
    assert page.locator("body").evaluate(behind) == "rgb(255, 255, 255)"
    assert page.locator(".panel").first.evaluate(behind) == "rgb(255, 255, 255)"
    assert page.evaluate("classColour(0)") != dark  # the map is drawn in light colours


def test_interpolation_in_latent_space_and_in_pixels(page: Page) -> None:
    between = page.locator("#between")
    between.fill("0")
    assert picture(page, "#pixel-mix") == picture(page, "#end-a")
    between.fill("100")
    assert picture(page, "#pixel-mix") == picture(page, "#end-b")
    page.locator("#thumbs button").nth(5).click()
    page.get_by_role("button", name="Current image as B").click()
    assert picture(page, "#latent-mix") == picture(page, "#reconstruction")
    page.locator("#thumbs button").nth(9).click()
    page.get_by_role("button", name="Current image as A").click()
    between.fill("50")
    assert picture(page, "#pixel-mix") != picture(page, "#latent-mix")
    page.get_by_role("button", name="Use the mixed code").click()
    assert picture(page, "#reconstruction") == picture(page, "#latent-mix")
    ends = picture(page, "#end-a"), picture(page, "#end-b")
    page.get_by_role("button", name="Swap").click()
    assert (picture(page, "#end-b"), picture(page, "#end-a")) == ends
    assert page.locator("#latent-strip canvas").count() == 9
    assert page.locator("#pixel-strip canvas").count() == 9


def dot(page: Page, index: int) -> tuple[float, float]:
    """Where on the screen a dot of the map is."""
    page.locator("#map").scroll_into_view_if_needed()
    return position_on_map(page, index)


def test_the_map_shows_and_selects_images(page: Page) -> None:
    place = dot(page, 77)
    assert page.locator("#tip").is_hidden()
    page.mouse.move(*place)
    tip = page.locator("#tip")
    assert tip.is_visible()
    assert tip.inner_text() == f"image 78, class {LABELS[77]}"
    shown, text = (page.locator(name).bounding_box() for name in ("#tip-image", "#tip-text"))
    assert shown
    assert text
    assert shown["width"] == pytest.approx(shown["height"], abs=1)
    assert text["y"] >= shown["y"] + shown["height"] - 1
    assert changes(page, "#map-canvas", lambda: page.mouse.click(*place))
    assert page.locator("#image-text").inner_text() == f"image 78, class {LABELS[77]}"
    page.mouse.move(5, 5)
    assert tip.is_hidden()
    legend = page.locator("#legend button")
    assert legend.all_inner_texts() == list("0123456789")
    assert changes(page, "#map-canvas", legend.nth(4).click)
    assert legend.nth(4).get_attribute("aria-pressed") == "true"
    legend.nth(4).click()
    assert legend.nth(4).get_attribute("aria-pressed") == "false"


@pytest.mark.slow
def test_a_tap_on_the_map_shows_the_image(open_page: Opener, page_file: Path) -> None:
    page = opened(open_page, page_file, width=390, touch=True)
    page.touchscreen.tap(*dot(page, 12))
    assert page.locator("#tip").is_visible()
    assert page.locator("#image-text").inner_text() == page.locator("#tip").inner_text()


def test_the_map_is_a_table_too(page: Page) -> None:
    page.get_by_text("The map as a table").click()
    rows = page.locator("#map-rows tr")
    rows.nth(11).wait_for()
    assert rows.count() == len(IMAGES)
    assert rows.nth(11).locator("td").all_inner_texts()[:2] == ["12", LABELS[11]]
    rows.nth(11).get_by_role("button").click()
    assert page.locator("#image-text").inner_text() == f"image 12, class {LABELS[11]}"


@pytest.mark.slow
def test_everything_but_drawing_works_by_keyboard(page: Page) -> None:
    """Tab reaches every control once; arrows and the space bar use them."""
    selector = "button:not(:disabled), select, input, summary"
    page.locator("#more summary").click()
    controls = set(page.locator(selector).evaluate_all("all => all.map(x => x.id)"))
    page.mouse.click(2, 2)
    reached: list[str] = []
    for _ in range(150):
        page.keyboard.press("Tab")
        name, indicated = page.evaluate(
            "[document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle]"
        )
        if page.evaluate("document.activeElement === document.body"):
            break
        assert indicated == "solid", name
        reached.append(name)
    assert controls <= set(reached)
    page.locator(".sliders input").first.focus()
    assert changes(page, "#reconstruction", lambda: page.keyboard.press("ArrowRight"))
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.id") == "reset"
    assert changes(page, "#reconstruction", lambda: page.keyboard.press("Space"))
    page.locator("#thumbs button").nth(7).focus()
    assert changes(page, "#image", lambda: page.keyboard.press("Enter"))


def test_class_names_are_text(open_page: Opener, model: Autoencoder, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    write(file, page_facts(model, relabelled(HOSTILE), IMAGES, noise=0))
    page = opened(open_page, file, width=360)
    assert set(HOSTILE) <= set(page.locator("#legend button").all_inner_texts())
    page.locator("#group").select_option(label=f"class {HOSTILE[0]}")
    page.locator("#thumbs button").first.click()
    assert page.locator("#image-text").inner_text().endswith(HOSTILE[0])
    page.get_by_text("The map as a table").click()
    page.mouse.move(*dot(page, 3))
    assert page.locator("script").count() == 3
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_unlabelled_images_have_one_colour(
    open_page: Opener, model: Autoencoder, tmp_path: Path
) -> None:
    file = tmp_path / "page.html"
    write(file, page_facts(model, np.array(["image"] * 120), IMAGES, noise=0))
    page = opened(open_page, file)
    assert page.locator("#legend").is_hidden()
    groups = page.locator("#group option").all_inner_texts()
    assert groups == ["some images", "worst reconstructions"]


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (360, "dark"),
        *(pytest.param(width, "light", marks=pytest.mark.slow) for width in (360, 1280)),
    ],
)
def test_it_fits_and_can_be_read(
    open_page: Opener, page_file: Path, width: int, scheme: str
) -> None:
    page = opened(open_page, page_file, width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#legend button").first.click()
    page.locator("#more summary").click()
    for place in (
        "h1",
        "summary",
        "h2",
        "p.soft",
        "figcaption",
        "output",
        "label",
        "#legend [aria-pressed=true]",
        "#random",
        "#group",
    ):
        assert contrast(page.locator(place).first) >= 4.5, place
    for place in ("canvas:not(#tip-image, .strip canvas, button canvas)", ".sliders input"):
        named_by = "all => all.map(x => x.ariaLabel || x.labels?.[0]?.innerText)"
        names = page.locator(place).evaluate_all(named_by)
        assert names
        assert all(names), place
