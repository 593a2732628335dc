"""README and docs/ are true: commands run, links lead somewhere, numbers are those measured.

Pages are compared with committed measurements, and with the committed run only if its parameters
are those of docs/parameters.md: whoever changes params.yaml need not rewrite the pages.
"""

import re
import shlex

import pandas as pd
import pytest
from helpers.committed import documented_parameters, quoted_metrics
from helpers.project import ROOT, Project
from PIL import Image

from autoencoder.base.params import Params
from tools.review.seed_noise import noise_of

PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [
        *sorted(ROOT.glob("*.md")),
        *sorted((ROOT / "docs").glob("*.md")),
        ROOT / "tests/README.md",
    ]
}
README = PAGES["README.md"]
RESULTS = PAGES["docs/results.md"]
MAKEFILE = (ROOT / "Makefile").read_text()

# Not run here: they obtain the project.
SET_UP = ("git clone https:", "cd mnist-")
# The pages with commands, in an order in which each finds what it needs.
WITH_COMMANDS = [
    "README.md",
    "docs/experiments.md",
    "docs/inference.md",
    "docs/data.md",
    "docs/sharing.md",
]


@pytest.fixture(scope="session")
def metrics() -> dict[str, float]:
    """The metrics of the committed run, if the pages quote it."""
    return quoted_metrics()


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", PAGES[page], re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    text = "".join(blocks(page, "console")).replace("\\\n> ", "")
    lines = [line.strip() for line in text.splitlines()]
    return [line[2:] for line in lines if line.startswith("$ ")]


@pytest.fixture(scope="module")
def visited(ran: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project, in which the commands of all pages run one after another."""
    return ran.copy(tmp_path_factory.mktemp("docs") / "project")


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_commands_run(visited: Project, page: str) -> None:
    assert commands(page)
    for command in commands(page):
        if command.startswith(SET_UP) or "fashion-mnist" in command:
            continue
        if command.startswith("make "):
            make, *arguments = shlex.split(command)
            visited.run(make, "--dry-run", *arguments)
        else:
            visited.run("sh", "-c", command)
    # The next page starts with a clean project.
    visited.run("git", "checkout", "--quiet", "--force", "main")
    visited.run("git", "reset", "--quiet", "--hard")
    visited.run("dvc", "checkout", "--quiet")
    visited.run("dvc", "exp", "remove", "--all-commits", "--quiet")


def test_pages_with_commands_are_all_run() -> None:
    assert {page for page in PAGES if commands(page)} == set(WITH_COMMANDS)


def test_the_notebook_lines_run(ran: Project) -> None:
    code = "\n".join(blocks("docs/inference.md", "python"))
    ran.run("python", "-c", f"{code}\nassert torch.equal(network(images), reconstructions)")


def anchors(page: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)", PAGES[page], re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page: str) -> None:
    directory = (ROOT / page).parent
    targets = re.findall(r"\]\(([^)]+)\)", PAGES[page])
    for target in [*targets, *re.findall(r'src(?:set)?="([^"]+)"', PAGES[page])]:
        if target.startswith("https:"):
            continue
        name, _, anchor = target.partition("#")
        path = (directory / name).resolve() if name else ROOT / page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(str(path.relative_to(ROOT))), target


@pytest.mark.parametrize("page", PAGES)
def test_pictures_say_what_they_show_and_have_a_background(page: str) -> None:
    for text, target in re.findall(r"!\[(.*?)\]\(([^)]+)\)", PAGES[page]):
        assert len(text) > 50, target
        with Image.open((ROOT / page).parent / target) as picture:
            # Black text on a transparent background cannot be read on a dark page.
            assert picture.convert("RGBA").getchannel("A").getextrema() == (255, 255), target


@pytest.mark.parametrize("page", PAGES)
def test_targets_of_make_exist(page: str) -> None:
    for target in re.findall(r"`make (?:[A-Z]+=\S+ )*([a-z-]+)", PAGES[page]):
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_every_page_and_every_target_is_documented() -> None:
    for page in PAGES:
        assert page.startswith("docs/") <= (f"]({page})" in README), page
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)) - {"repository"}
    assert targets == set(re.findall(r"^([a-z-]+):.* ## ", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_lines_are_short(page: str) -> None:
    # A row of a table, a picture and what a program prints cannot be wrapped.
    text = re.sub(r"^```console\n.*?^```", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in text.splitlines() if not line.startswith(("|", "![", "[!["))]
    assert [line for line in lines if len(line) > 120] == []


def test_readme_is_short() -> None:
    assert README.count("\n") <= 160


def test_metrics_are_those_of_the_committed_run(metrics: dict[str, float]) -> None:
    for name, value in metrics.items():
        row = re.search(rf"^\| `{name}` \| [^|]* \| ([\d.]+) \|", README, re.MULTILINE)
        assert row, f"README's table of metrics has no row for {name}"
        assert row[1] == f"{value:.5f}", f"README: update {name} to metrics/test.json"


def test_every_parameter_is_documented() -> None:
    documented = documented_parameters()
    assert list(documented) == list(Params.model_fields), "docs/parameters.md: one row for each"
    values = Params.model_validate(documented).model_dump(mode="json")
    assert values == documented, "docs/parameters.md: values as in params.yaml"


def test_the_network_is_described_by_its_parameters() -> None:
    parameters = documented_parameters()
    hidden = parameters["hidden_sizes"]
    pipeline = (ROOT / "dvc.yaml").read_text()
    for text, z in ((README, "z"), (pipeline, parameters["z_size"])):
        sizes = "-".join(map(str, [784, *hidden, z, *reversed(hidden), 784]))
        assert sizes in text, f"README.md, dvc.yaml: by docs/parameters.md the network is {sizes}"


@pytest.mark.parametrize("name", ["z_size", "activation"])
def test_sweeps_are_quoted_as_measured(name: str) -> None:
    run = str(documented_parameters()[name])
    table = pd.read_csv(ROOT / f"sweeps/{name}.csv", dtype={name: str}).set_index(name)
    for value, row in table.drop(run).iterrows():
        numbers = " | ".join(f"{row[metric]:.5f}" for metric in ("bce", "mse", "mse_pca"))
        assert f"| `{name}` {value} | {numbers} |" in RESULTS, "docs/results.md: update this row"


def report(name: str) -> dict[str, list[str]]:
    """The cells of a benchmark's report, by figure: median, ratio and target."""
    lines = (ROOT / f"benchmarks/{name}.md").read_text().splitlines()
    rows = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in lines[6:]]
    return {figure: cells for figure, *cells in rows}


