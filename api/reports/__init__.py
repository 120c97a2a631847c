"""Comparisons of finished jobs: statistics, one typed Comparison, and one renderer for each format."""
