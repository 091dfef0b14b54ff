"""Beside the published numbers: what MM1 measured, which arms of a sweep stand for it, and whether its lessons hold."""
