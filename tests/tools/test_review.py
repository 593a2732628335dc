"""The review: verdicts, exit statuses, and the page in a real browser."""

import html
import io
import json
import math
import re
import shutil
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
import yaml
from helpers.digits import Digits, write_pictures
from helpers.errors import refusal
from helpers.pages import Opener, contrast
from helpers.project import ROOT, Project
from helpers.stages import add_documented_stage
from playwright.sync_api import Browser, Page

from autoencoder.base.files import file_digest
from tools.review.__main__ import WORSE
from tools.review.compare import Change, compare, verdict
from tools.review.report import markdown
from tools.review.run import Run
from tools.review.seed_noise import BETTER, conditions, seed_noise
from tools.templates import write_page


def change(
    base: float, current: float, tolerance: float | None = 0.0005, metric: str = "bce"
) -> Change:
    return Change(metric, base, current, noise=0.0002, tolerance=tolerance)


@pytest.mark.parametrize(
    ("metric", "current", "word"),
    [
        ("bce", 0.073, "same"),
        ("bce", 0.0732, "within noise"),
        ("bce", 0.0728, "within noise"),
        ("bce", 0.073201, "worse"),
        ("bce", 0.072799, "better"),
        ("bce_floor", 0.08, ""),
    ],
)
def test_a_metric_is_judged_by_its_noise_unless_it_is_a_baseline(
    metric: str, current: float, word: str
) -> None:
    assert change(0.073, current, metric=metric).verdict == word


@pytest.mark.parametrize(
    ("current", "tolerance", "fails"),
    [
        (0.0735, 0.0005, False),
        (0.073501, 0.0005, True),
        (0.0700, 0.0005, False),
        (0.0900, None, False),
        (0.073001, 0.0, True),
    ],
)
def test_the_gate_closes_above_the_tolerance(
    current: float, tolerance: float | None, fails: bool
) -> None:
    assert change(0.073, current, tolerance).fails == fails


@pytest.mark.parametrize(
    ("current", "tolerance", "word", "line"),
    [
        (0.0800, 0.0005, "worse", "Worse: bce 0.07300 → 0.08000 (+0.00700, +9.6 %), tolerance"),
        (0.0734, 0.0005, "even", "Worse, but within the tolerance of 0.00050: bce"),
        (0.0731, 0.0005, "even", "No difference beyond the seed noise of 0.00020: bce"),
        (0.0730, 0.0005, "even", "No difference: bce is 0.07300 in both runs."),
        (0.0700, 0.0005, "better", "Better: bce 0.07300 → 0.07000 (-0.00300, -4.1 %)"),
    ],
)
def test_the_verdict_is_one_line(current: float, tolerance: float, word: str, line: str) -> None:
    found, text = verdict([change(0.073, current, tolerance)])
    assert found == word
    assert text.startswith(line)
    assert "\n" not in text


def test_a_metric_that_is_worse_outweighs_one_that_is_better() -> None:
    worse = change(0.004, 0.005, metric="mse")
    word, line = verdict([change(0.073, 0.070), worse])
    assert word == "worse"
    assert "mse" in line


CONDITIONS = {
    "z_size": "32",
    "hidden_sizes": "[512, 256]",
    "noise": "0.0",
    "activation": "sigmoid",
    "dataset": "mnist",
    "train_md5": "a" * 32,
    "test_md5": "1" * 32,
}


def seeds(*bce: object, conditions: dict[str, str] = CONDITIONS, **others: object) -> pd.DataFrame:
    """A table of seeds as it is read from a file."""
    rows = [
        {"seed": seed, "bce": value, "mse": 0.004} | others | conditions
        for seed, value in enumerate(bce)
    ]
    content = pd.DataFrame(rows, columns=None if rows else ["seed"]).to_csv(index=False)
    return pd.read_csv(io.StringIO(content), dtype=str, keep_default_na=False)


def test_noise_is_that_of_two_runs() -> None:
    noise, _ = seed_noise(seeds(1, 2, 3, 4, 5, probe_accuracy=""), CONDITIONS)
    # Standard deviation sqrt(2.5); Student's t of 4 degrees of freedom at 97.5 %; two runs.
    assert noise == {"bce": pytest.approx(2.5**0.5 * 2.776445 * 2**0.5), "mse": 0}


