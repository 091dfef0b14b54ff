"""A sweep beside the published numbers: what MM1 measured, which arms stand for it, and whether its lessons hold."""
