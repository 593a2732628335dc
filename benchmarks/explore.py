"""How fast the network in the page of `make explore` is, in headless Chromium."""

from collections.abc import Iterator

from autoencoder.base.errors import UserError
from benchmarks import measuring
from benchmarks.measuring import DATA, MODEL, Row, UnavailableError

# Times 300 calls, since the first ones are interpreted; the median leaves them out.
DECODE_TIMES = """() => {
    const code = autoencoder.encode(new Array(784).fill(0.1));
    return Array.from({ length: 300 }, () => {
        const start = performance.now();
        autoencoder.decode(code);
        return (performance.now() - start) / 1000;
    });
}"""


def measure() -> Iterator[Row]:
    """Time decodes, which must follow a slider at once."""
    try:
        # Not among the imports: the other benchmarks do without playwright.
        from tools.screenshots import chromium, chromium_path

        chromium_path()
    except (ImportError, UserError) as error:
        raise UnavailableError(str(error)) from error
    with measuring.workspace(DATA, MODEL.parent) as directory, chromium() as browser:
        measuring.run_program(directory, "python", "-m", "tools.explore", "--out", "page.html")
        tab = browser.new_context(offline=True).new_page()
        tab.goto((directory / "page.html").as_uri())
        tab.wait_for_function("window.autoencoder")
        times = tab.evaluate(DECODE_TIMES)
    yield Row("a decode of the page, 300 calls", measuring.median_time(times), target="≤ 10 ms")
