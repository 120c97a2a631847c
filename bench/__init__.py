"""Speed beside what a user would pick instead. Every figure is a ratio within one run."""
