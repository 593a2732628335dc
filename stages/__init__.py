"""The pipeline: one module a stage, in the order of dvc.yaml, and the modules that stages share.

Stages: fetch, convert, train, evaluate, sanity_check; ``python -m stages.train --help`` and so on.

Run by hand after training, in the same way: encode, reconstruct.

Shared: ``datasets`` (what is published, and its digests), ``idx`` (the format that it has),
``pictures`` (picture files), ``table`` (the CSV format), ``autoencoder`` (the network and its
file), ``params`` (params.yaml), ``command`` (a stage on the command line), ``files`` (writing,
digests). Part of fetch: ``sources`` (where published files can be had). Parts of train: ``trainer``
(the loop), ``step`` (one step of it), ``distributed`` (several processes), ``checkpoint`` (going on
after a stop).
"""


class InputError(Exception):
    """What a user can cause and mend; its message is one line: what, where, what to do."""