@pytest.mark.parametrize(
    "table",
    [
        seeds(0.07, ""),
        seeds(0.07, "x"),
        seeds(0.07, 0.071, mse="nan"),
        seeds(0.07, 0.071).drop(columns="mse"),
    ],
)
def test_seeds_without_a_number_are_an_error(table: pd.DataFrame) -> None:
    message = refusal(lambda: seed_noise(table, CONDITIONS))
    assert re.match(r"sweeps/seed.csv: (bce|mse) is missing or not a number", message)
    assert "make sweep PARAM=seed VALUES=0,1,2,3,4" in message


@pytest.mark.parametrize("name", CONDITIONS)
def test_noise_belongs_to_the_parameters_and_data(name: str) -> None:
    others = CONDITIONS | {name: "other"}
    reason = f"sweeps/seed.csv was measured with other values of {name}"
    assert seed_noise(seeds(0.070, 0.071), CONDITIONS)[0]
    assert seed_noise(seeds(0.070, 0.071), others) == ({}, reason)
    assert seed_noise(seeds(0.070, 0.071, conditions=others), CONDITIONS) == ({}, reason)
    assert seed_noise(seeds(0.070, 0.071).drop(columns=name), CONDITIONS) == ({}, reason)
    # One row of each kind is too few of either.
    mixed = pd.concat([seeds(0.070), seeds(0.071, conditions=others)])
    assert seed_noise(mixed, CONDITIONS)[0] == {}


def test_conditions_are_equal_whatever_is_between() -> None:
    """A record in JSON, a table in CSV: lists, numbers and names that look like numbers."""
    parameters = {
        "seed": 3,
        "z_size": 32,
        "hidden_sizes": [512, 256],
        "learning_rate": 1e-05,
        "noise": 0.0,
        "activation": "sigmoid",
    }
    record = {"parameters": parameters, "train_md5": "1e5" + "0" * 29, "test_md5": "0" * 32}
    measured = conditions(json.loads(json.dumps(record)), "NA")
    assert "seed" not in measured
    assert measured["hidden_sizes"] == "[512, 256]"
    assert seed_noise(seeds(0.070, 0.071, conditions=measured), measured)[0]
    parameters["hidden_sizes"] = [512, 255]
    others = conditions(record, "NA")
    assert seed_noise(seeds(0.070, 0.071, conditions=measured), others)[0] == {}


def test_text_is_text_in_markdown() -> None:
    """GitHub shows entities as the characters; none of them may mean anything."""
    text = "<b>| `a` *b* _c_ [d](https://e) www.f @team #1 \\ ~g~ $h$ &amp;"
    escaped = str(markdown(text))
    assert not set("<>|`*_[]\\~@$") & set(escaped.replace("<!-- -->", ""))
    assert "://" not in escaped
    assert "www." not in escaped
    assert html.unescape(escaped.replace("<!-- -->", "")) == text
    assert "&#64;<!-- -->team &#35;<!-- -->1" in escaped
    assert markdown("z_size") == "z_size"


