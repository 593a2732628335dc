"""The screenshots of docs: drawn again, they show the same, and they show the committed run."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from helpers.committed import committed, quoted_metrics
from helpers.digits import draw_digits, named
from helpers.networks import network
from helpers.project import ROOT
from PIL import Image
from playwright.sync_api import Browser

from autoencoder.base.files import file_digest
from tools.explore import page_facts, write
from tools.screenshots import MODEL, RECORD, REVIEW_SOURCES, SHOTS, SOURCES, TEST, take

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def record() -> dict[str, dict[str, str]]:
    content: dict[str, dict[str, str]] = json.loads((DOCS / RECORD).read_text())
    return content


def without_numbers(text: str) -> str:
    return re.sub(r"\d[\d.,]*\d|\d", "#", text)


@pytest.mark.slow
def test_another_network_gives_the_same_screenshots_but_for_the_numbers(
    browser: Browser, tmp_path: Path, record: dict[str, dict[str, str]]
) -> None:
    labels, images = named(draw_digits(1200, seed=3))
    page = tmp_path / "page.html"
    write(page, page_facts(network(torch.from_numpy(images)).plain(), labels, images, noise=0))
    texts = take(browser, page, tmp_path)
    assert texts.keys() == SHOTS.keys()
    for name, text in texts.items():
        assert without_numbers(text) == without_numbers(record["text"][name])
        drawn, shown = (Image.open(directory / name) for directory in (tmp_path, DOCS))
        assert drawn.size == shown.size
        assert drawn.mode == shown.mode == "RGB"  # opaque, for a dark page


@pytest.mark.process
def test_the_screenshots_show_the_committed_run(record: dict[str, dict[str, str]]) -> None:
    bce = f"test BCE {quoted_metrics()['bce']:.5f} "
    assert bce in record["text"]["explore-code.png"], "take them again: make screenshots"
    stages = yaml.safe_load(committed("dvc.lock"))["stages"]
    outputs = {
        out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])
    }
    current = {path: outputs[path] for path in (MODEL, TEST)}
    sources = (*SOURCES, *REVIEW_SOURCES)
    current |= {path: file_digest(ROOT / path, "md5") for path in sources}
    assert record["md5"] == current, "take them again: make screenshots"


@pytest.mark.process
def test_readme_s_review_is_of_the_committed_run(record: dict[str, dict[str, str]]) -> None:
    bce = f"{quoted_metrics()['bce']:.5f}"
    for scheme in ("light", "dark"):
        text = record["text"][f"review-{scheme}.png"]
        assert f"Worse: bce {bce} → " in text, "make screenshots after README's review"
        with Image.open(DOCS / f"review-{scheme}.png") as picture:
            brightness = picture.convert("L").getpixel((1, 1))
        assert isinstance(brightness, int)
        assert (brightness > 200) == (scheme == "light")


@pytest.mark.parametrize("name", SHOTS)
def test_the_screenshots_are_in_the_docs_with_a_text(name: str) -> None:
    (text,) = re.findall(rf"!\[(.*)\]\({name}\)", (DOCS / "explore.md").read_text())
    assert len(text) > 60
