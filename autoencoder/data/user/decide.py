"""Decide: white, ink, labels, copies and split, each in one function, from the account."""

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


def find_white(account: Account) -> None:
    """Decide which value is white where the format does not say it: 255, or 1 of fractions.

    Refuse a range that is unclear. Values between integers are rounded.
    """
    facts = account.facts
    unscaled = facts[~facts["has_white"]]
    of_source = unscaled.groupby("source")
    largest, has_fractions = of_source["maximum"].max(), of_source["fractions"].any()
    is_small = largest <= _NEAR_ONE
    fractional = is_small & has_fractions
    unclear = largest.index[has_fractions & ~is_small & (largest < MIDDLE)]
    account.white = 1 if fractional.any() or unscaled["maximum"].max() == 1 else 255
    minimum, maximum = float(facts["minimum"].min()), float(facts["maximum"].max())
    for kind, cell, wrong in (
        ("maximum", "highest", ~(facts["maximum"] < 255.5) | facts["source"].isin(unclear)),
        ("minimum", "lowest", ~(facts["minimum"] > -0.5 / 255 * account.white)),
    ):
        if wrong.any():
            row = int(facts[kind].where(wrong, 0).abs().to_numpy().argmax())  # NaN, if there is one
            is_number = np.isfinite(facts[kind][row])
            how = _how_to_scale(minimum, maximum) if is_number else "replace or remove it"
            raise UserError(
                f"{account.cell(row, int(facts[cell][row]))} has a value {facts[kind][row]:.6g}, "
                f"the maximum of all is {maximum:.6g}; expected grey values 0..255, or fractions "
                f"0..1; {how}"
            )
    if fractional.any() and not is_small.all():
        small, large = (account.sources[int(x.index[x][0])].name for x in (fractional, ~is_small))
        raise UserError(
            f"{small}: some images have fractions in 0..1, others values up to {maximum:g} "
            f"({large}), expected the same range in all; scale them to 0..255"
        )
    facts["scale"] = np.where(facts["has_white"], 1, 255 / account.white)


def check_dark(account: Account, by_class: bool) -> None:
    """Refuse sources or classes that are almost black next to others; warn of darker images."""
    facts = account.facts
    maximum = float(facts["maximum"].max())
    brightest = facts["maximum"] * facts["scale"]
    least = np.where(facts["has_white"], _DARK, MIDDLE)
    is_shown = facts["maximum"] > 0
    if is_shown.any() and (brightest < least).all():
        hint = "divide the pixels by it, but not the labels"
        raise UserError(
            f"{account.root}: the maximum of all pixels is {maximum:.4g}, expected {account.white} "
            f"(white); {'brighten the pictures' if facts['has_white'].all() else hint}"
        )

    def in_parts(*keys: str) -> "pd.Series[float]":
        return brightest.groupby([facts[key] for key in keys], observed=True).transform("max")

    is_black = in_parts("source", "has_white", "bits") < least
    is_dark = brightest < _DARK
    if by_class:
        is_black |= in_parts("source", "label") < _DARK
    if by_class and brightest.max() > 2 * MIDDLE - 2:
        is_dark |= (in_parts("split") < MIDDLE) | (in_parts("label") < MIDDLE)
    for rows, what in ((is_black & is_shown, "almost black"), (is_dark & is_shown, "dark")):
        if rows.any():
            place, of_rows = account.place(int(rows.argmax())), facts["maximum"][rows].max()
            message = (
                f"{place}: {rows.sum()} of {len(facts)} images have values up to {of_rows:.4g}, "
                f"others up to {maximum:g}, so they are {what}; save them in the same range"
            )
            if what == "almost black":
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
    each = pd.DataFrame({"border": facts["border"] * facts["scale"]})
    each["is_bright"], each["is_dark"] = each["border"] >= 224, each["border"] < 32
    keys = [facts["split"], facts["source"], facts["label"]]
    groups = each.groupby(keys, observed=True, sort=False)
    parts = groups.mean()

    def names(chosen: "pd.Series[bool]") -> list[str]:
        """Name the source, and the class if there is one, of parts."""
        found = dict.fromkeys((source, label) for _, source, label in parts.index[chosen])
        return [
            account.sources[source].name + (f" ({label})" if label != UNLABELLED else "")
            for source, label in found
        ]

    if mixed := names((parts["is_bright"] > 0.1) & (parts["is_dark"] > 0.1)):
        account.warn(
            f"{listed(mixed)}: some images are black on white, others white on black, in each of "
            "these; exchange black and white of some"
        )
    border = groups["border"].transform("mean").to_numpy()
    flags = border >= MIDDLE if invert == "auto" else np.full(len(facts), invert)
    account.border = float(np.where(flags, 255 - border, border).mean())
    if invert == "auto":
        where = listed(names(parts["border"] >= MIDDLE)) or "no part"
        account.ink = f"white on black; exchanged, because of bright borders, in {where}"
        return flags
    account.ink = ink_of(account.border) + ", exchanged" * invert
    bright, dark = names(parts["border"] >= 160), names(parts["border"] < 96)
    if bright and dark:
        few = min(bright, dark, key=len)
        ink = "black on white" if few is bright else "white on black"
        account.warn(
            f"{listed(few)}: {ink}, the opposite of the others; set `invert: auto` to decide by "
            "the border of each"
        )
    return flags


