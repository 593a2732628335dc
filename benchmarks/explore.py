"""Time the network in the page of `make explore`: `python -m benchmarks.explore`.

In headless Chromium. The page must follow a slider at once: a decode should take less than 10 ms.
"""

from pathlib import Path

from autoencoder.base.cli import make_parser, run
from autoencoder.base.errors import UserError
from tools.screenshots import chromium

PAGE = Path("explore/index.html")
RUNS = 300

# Times each call, since the first ones are interpreted; the median leaves them out.
MEDIAN_MS = """runs => {
    const code = autoencoder.encode(new Array(784).fill(0.1));
    const times = Array.from({ length: runs }, () => {
        const start = performance.now();
        autoencoder.decode(code);
        return performance.now() - start;
    });
    return times.sort((a, b) => a - b)[runs >> 1];
}"""


def decode_ms(page: Path) -> float:
    """Measure the median time of a decode in milliseconds.

    Raises
    ------
    UserError
        If there is no such page or no Chromium.
    """
    if not page.is_file():
        raise UserError(f"{page}: no such file; write it with `make explore`")
    with chromium() as browser:
        tab = browser.new_context(offline=True).new_page()
        tab.goto(page.resolve().as_uri())
        tab.wait_for_function("window.autoencoder")
        median: float = tab.evaluate(MEDIAN_MS, RUNS)
    return median


def main() -> None:
    """Print the row: page, decode time, target."""
    parser = make_parser(__doc__)
    parser.add_argument("page", nargs="?", type=Path, default=PAGE, help="page (%(default)s)")
    page = parser.parse_args().page
    print("| page | decode, median | target |")
    print("|---|---|---|")
    print(f"| {page} | {decode_ms(page):.2f} ms | 10 ms |")


if __name__ == "__main__":
    run(main)
