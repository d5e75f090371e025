"""A whole evaluation from one document: image sets, their scores, their speed, and the report."""
