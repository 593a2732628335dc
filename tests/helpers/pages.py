"""HTML pages in a real browser, opened from disk without a network."""

from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, ViewportSize

# Relative luminance of the text and of what is behind it, as in WCAG 2.2.
LUMINANCE = """(element) => {
    const style = getComputedStyle(element);
    let behind = element;
    while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") {
        behind = behind.parentElement;
    }
    const canvas = document.createElement("canvas");
    const context = canvas.getContext("2d", { willReadFrequently: true });
    return [style.color, getComputedStyle(behind).backgroundColor].map(colour => {
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map(value => {
            const c = value / 255;
            return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    });
}"""


def contrast(element: Locator) -> float:
    """Contrast as in WCAG 2.2, which asks for at least 4.5."""
    dark, light = sorted(element.evaluate(LUMINANCE))
    ratio: float = (light + 0.05) / (dark + 0.05)
    return ratio


class Opener:
    """Opens pages; nothing may be missing or complain.

    A new page takes Chromium a second, so pages that differ in no setting of the browser itself
    are opened one after another in the same.
    """

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.pages: dict[tuple[bool, str], Page] = {}
        self.trouble: list[str] = []
        self.asked: list[str] = []

    def __call__(
        self,
        file: Path,
        width: int = 1280,
        scheme: str = "light",
        touch: bool = False,
        script: str = "",
    ) -> Page:
        """Open a page in a window of that width, after running a script."""
        if (touch, script) not in self.pages:
            self.pages[touch, script] = self._new_page(touch, script)
        page = self.pages[touch, script]
        page.set_viewport_size(ViewportSize(width=width, height=900))
        page.emulate_media(media="screen", color_scheme="dark" if scheme == "dark" else "light")
        page.mouse.move(0, 0)
        page.goto(file.as_uri())
        return page

    def _new_page(self, touch: bool, script: str) -> Page:
        context = self.browser.new_context(reduced_motion="reduce", has_touch=touch, offline=True)
        context.add_init_script(script)
        page = context.new_page()
        page.on("console", lambda message: self.trouble.append(message.text))
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("dialog", lambda dialog: self.trouble.append(dialog.message))
        page.on("requestfailed", lambda request: self.trouble.append(request.url))
        page.on("request", lambda request: self.asked.append(request.url))
        return page

    def check(self) -> None:
        """Fail if a page complained or asked for anything that is not on this disk."""
        trouble, asked = self.trouble.copy(), self.asked.copy()
        self.trouble.clear()
        self.asked.clear()
        assert trouble == []
        assert [url for url in asked if not url.startswith(("data:", "file:"))] == []

    def close(self) -> None:
        """Close all pages."""
        for page in self.pages.values():
            page.context.close()
