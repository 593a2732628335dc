"""The pipeline: one module a stage, in the order of dvc.yaml, and the modules that stages share.

Stages: fetch, convert, train, evaluate, sanity_check; ``python -m stages.train --help`` and so on.

Shared: ``idx`` (MNIST's files as published), ``table`` (the CSV format), ``autoencoder`` (the
network and its file), ``params`` (params.yaml), ``command`` (a stage on the command line),
``files`` (writing, digests). Parts of train: ``trainer`` (the loop), ``step`` (one step of it),
``checkpoint`` (going on after a stop).
"""


class InputError(Exception):
    """What a user can cause and mend; its message is one line: what, where, what to do."""
