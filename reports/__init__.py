"""Records to tidy frame, statistics, figures, tables and one HTML page."""
