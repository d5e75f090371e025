"""Runs beside each other: one Markdown file and one self-contained HTML page."""
