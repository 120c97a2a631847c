"""The least that FastAPI does for an answer: one route, one small document, nothing behind it."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def bare() -> dict[str, str]:
    """Answer."""
    return {"hello": "world"}
