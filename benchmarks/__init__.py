"""Speed, scaling and ablations."""
