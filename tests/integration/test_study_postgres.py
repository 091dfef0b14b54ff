"""A search whose study is in a real PostgreSQL, which dies and comes back."""
