"""Decide: white, ink, labels, copies and split, each in one function, from the account."""

import re
import unicodedata
from itertools import groupby
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoencoder.base.errors import UserError, listed
from autoencoder.data import table
from autoencoder.data.user.account import Account
from autoencoder.data.user.batches import LITTER, UNLABELLED, Texts
from autoencoder.data.user.roles import split_of

Flags = NDArray[np.bool_]

# Seed of the split into training and test images. Not the parameter `seed`, so that runs with
# different weights are scored on the same test images.
SPLIT_SEED = 0

MIDDLE = 128  # a maximum below this is not white; a mean border of at least this is paper
_DARK = 17  # a maximum below this is almost black: that of classes or masks
_NEAR_ONE = 255.5 / 255  # fractions up to this are rounded to white
_MAX_DISTINCT_ROWS = 20
_FRACTION = re.compile(r"[+-]?\d+(\.0*|(\.\d*)?e[+-]\d\d+)", re.ASCII | re.IGNORECASE)


def tidy_label(text: str) -> str:
    """Write a label in one way: Unicode's NFC, and integral fractions as integers.

    Numbers as Python and NumPy write them: 5.0, 5E+00; not 007, nor code points such as 0E01.
    """
    text = unicodedata.normalize("NFC", text)
    if _FRACTION.fullmatch(text) and (number := float(text)).is_integer() and abs(number) < 2**53:
        return str(int(number))
    return text


def find_white(account: Account) -> None:
    """Decide which value is white where the format does not say it: 255, or 1 of fractions.

    Refuse a range that is unclear. Values between integers are rounded.
    """
    facts = account.facts
    unscaled = facts[~facts["has_white"]]
    sources = unscaled.groupby("source").agg({"maximum": "max", "fractions": "any"})
    is_small = sources["maximum"] <= _NEAR_ONE
    fractional = is_small & sources["fractions"]
    is_unclear = sources["fractions"] & ~is_small & (sources["maximum"] < MIDDLE)
    unclear = facts["source"].isin(sources.index[is_unclear])
    is_binary = not unscaled.empty and unscaled["maximum"].max() == 1
    account.white = 1 if fractional.any() or is_binary else 255
    minimum, maximum = float(facts["minimum"].min()), float(facts["maximum"].max())
    for kind, cell, wrong in (
        ("maximum", "highest", ~(facts["maximum"] < 255.5) | unclear),
        ("minimum", "lowest", ~(facts["minimum"] > -0.5 / 255 * account.white)),
    ):
        if wrong.any():
            row = int(facts[kind].where(wrong, 0).abs().to_numpy().argmax())  # NaN, if there is one
            is_number = np.isfinite(facts[kind][row])
            how = _how_to_scale(minimum, maximum) if is_number else "replace or remove it"
            raise UserError(
                f"{account.place(row, int(facts[cell][row]))} has a value {facts[kind][row]:.6g}, "
                f"the maximum of all is {maximum:.6g}; expected grey values 0..255, or fractions "
                f"0..1; {how}"
            )
    if fractional.any() and not is_small.all():
        small, large = (int(sources.index[int(x.argmax())]) for x in (fractional, ~is_small))
        raise UserError(
            f"{account.sources[small].name}: some images have fractions in 0..1, others "
            f"values up to {maximum:g} ({account.sources[large].name}), expected the same "
            "range in all; scale them to 0..255"
        )
    facts["scale"] = np.where(facts["has_white"], 1, 255 / account.white)


def check_dark(account: Account, by_class: bool) -> None:
    """Refuse sources or classes that are almost black next to others; warn of darker images."""
    facts = account.facts
    maximum = float(facts["maximum"].max())
    scaled = facts["maximum"] * facts["scale"]
    least = np.where(facts["has_white"], _DARK, MIDDLE)
    is_dark = (scaled < least) & (facts["maximum"] > 0)
    if is_dark.any() and (scaled < least).all():
        hint = "divide the pixels by it, but not the labels"
        raise UserError(
            f"{account.root}: the maximum of all pixels is {maximum:.4g}, expected {account.white} "
            f"(white); {'brighten the pictures' if facts['has_white'].all() else hint}"
        )
    kinds = [facts["source"], facts["has_white"], facts["bits"]]
    of_source = scaled.groupby(kinds).transform("max")
    of_class = scaled.groupby([facts["source"], facts["label"]], observed=True).transform("max")
    is_too_dark = is_dark & ((of_source < least) | (by_class & (of_class < _DARK)))
    is_darker = is_dark & (scaled < _DARK)
    for part in ("split", "label") if by_class and scaled.max() > 2 * MIDDLE - 2 else ():
        of_part = scaled.groupby(facts[part], observed=True).transform("max")
        is_darker |= (of_part < MIDDLE) & (facts["maximum"] > 0)
    for is_refused, rows in ((True, is_too_dark), (False, is_darker)):
        if rows.any():
            row = int(rows.to_numpy().argmax())
            message = (
                f"{account.place(row)}: {rows.sum()} of {len(facts)} images have values up to "
                f"{facts['maximum'][rows].max():.4g}, others up to {maximum:g}, so they are "
                f"{'almost black' if is_refused else 'dark'}; save them in the same range"
            )
            if is_refused:
                raise UserError(message)
            account.warnings.append(message)


