"""Turns a sweep's records into a tidy frame, statistics, figures, tables and one HTML page."""
