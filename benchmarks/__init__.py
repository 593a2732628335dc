"""What speed and choices are worth, measured: `make bench`, `make choices`."""