def ink_of(border: float) -> str:
    """Name the ink of images with a mean border, 0..255."""
    return "black on white" if border >= MIDDLE else "white on black"


def check_constant(account: Account, to_learn: bool) -> None:
    """Warn of images whose pixels are all equal; refuse to learn from these alone."""
    facts = account.facts
    constant = facts["minimum"] == facts["maximum"]
    if constant.all() and to_learn:
        raise UserError(
            f"{account.root}: in each of the {len(facts)} images, all pixels are equal; nothing "
            "can be learned from them"
        )
    if constant.any():
        count, first = f"{constant.sum()} of {len(facts)}", int(constant.argmax())
        account.warn(f"{count} images are constant, this one first", first)


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
        account.warn(f"classes that differ in case only: {pairs}; rename them if they are the same")
    skipped = [x for x in account.skipped if not x.endswith(LITTER)]
    if len(names) == 1 and skipped:
        account.warn(
            f"all images are of one class, {names[0]}; if labels are in what was skipped, write "
            f"them as a table with the columns path and label: {listed(skipped, 3)}"
        )
    train, test = (set(labels[rows].unique()) for rows in (~in_test, in_test))
    if not train & test:
        account.warn(
            f"training has {_classes(train)}, testing {_classes(test)}: none in common, so the "
            "probe's accuracy means nothing"
        )
    elif test - train:
        account.warn(f"of the test images alone: {_classes(test - train)}")


def _classes(names: set[str]) -> str:
    return f"the class{'es' * (len(names) != 1)} {listed(table.in_order(names))}"


def check_splits(account: Account) -> None:
    """Refuse columns of splits of which only some are known; warn if none is."""
    found = account.facts[["source", "split_name"]].drop_duplicates()
    for number, source in enumerate(account.sources):
        names = found["split_name"][found["source"] == number].tolist()
        unknown = sorted(name for name in names if not split_of(name))
        if unknown in ([], [""] * len(names)):
            continue
        message = (
            f"{source.name}: the splits {listed(list(map(repr, unknown)))}, "
            "expected train, validation or test"
        )
        if len(unknown) < len(names):
            raise UserError(f"{message} as in other rows; write these words, or delete the column")
        account.warnings.append(f"{message}, so they are ignored")


def check_copies(account: Account, in_test: Flags) -> None:
    """Refuse sources and splits that others contain; warn of other equal images."""
    facts = account.facts
    digests, is_shown = facts["digest"], facts["minimum"] < facts["maximum"]  # blanks are alike
    images = pd.DataFrame({"digest": digests, "source": facts["source"], "split": in_test})
    parts = {"source": [source.name for source in account.sources]}
    if {"train", "test"} <= set(facts["split"].unique()):
        parts["split"] = ["the train images", "the test images"]
    for key, names in parts.items():
        unique = images[is_shown].drop_duplicates(["digest", key])
        sizes: dict[Any, int] = unique[key].value_counts().to_dict()
        shared = unique[unique["digest"].duplicated(keep=False)]
        pairs = shared.merge(shared, on="digest").value_counts([f"{key}_x", f"{key}_y"])
        counts: dict[Any, int] = pairs.to_dict()
        holders: dict[Any, list[Any]] = {}
        for (one, other), count in counts.items():
            if one != other and count == sizes[one] > 1 and (count < sizes[other] or one > other):
                holders.setdefault(one, []).append(other)
        if holders:
            copied = sorted(holders, key=lambda one: -len(holders[one]))
            raise UserError(
                f"{account.root}: {listed([names[x] for x in copied])}: probably the same data "
                f"as {listed([names[x] for x in holders[copied[0]]])}: all its "
                f"{sizes[copied[0]]} different images are there, too; move one of them out of it"
            )
    is_copy = digests.duplicated() & is_shown
    if is_copy.any():
        copy = int(is_copy.argmax())
        original = account.place(int((digests == digests[copy]).argmax()))
        across = digests[in_test & is_shown].isin(digests[~in_test]).sum()
        account.warn(
            f"the same image as {original}; {is_copy.sum()} images are copies of others, {across} "
            "test images are among the training images",
            copy,
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
