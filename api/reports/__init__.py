"""Comparisons of finished jobs: one typed Comparison, and one renderer for each format."""
