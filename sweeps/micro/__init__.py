"""The paper's ablations at the size of two CPU cores."""
