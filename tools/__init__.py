"""What is done with runs of the pipeline: comparing them, and running it for several values."""
