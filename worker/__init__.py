"""The trainers: the only part that imports TensorFlow. It takes jobs from Celery and never meets the API."""
