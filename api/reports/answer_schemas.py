"""The answer of a report, as frozen values."""

from pydantic import Field

from api.http.schemas import ResponseModel


class Answer(ResponseModel):
    """What a report shows of one tested metric."""

    metric: str
    title: str
    text: str = Field(description="One sentence about all variants")
    confidence: str


class NextStep(ResponseModel):
    """The fewest seeds that would probably settle something that is open."""

    follow_up: bool = Field(description="By another experiment on fresh seeds, else by more seeds here")
    variants: list[str] = Field(description="Whom to test again, besides the baseline")
    seeds: int
    seconds: float | None = Field(description="Of training, as these runs took; null if unknown")
    text: str
