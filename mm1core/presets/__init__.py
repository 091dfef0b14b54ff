"""Base configurations as YAML."""