def _how_to_scale(minimum: float, maximum: float) -> str:
    """Say how to bring an array `x` of another range to 0..255 or 0..1."""
    if -128 <= minimum < -1 and maximum < MIDDLE:
        return "of signed bytes, save x.astype('uint8') if black is 0, x + 128 if it is -128"
    if -1.01 < minimum < 0 and maximum < 1.01:
        return "if black is -1, save (x + 1) / 2, else clip them"
    if maximum > 255:
        return f"save x / 257 if white is 65535, x * (255 / {maximum:g}) if that is white"
    return "scale the array"


def inversion(account: Account, invert: Literal[True, False, "auto"]) -> Flags:
    """Decide of each image whether black and white are exchanged: all, none or by its part.

    "auto" exchanges the parts (split, source and class) with mostly bright borders. Else, warn of
    parts with the opposite ink of the others.
    """
    facts = account.facts
    parts = facts.groupby(["split", "source", "label"], observed=True).ngroup()
    border = (facts["border"] * facts["scale"]).groupby(parts).transform("mean").to_numpy()
    is_bright = border >= MIDDLE
    flags = is_bright if invert == "auto" else np.full(len(facts), invert)
    account.border = float(np.where(flags, 255 - border, border).mean())
    of_each = (facts["border"] * facts["scale"]).to_numpy()
    shares = [pd.Series(x).groupby(parts).transform("mean") for x in (of_each >= 224, of_each < 32)]
    if mixed := _part_names(account, ((shares[0] > 0.1) & (shares[1] > 0.1)).to_numpy()):
        account.warnings.append(
            f"{account.root}: {listed(mixed)}: some images are black on white, others white on "
            "black, in each of these; exchange black and white of some"
        )
    bright, dark = (_part_names(account, rows) for rows in (border >= 160, border < 96))
    if invert == "auto":
        where = listed(_part_names(account, flags)) or "no part"
        account.ink = f"white on black; exchanged, because of bright borders, in {where}"
        return flags
    account.ink = ink_of(account.border) + ", exchanged" * invert
    if bright and dark:
        few = min(bright, dark, key=len)
        ink = "black on white" if few is bright else "white on black"
        account.warnings.append(
            f"{account.root}: {listed(few)}: {ink}, the opposite of the others; set `invert: auto` "
            "to decide by the border of each"
        )
    return flags


def _part_names(account: Account, rows: Flags) -> list[str]:
    """Return the names of the parts that have images among `rows`."""
    parts = account.facts[rows][["source", "label"]].drop_duplicates()
    return [
        account.sources[source].name + (f" ({label})" if label != UNLABELLED else "")
        for source, label in parts.itertuples(index=False)
    ]


def ink_of(border: float) -> str:
    """Name the ink of images with a mean border, 0..255."""
    return "black on white" if border >= MIDDLE else "white on black"


def check_constant(account: Account, to_learn: bool) -> None:
    """Warn of images whose pixels are all equal; refuse to learn from these alone."""
    facts = account.facts
    constant = (facts["minimum"] == facts["maximum"]).to_numpy()
    if constant.all() and to_learn:
        raise UserError(
            f"{account.root}: in each of the {len(facts)} images, all pixels are equal; nothing "
            "can be learned from them"
        )
    if constant.any():
        first = account.place(int(constant.argmax()))
        account.warnings.append(
            f"{first}: {constant.sum()} of {len(facts)} images are constant, this one first"
        )


