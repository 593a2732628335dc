"""The pipeline: one module a stage, in the order of dvc.yaml.

fetch, convert, train, evaluate, sanity_check; and for a trained network, run by hand, encode and
reconstruct. ``python -m stages.train --help`` and so on tell what each reads and writes. What they
share is in ``stages.shared``.
"""


class InputError(Exception):
    """What a user can cause and mend; its message is one line: what, where, what to do."""
