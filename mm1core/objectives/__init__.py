"""Pre-training objectives of the image encoder."""