@pytest.mark.parametrize("name", ["page.html", "page.md"])
def test_what_is_missing_is_a_dash(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(
        "{{ nothing }} {{ nothing | number('%.1f') }} {{ nan | number('%+.1f') }} "
        "{{ half | number('%.1f') }}"
    )
    write_page(tmp_path / "out", tmp_path / name, {"nothing": None, "nan": math.nan, "half": 0.5})
    assert (tmp_path / "out").read_text() == "— — — 0.5"


def result(name: str, test: str = "a", **metrics: float) -> Run:
    empty = pd.Series(dtype=float)
    scores = {"bce": 0.073, "mse": 0.004} | metrics
    record = {"parameters": {"z_size": 32, "seed": 0}, "train_md5": "b", "test_md5": test}
    return Run(name, {"dataset": "mnist"}, scores, pd.DataFrame(), empty, {}, record)


SEEDS = seeds(0.073, 0.0731, conditions=result("any").conditions)


def test_other_test_images_are_not_compared() -> None:
    message = refusal(lambda: compare(result("base"), result("current", test="b"), SEEDS, {}))
    assert "base and current: the test images differ" in message


def test_without_seed_noise_a_tolerance_is_needed_and_the_verdict_says_why() -> None:
    base, current = result("base"), result("current", bce=0.0735)
    other = SEEDS.assign(z_size="16", train_md5="c")
    message = refusal(lambda: compare(base, current, other, {"bce": 0.001}))
    assert message == (
        "seed noise has not been measured with the parameters and data of base (sweeps/seed.csv "
        "was measured with other values of z_size, train_md5): measure it there with `make sweep "
        "PARAM=seed VALUES=0,1,2,3,4` and commit sweeps/seed.csv, or give the gate a tolerance, "
        "--tolerance mse=NUMBER"
    )
    changes = compare(base, current, other, {"bce": 0.001, "mse": 0.001})
    word, line = verdict(changes)
    assert word == "even"
    assert line.startswith("No difference beyond the tolerance of 0.00100: bce")
    assert "not been measured with these parameters and data; measure it with `make" in line
    assert [change.verdict for change in changes if change.metric == "mse"] == ["same"]
    assert verdict(compare(base, current, other, {"bce": 0.0001, "mse": 0.001}))[0] == "worse"


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (pd.DataFrame(), "(it has no sweeps/seed.csv)"),
        (SEEDS.head(1), "(sweeps/seed.csv has fewer than two seeds measured so)"),
    ],
)
def test_too_few_seeds_are_no_seed_noise(table: pd.DataFrame, reason: str) -> None:
    base, current = result("base"), result("current")
    assert reason in refusal(lambda: compare(base, current, table, {}))
    assert verdict(compare(base, current, table, {"bce": 0, "mse": 0}))[0] == "even"


def test_metrics_that_one_run_lacks_are_not_judged() -> None:
    base, current = result("base", bce_train=0.07), result("current")
    changes = {change.metric: change for change in compare(base, current, SEEDS, {})}
    assert math.isnan(changes["bce_train"].current)
    assert changes["bce_train"].verdict == ""
    assert not changes["bce_train"].fails
    assert "current: metric bce_train is missing, expected in both runs" in refusal(
        lambda: compare(base, current, SEEDS, {"bce_train": 1})
    )


def test_every_metric_has_its_direction() -> None:
    assert list(BETTER) == list(json.loads((ROOT / "metrics/test.json").read_text()))


METRICS, RECORD = "metrics/test.json", "metrics/provenance.json"


def review(project: Project, *arguments: str, status: int = 0) -> str:
    return project.run_module("tools.review", *arguments, status=status)


