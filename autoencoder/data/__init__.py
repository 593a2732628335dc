"""From files to labels and uint8 images."""
