"""From images to a trained network and its scores."""