def with_metrics(project: Project, branch: str, **values: float | None) -> None:
    """A branch whose last commit has other metrics, and lacks those that are None."""
    path = project.root / METRICS
    project.run("git", "checkout", "--quiet", "-b", branch)
    metrics = json.loads(path.read_text()) | values
    path.write_text(
        json.dumps({name: metrics[name] for name in metrics if metrics[name] is not None})
    )
    # As if the stage had written them, for otherwise they are refused.
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())
    (entry,) = (out for out in lock["stages"]["evaluate"]["outs"] if out["path"] == METRICS)
    entry["md5"] = file_digest(path, "md5")
    (project.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    project.commit(branch)
    project.run("git", "checkout", "--quiet", "main")


@pytest.fixture(scope="module")
def measured(ran: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project with a table of seeds; tests must not change it."""
    project = ran.copy(tmp_path_factory.mktemp("measured"))
    metrics, record = (json.loads((project.root / name).read_text()) for name in (METRICS, RECORD))
    rows = [
        {"seed": seed, "bce": metrics["bce"] + 1e-5 * seed, "mse": metrics["mse"] + 1e-6 * seed}
        | conditions(record, "mnist")
        for seed in range(5)
    ]
    (project.root / "sweeps").mkdir()
    pd.DataFrame(rows).to_csv(project.root / "sweeps/seed.csv", index=False)
    project.commit("seed noise")
    return project


@pytest.fixture
def project(measured: Project, tmp_path: Path) -> Project:
    """The small project with its seed noise, in a copy that a test may change."""
    return measured.copy(tmp_path / "project")


@pytest.fixture(scope="module")
def branches(measured: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project, with branches whose metrics are better, worse and unusable."""
    project = measured.copy(tmp_path_factory.mktemp("branches"))
    bce = json.loads((project.root / "metrics/test.json").read_text())["bce"]
    with_metrics(project, "lower", bce=bce - 0.01)
    with_metrics(project, "higher", bce=bce + 0.01)
    with_metrics(project, "nan", bce=float("nan"))
    with_metrics(project, "fewer", bce_train=None, mse=None)
    z_16 = yaml.safe_dump(project.params() | {"z_size": 16})
    measured_seeds = (project.root / "sweeps/seed.csv").read_text()
    assert ",sigmoid," in measured_seeds
    changes: dict[str, dict[str, str | None]] = {
        "bare": {METRICS: None},
        "other-seeds": {"sweeps/seed.csv": measured_seeds.replace(",sigmoid,", ",tanh,")},
        "no-seeds": {"sweeps/seed.csv": None},
        "code": {"autoencoder/network/step.py": "version = 2\n"},
        "committed": {"params.yaml": z_16, "autoencoder/network/step.py": "version = 2\n"},
    }
    for branch, files in changes.items():
        project.run("git", "checkout", "--quiet", "-b", branch, "main")
        for name, content in files.items():
            if content is None:
                (project.root / name).unlink()
            else:
                (project.root / name).write_text(content)
        if branch == "committed":
            project.run("dvc", "commit", "--force")
        project.commit(branch)
    project.run("git", "checkout", "--quiet", "main")
    project.run("git", "tag", "tree", "main^{tree}")
    return project


def test_the_status_is_the_gate(branches: Project) -> None:
    assert "No difference: bce is" in review(branches)
    assert "Better: bce" in review(branches, "higher")
    assert "Worse: bce" in review(branches, "lower", status=3)
    assert "Worse, but within" in review(branches, "lower", "--tolerance", "bce=0.02, mse=0")


def test_what_keeps_python_from_starting_is_not_worse(measured: Project) -> None:
    """Python's own statuses, make's and the shell's must not mean that a metric is worse."""
    outside = Project(measured.root / "stages")
    assert "No module named" in outside.run("python", "-m", "tools.review", status=1)
    assert "ModuleNotFoundError" in measured.run("python", "tools/review/__main__.py", status=1)
    broken = Project(measured.root)
    broken.environment["MPLBACKEND"] = "none of Matplotlib's"
    with broken.start("python", "-m", "tools.review", "no-such-branch") as process:
        process.communicate()
    assert process.returncode in (1, 2)
    assert WORSE not in {0, 1, 2, 120, 126, 127} | set(range(128, 256))


def test_noise_of_other_parameters_is_none(branches: Project) -> None:
    output = review(branches, "other-seeds", status=2)
    assert (
        "error: seed noise has not been measured with the parameters and data of other-seeds "
        "(sweeps/seed.csv was measured with other values of activation): measure it there with "
    ) in output
    # The base's counts, not the one of the change.
    branches.run("git", "checkout", "--quiet", "other-seeds")
    assert "Worse: bce" in review(branches, "lower", status=3)
    branches.run("git", "checkout", "--quiet", "main")


@pytest.mark.parametrize(
    ("command", "values", "changed"),
    [
        ("commit --force", {"z_size": "'32'", "learning_rate": "7.0e-3"}, False),
        pytest.param("repro", {"seed": "'0'", "batch_size": "20.0"}, False, marks=pytest.mark.slow),
        pytest.param("repro", {"noise": "1.0e-1"}, True, marks=pytest.mark.slow),
    ],
)
def test_spelling_does_not_change_parameters(
    project: Project, command: str, values: dict[str, str], changed: bool
) -> None:
    path = project.root / "params.yaml"
    text = path.read_text()
    for name, value in values.items():
        text = re.sub(rf"^{name}: .*", f"{name}: {value}", text, flags=re.MULTILINE)
    path.write_text(text)
    project.run("dvc", *command.split())
    project.commit("the same in other words")
    if changed:
        assert "measured with other values of noise)" in review(project, status=2)
        return
    assert "No difference: bce" in review(project, "main~1")
    assert (
        "No parameter, package or module changed."
        in (project.root / "review/review.md").read_text()
    )


def test_a_second_metrics_file_changes_nothing(project: Project) -> None:
    """Its metric has the name of one of evaluate's."""
    add_documented_stage(project, metric="mse")
    project.run("dvc", "repro", "count")
    assert "600" in project.run("dvc", "metrics", "show", "metrics/count.json")
    project.commit("another metric")
    assert "No difference: bce" in review(project, "main~1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nan"], "error: nan: metric bce is nan, expected a number"),
        ([""], "error: the revision is empty, expected a branch, tag, commit or experiment"),
        (["HEAD:params.yaml"], "error: HEAD:params.yaml: a blob, expected a branch, tag, commit"),
        (["code"], "error: code: train, evaluate, sanity_check: changed since the last run"),
        *(
            pytest.param([branch], message, marks=pytest.mark.slow)
            for branch, message in (
                ("no-such-branch", "error: unknown Git revision 'no-such-branch', expected a "),
                ("tree", "error: "),
                ("main..lower", "error: unknown Git revision 'main..lower', expected a branch"),
                ("fewer", "error: fewer: metric mse is missing"),
                ("bare", "error: bare: cannot be compared: [Errno 2] No such file or directory: '"),
                ("no-seeds", "data of no-seeds (it has no sweeps/seed.csv): measure it there"),
            )
        ),
        (
            ["committed"],
            "error: committed: its results were made from other inputs: z_size was 32, is 16; "
            "autoencoder/network/step.py was different; ",
        ),
        (["main", "--out", "params.yaml"], "error: params.yaml: not a directory, expected one"),
        (["--", "--option"], "error: unknown Git revision '--option', expected a branch, tag"),
        (["main", "--tolerance", "bce=-1"], "'-1' for bce, expected a number >= 0"),
        (["main", "--tolerance", "bce_floor=1"], "'bce_floor' is not one of bce, "),
    ],
)
def test_what_cannot_be_compared_is_status_2(
    branches: Project, arguments: list[str], message: str
) -> None:
    output = review(branches, *arguments, status=2)
    assert message in output
    assert "Traceback" not in output


