"""The sweep: YAML to trials to stages to jobs to records, and the ``ablate`` command."""
