"""What stages share, each module with one subject.

Of data: ``datasets`` (what is published, and its digests), ``sources`` (where it can be had),
``idx`` (the format that it has), ``pictures`` (picture files), ``table`` (the CSV format). Of the
network: ``autoencoder`` (itself and its file), ``trainer`` (the loop), ``step`` (one step of it),
``distributed`` (several processes), ``checkpoint`` (going on after a stop). Of each stage:
``params`` (params.yaml), ``command`` (the command line), ``files`` (writing, digests).
"""