def test_ablations_are_quoted_as_measured() -> None:
    scores = {figure: median for figure, (median, *_) in report("epochs").items()}
    for figure in (
        "test BCE of the plain recipe, 30 epochs",
        "test BCE of the plain recipe with our initialisation",
    ):
        assert f"| {scores[figure]} | | |" in RESULTS, "docs/results.md: update to epochs.md"


@pytest.mark.parametrize(
    ("page", "name", "figure", "quoted"),
    [
        ("results", "steps", "a step: ours ÷ the limit", "takes {ratio} times as long as its"),
        ("results", "steps", "a step: through autograd", "would take {ratio} times as long as it"),
        (
            "results",
            "epochs",
            "an epoch: the plain recipe",
            "recipe takes {ratio} times as long as one here",
        ),
        ("results", "epochs", "time to test BCE", "and {ratio} times as long as one epoch"),
        ("results", "programs", "`dvc repro` outside", "`dvc repro` takes {median} ("),
        ("results", "programs", "`dvc repro` with nothing", "nothing to do it takes {median}."),
        ("results", "programs", "memory of train", "needs {median} more than importing"),
        ("results", "programs", "its growth per image", "and {median} per further image"),
        ("results", "gpu", "the train stage", "the whole train stage {median}."),
        ("results", "gpu", "an epoch: on the CPU", "CPU, an epoch takes {ratio} times"),
        ("results", "gpu", "an epoch: the plain recipe", "recipe {ratio} times"),
        ("explore", "explore", "a decode of the page", "A decode takes {median} in"),
        ("scaling", "programs", "train, 60,000 images", "60,000 images take {median} and {memory}"),
        ("scaling", "programs", "train, 814,255 images", "814,255 images {median} and {memory}"),
        ("scaling", "programs", "an epoch: `torchrun --standalone --nproc-per-node=2", "{ratio}"),
        ("scaling", "programs", "an epoch: `torchrun --standalone --nproc-per-node=3", "{ratio}"),
    ],
)
def test_benchmarks_are_quoted_as_measured(page: str, name: str, figure: str, quoted: str) -> None:
    ((median, ratio, _),) = [cells for row, cells in report(name).items() if row.startswith(figure)]
    expected = quoted.format(
        median=median.partition(" (")[0],
        memory=median.rpartition("), ")[2],
        ratio=ratio.partition(" ")[0],
    )
    text = " ".join(PAGES[f"docs/{page}.md"].split())
    assert expected in text, f"docs/{page}.md: update to benchmarks/{name}.md"


def measured_noise() -> float:
    """The seed noise of the BCE."""
    return noise_of(pd.read_csv(ROOT / "sweeps/seed.csv"))["bce"]


def test_the_anomaly_score_is_quoted_as_measured() -> None:
    bce, other_bce, auroc, auroc_grey = (median for median, *_ in report("anomaly").values())
    text = " ".join(PAGES["docs/inference.md"].split())
    for quoted in (
        f"test images of Fashion-MNIST have a BCE of {other_bce} on average, those of MNIST {bce}.",
        f"{auroc} for the BCE, {auroc_grey} for the mean",
    ):
        assert quoted in text, "docs/inference.md: update to benchmarks/anomaly.md"


def test_the_seed_noise_is_quoted_as_measured() -> None:
    bce = pd.read_csv(ROOT / "sweeps/seed.csv")["bce"]
    assert len(bce) >= 5
    text = " ".join(PAGES["docs/review.md"].split())
    for quoted in (
        f"of {bce.mean():.5f} on average with a standard deviation of {bce.std():.6f}",
        f"the seed noise of `bce` is {measured_noise():.5f}",
    ):
        assert quoted in text, "docs/review.md: update to sweeps/seed.csv"


def test_sweeps_and_benchmarks_are_of_the_committed_run(metrics: dict[str, float]) -> None:
    anomaly, *_ = (float(median) for median, *_ in report("anomaly").values())
    seeds = pd.read_csv(ROOT / "sweeps/seed.csv")["bce"].mean()
    assert abs(anomaly - metrics["bce"]) < measured_noise(), "benchmarks/anomaly.md: measure again"
    assert abs(seeds - metrics["bce"]) < measured_noise(), "sweeps/seed.csv: sweep again"
