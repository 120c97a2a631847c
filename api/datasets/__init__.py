"""Datasets of one's own: read in whatever form they come, checked, stored by their content."""
