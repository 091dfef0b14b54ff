"""One figure a module, each in the style of the paper."""
