"""What the API and the workers agree on: the job specification, its states, the tables and the store.

Nothing here imports FastAPI or TensorFlow, and Celery only inside the function that needs it.
"""