def test_metrics_older_than_the_parameters_are_not_compared(project: Project) -> None:
    project.set_params(z_size=16)
    output = review(project, status=2)
    assert (
        "error: workspace: train, evaluate: changed since the last run; run `dvc repro`" in output
    )


@pytest.mark.slow
def test_data_that_dvc_tracks_count_where_a_stage_reads_them(
    project: Project, tmp_path: Path
) -> None:
    """An import is frozen, and an added file may be edited: neither is a stage that ran."""
    other = Project(tmp_path / "other")
    other.root.mkdir()
    other.run("git", "init", "--quiet")
    other.run("dvc", "init", "--quiet")
    (other.root / "labels.txt").write_text("of another project\n")
    other.run("dvc", "add", "--quiet", "labels.txt")
    other.commit("labels")
    (tmp_path / "address.csv").write_text("0\n")

    (project.root / "extra").mkdir()
    project.run("dvc", "import", str(other.root), "labels.txt", "--out", "extra/labels.txt")
    project.run("dvc", "import-url", str(tmp_path / "address.csv"), "data/incoming/address.csv")
    for name in ("extra/added.csv", "data/incoming/added.csv"):
        (project.root / name).write_text("1\n")
        project.run("dvc", "add", "--quiet", name)
    project.commit("data that no stage reads")
    assert "No difference: bce" in review(project)
    for name in ("extra/labels.txt", "extra/added.csv", "data/incoming/added.csv"):
        path = project.root / name
        path.unlink()
        path.write_text("edited\n")
    (project.root / "data/incoming/address.csv").unlink()
    assert "No difference: bce" in review(project)
    assert "No difference: bce" in review(project, "main~1")

    pipeline = yaml.safe_load((project.root / "dvc.yaml").read_text())
    pipeline["stages"]["count"] = {"cmd": "wc extra/added.csv", "deps": ["extra/added.csv"]}
    (project.root / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    project.run("dvc", "repro", "count")
    assert "No difference: bce" in review(project)
    (project.root / "extra/added.csv").write_text("edited again\n")
    assert "error: workspace: count: changed since the last run" in review(project, status=2)


@pytest.mark.parametrize("filtered", ["blob:none", pytest.param("tree:0", marks=pytest.mark.slow)])
def test_a_partial_clone_gets_a_line_that_completes_it(
    branches: Project, tmp_path: Path, filtered: str
) -> None:
    branches.run("git", "config", "uploadpack.allowFilter", "true")
    clone = Project(tmp_path / "clone")
    # The tag of a tree would be a missing object itself.
    source = branches.root.as_uri()
    branches.run(
        "git", "clone", "--quiet", "--no-tags", f"--filter={filtered}", source, str(clone.root)
    )
    signalled = review(clone, "origin/lower", status=2)
    assert signalled.startswith("error: origin/lower: some of its files are not in this clone")
    (command,) = re.findall(r"`(git fetch --refetch .*)`", signalled)
    clone.run("sh", "-c", f"{command} --quiet")
    assert "Worse: bce" in review(clone, "origin/lower", status=3)


def test_a_missing_source_file_and_a_frozen_stage_are_refused(project: Project) -> None:
    (project.root / "stages/train.py").unlink()
    assert "error: workspace: train, evaluate: changed since" in review(project, status=2)
    project.run("git", "checkout", "stages/train.py")
    project.run("dvc", "freeze", "evaluate")
    assert "error: workspace: evaluate: frozen" in review(project, status=2)


@pytest.mark.slow
def test_user_data_that_are_missing_or_not_named_have_not_changed(
    project: Project, train_digits: Digits, tmp_path: Path
) -> None:
    incoming = project.root / "data/incoming"
    write_pictures(incoming / "mine", train_digits)
    project.set_params(dataset="data/incoming/mine", epochs=2)
    project.run("dvc", "repro")
    project.commit("user data")
    clone = Project(tmp_path / "clone")
    project.run("git", "clone", "--quiet", str(project.root), str(clone.root))
    output = review(clone, status=2)
    assert "seed noise has not been measured with the parameters and data of main" in output
    tolerances = ("main", "--tolerance", "bce=0.1", "--tolerance", "mse=0.1")
    assert "Seed noise has not been measured" in review(clone, *tolerances)

    (incoming / "mine" / "Thumbs.db").write_text("of a file manager")
    (incoming / "stray.csv").write_text("not named by dataset")
    assert "No difference" in review(project, *tolerances)
    (incoming / "mine" / "digit 0" / "0000.png").unlink()
    assert "error: workspace: fetch: changed since" in review(project, *tolerances, status=2)


def test_a_terminal_without_arrows_gets_the_verdict(branches: Project) -> None:
    terminal = Project(branches.root)
    terminal.environment["PYTHONIOENCODING"] = "ascii"
    assert "Worse: bce 0." in review(terminal, "lower", status=3)


def test_it_works_in_a_clone_without_a_remote_and_changes_nothing(
    branches: Project, tmp_path: Path
) -> None:
    clone = Project(tmp_path / "clone")
    branches.run("git", "clone", "--quiet", str(branches.root), str(clone.root))
    review(clone, "origin/lower", status=3)
    assert clone.run("git", "status", "--porcelain") == ""
    summary = (clone.root / "review/review.md").read_text()
    assert re.search(r"^\*\*Worse: bce 0\.", summary, re.M)
    assert re.search(
        r"^\| bce \| 0\.\d{5} \| 0\.\d{5} \| \+0\.01000 \| .* \| worse \|$", summary, re.M
    )


@pytest.mark.slow
def test_it_works_in_a_subdirectory_and_in_a_worktree(measured: Project, tmp_path: Path) -> None:
    inner = measured.copy(tmp_path / "repository" / "my project")
    shutil.rmtree(inner.root / ".git")
    repository = Project(tmp_path / "repository")
    repository.run("git", "init", "--quiet", "--initial-branch=main")
    repository.commit("a project in a subdirectory")
    assert "No difference" in review(inner)
    repository.run("git", "worktree", "add", "--quiet", "../tree")
    assert "No difference" in review(Project(tmp_path / "tree" / "my project"))


@pytest.mark.slow
def test_an_experiment_can_be_the_base(small_code: tuple[Project, str]) -> None:
    project, _ = small_code
    tolerances = "--tolerance=bce=1 mse=1"
    assert "No difference: bce is" in review(project, "small-code", tolerances)
    review(project, tolerances)
    summary = (project.root / "review/review.md").read_text()
    assert "| z_size | 32 | 16 |" in summary


@pytest.fixture(scope="module")
def reviewed(branches: Project) -> tuple[str, Path]:
    """The verdict that the command prints, and the page."""
    line = review(branches, "lower", status=3).splitlines()[0]
    return line, branches.root / "review/index.html"


@pytest.fixture(
    params=[(1280, "light"), pytest.param((390, "dark"), marks=pytest.mark.slow)],
    ids=["desktop", "phone"],
)
def page(open_page: Opener, reviewed: tuple[str, Path], request: pytest.FixtureRequest) -> Page:
    width, scheme = request.param
    return open_page(reviewed[1], width, scheme)


def test_the_page_says_what_the_command_says(reviewed: tuple[str, Path], page: Page) -> None:
    assert page.locator(".verdict").inner_text() == reviewed[0]
    assert page.title() == "workspace compared with lower"
    rows = {
        row.locator("th").inner_text(): row.locator("td").all_inner_texts()
        for row in page.locator("tbody tr").all()
    }
    assert {f"{metric} {arrow}".rstrip() for metric, arrow in BETTER.items()} <= rows.keys()
    assert rows["bce ↓"][0] == "worse"
    assert rows["bce ↓"][3] == "+0.01000"


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_the_figures_do_without_styles_where_a_policy_blocks_them(
    browser: Browser, reviewed: tuple[str, Path], scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    policy = {"content-security-policy": "default-src 'none'; img-src data:"}
    page.route("**/index.html", lambda route: route.fulfill(path=reviewed[1], headers=policy))
    page.goto("http://localhost/index.html")
    assert page.locator("body").evaluate("body => getComputedStyle(body).maxWidth") == "none"
    text = page.locator("body").evaluate("body => getComputedStyle(body).color")
    grey, base, current = ("rgb(136, 136, 136)", "rgb(138, 144, 153)", "rgb(47, 128, 222)")
    painted = """(elements, property) =>
        [...new Set(elements.map(element => getComputedStyle(element)[property]))]"""
    shapes, words = page.locator("svg path, svg polyline, td rect"), page.locator("svg text")
    assert set(shapes.evaluate_all(painted, "fill")) == {"none", base, current}
    assert set(shapes.evaluate_all(painted, "stroke")) == {"none", grey, base, current}
    assert words.evaluate_all(painted, "fill") == [text]
    assert "middle" in words.evaluate_all(painted, "textAnchor")
    assert all(image.evaluate("image => image.naturalWidth") for image in page.locator("img").all())
    context.close()


def test_the_page_prints_black_on_white(page: Page) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    for place in (".verdict", "h2", "thead th", "td.worse", "td.same", "figcaption", "svg text"):
        colours = "element => [getComputedStyle(element).color, getComputedStyle(element).fill]"
        assert page.locator(place).first.evaluate(colours) == ["rgb(0, 0, 0)"] * 2, place
    behind = "body => getComputedStyle(body).backgroundColor"
    assert page.locator("body").evaluate(behind) == "rgb(255, 255, 255)"


def test_the_page_fits_its_window(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    fits = "element => element.scrollWidth <= element.clientWidth"
    assert page.locator("#metrics .scroll").evaluate(fits)


def test_every_picture_is_drawn_and_has_its_text(page: Page) -> None:
    pictures = page.locator("img").all()
    assert len(pictures) == 4
    for picture in pictures:
        assert picture.evaluate("image => image.naturalWidth") > 400
        alternative = picture.get_attribute("alt") or ""
        assert "latent codes" in alternative or "worst reconstructions" in alternative
        assert "differences" in alternative
    chart = page.locator("[role=img]")
    box = chart.bounding_box()
    assert box
    assert box["height"] > 150
    assert "lower: 8 epochs, best validation BCE" in (chart.get_attribute("aria-label") or "")
    lines = chart.locator("polyline").all()
    assert [len((line.get_attribute("points") or "").split()) for line in lines] == [8] * 4
    caption = page.locator("figure:has([role=img]) figcaption")
    assert re.findall(r"(\w+): 8 epochs", caption.inner_text()) == ["lower", "workspace"]
    of_lines = [line.get_attribute("stroke") for line in lines[::2]]
    assert [x.get_attribute("fill") for x in caption.locator("rect").all()] == of_lines
    widths = [float(bar.get_attribute("width") or 0) for bar in page.locator("td rect").all()]
    assert len(widths) == 20
    assert max(widths) == 80
    assert min(widths) > 0


def test_the_text_stands_out_light_and_dark(page: Page) -> None:
    for place in (".verdict", "h2", "thead th", "td.worse", "td.same", "figcaption"):
        assert contrast(page.locator(place).first) >= 4.5, place