def check_labels(account: Account, in_test: Flags) -> None:
    """Refuse labels that are row numbers; warn of classes that differ in case or between splits."""
    labels = account.facts["label"]
    names = list(labels.cat.categories)
    if len(names) == len(labels) > _MAX_DISTINCT_ROWS and all(map(table.is_number, names)):
        raise UserError(
            f"{account.root}: the {len(labels)} labels are numbers of which none occurs twice, as "
            "in an index; delete that column, or name it `index`"
        )
    by_case = groupby(sorted(names, key=lambda name: (name.casefold(), name)), str.casefold)
    if twins := [same for _, group in by_case if len(same := list(group)) > 1]:
        pairs = listed([" and ".join(same) for same in twins])
        account.warnings.append(
            f"{account.root}: classes that differ in case only: {pairs}; rename them if they are "
            "the same"
        )
    skipped = [x for x in account.skipped if not x.endswith(LITTER)]
    if len(names) == 1 and skipped:
        account.warnings.append(
            f"{account.root}: all images are of one class, {names[0]}; if labels are in what was "
            f"skipped, write them as a table with the columns path and label: {listed(skipped, 3)}"
        )
    train, test = (set(labels[rows].unique()) for rows in (~in_test, in_test))
    if not train & test:
        account.warnings.append(
            f"{account.root}: training has {_classes(train)}, testing {_classes(test)}: none in "
            "common, so the probe's accuracy means nothing"
        )
    elif test - train:
        account.warnings.append(
            f"{account.root}: of the test images alone: {_classes(test - train)}"
        )


def _classes(names: set[str]) -> str:
    return f"the class{'es' * (len(names) != 1)} {listed(table.in_order(names))}"


def check_splits(account: Account) -> None:
    """Refuse columns of splits of which only some are known; warn if none is."""
    for number, names in account.split_names.items():
        unknown = sorted(name for name in names if not split_of(name))
        if not unknown or names == {""}:
            continue
        message = (
            f"{account.sources[number].name}: the splits {listed(list(map(repr, unknown)))}, "
            "expected train, validation or test"
        )
        if len(unknown) < len(names):
            raise UserError(f"{message} as in other rows; write these words, or delete the column")
        account.warnings.append(f"{message}, so they are ignored")


def check_copies(account: Account, in_test: Flags) -> None:
    """Refuse sources and splits that others contain; warn of other equal images."""
    facts = account.facts
    is_shown = facts["minimum"] < facts["maximum"]  # blank images are alike
    ordered = np.sort(facts["digest"].to_numpy())  # takes less memory than a hash table
    is_copied = facts["digest"].isin(ordered[1:][ordered[1:] == ordered[:-1]]) & is_shown
    groups = {"source": facts["source"]}
    if set(facts["split"].unique()) >= {"train", "test"}:
        groups["split"] = pd.Series(in_test)
    for key, numbers in groups.items():
        images = pd.DataFrame({"digest": facts["digest"], key: numbers})[is_copied]
        shared = images.drop_duplicates()
        alone = numbers[is_shown & ~is_copied].value_counts()
        sizes = shared[key].value_counts().add(alone, fill_value=0).astype(int)
        pairs = shared.merge(shared, on="digest").value_counts([f"{key}_x", f"{key}_y"])
        counts: dict[Any, int] = pairs.to_dict()
        holders: dict[Any, list[Any]] = {}
        for (one, other), count in counts.items():
            if one != other and count == sizes[one] > 1 and (count < sizes[other] or one > other):
                holders.setdefault(one, []).append(other)
        if holders:
            copied = sorted(holders, key=lambda one: -len(holders[one]))
            names = ["the train images", "the test images"]
            if key == "source":
                names = [source.name for source in account.sources]
            raise UserError(
                f"{account.root}: {listed([names[x] for x in copied])}: probably the same data "
                f"as {listed([names[x] for x in holders[copied[0]]])}: all its "
                f"{sizes[copied[0]]} different images are there, too; move one of them out of it"
            )
    digests, is_test = facts["digest"][is_copied], in_test[is_copied]
    copies = digests[digests.duplicated()]
    if len(copies):
        last = copies.index[0]
        first = digests.index[digests == copies[last]][0]
        across = int(digests[is_test].isin(digests[~is_test]).sum())
        account.warnings.append(
            f"{account.place(last)}: the same image as {account.place(first)}; {len(copies)} "
            f"images are copies of others, {across} test images are among the training images"
        )


def draw_test_rows(labels: Texts, test_fraction: float) -> Flags:
    """Draw test rows, stratified by class: each class gets its share to within one row.

    Refuse a share, 0..1, that leaves no row to test on, or none to train on.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    # With the rows sorted by class, those at which the cumulative share passes an integer.
    chosen = np.diff(np.floor(test_fraction * np.arange(len(labels) + 1))) > 0
    if chosen.all() or not chosen.any():
        raise UserError(
            f"params.yaml: test_fraction is {test_fraction:g}, which leaves {chosen.sum()} of "
            f"{len(labels)} images to test on, expected at least one, and one to train on"
        )
    in_test = np.zeros(len(labels), bool)
    in_test[by_class[chosen]] = True
    return in_test
