"""What any HTTP service needs, and nothing of machine learning."""
