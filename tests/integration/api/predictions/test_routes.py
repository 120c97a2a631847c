"""Which images the API accepts and refuses, and its responses without a predictor."""

import base64
import gc
import io
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from redis import Redis

from api.app import create_app
from models import predictions
from models.dispatch import QUEUE as TRAINING_QUEUE
from models.scopes import Scope
from models.settings import Settings
from models.states import JobState
from models.store import keys
from models.store.database import Database
from tests.factories import finished_job, job_in, job_spec
from tests.integration.api.conftest import TestClient
from tests.integration.api.http.test_problems import pointers, problem

JSON = {"Content-Type": "application/json"}
PNG = {"Content-Type": "image/png"}
BLANK = [[0] * 28 for _ in range(28)]
STROKE = np.zeros((28, 28))
STROKE[4:24, 5:9] = 255
# The tests of this file do not depend on the kind of database.
pytestmark = pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)


class Answers:
    """Replaces the predictor: records requests, and classifies every image as a nine."""

    def __init__(self) -> None:
        self.requests: list[tuple[list[str], NDArray[np.float32]]] = []

    def __call__(self, settings: Settings, job_ids: Sequence[str], images: bytes) -> list[list[list[float]]]:
        pixels = np.frombuffer(images, "<f4").reshape(-1, 28, 28)
        self.requests.append((list(job_ids), pixels))
        return [[[0.05] * 9 + [0.55] for _ in pixels] for _ in job_ids]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    answers = Answers()
    monkeypatch.setattr(predictions, "predict", answers)
    return answers


@pytest.fixture
def path(database: Database) -> str:
    return f"/v1/jobs/{finished_job(database).id}/predict"


def png(pixels: Any, form: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(content, form)
    return content.getvalue()


def digit(seed: int = 0) -> NDArray[np.uint8]:
    """Noise with a dark border."""
    pixels = np.random.default_rng(seed).integers(0, 256, (28, 28)).astype(np.uint8)
    pixels[[0, -1]] = pixels[:, [0, -1]] = 0
    return pixels


def seen(answers: Answers) -> list[Any]:
    return np.rint(answers.requests[-1][1] * 255).astype(int).tolist()


def test_images_as_numbers(client: TestClient, path: str, answers: Answers) -> None:
    images = [digit(0).tolist(), digit(1).tolist()]
    answer = client.post(path, json={"images": images})
    assert answer.status_code == 200
    assert answer.json() == {
        "job_id": path.split("/")[3],
        "predictions": [
            {
                "label": 9,
                "confidence": 0.55,
                "probabilities": [0.05] * 9 + [0.55],
                "warnings": [],
                "dropout": None,
            }
        ]
        * 2,
        "class_names": None,
        "images": None,
    }
    assert seen(answers) == images
    assert client.post(f"{path}?include=images", json={"images": images}).json()["images"] == images
    unit = (digit(0) / 255).tolist()
    assert client.post(path, json={"images": [unit], "scale": "unit"}).status_code == 200
    assert seen(answers) == images[:1]


@pytest.mark.parametrize("form", ["png", "jpeg"])
def test_one_file_as_the_body(client: TestClient, path: str, answers: Answers, form: str) -> None:
    pixels = np.full((28, 28), 0)
    pixels[8:20, 12:16] = 255
    answer = client.post(
        f"{path}?include=images", content=png(pixels, form.upper()), headers={"Content-Type": f"image/{form}"}
    )
    assert answer.status_code == 200, answer.text
    assert np.abs(np.array(answer.json()["images"][0]) - pixels).mean() < 10
    assert answer.json()["images"] == seen(answers)


def test_a_form_of_files(client: TestClient, path: str, answers: Answers) -> None:
    images = [digit(seed) for seed in range(3)]
    files = [("image", (f"{seed}.png", png(image))) for seed, image in enumerate(images)]
    answer = client.post(path, files=files)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["predictions"]) == 3
    assert seen(answers) == [image.tolist() for image in images]


def test_preprocessing_of_a_file_can_be_chosen(client: TestClient, path: str, answers: Answers) -> None:
    content = png(digit())
    for query, expected in (("", digit()), ("?invert=true", 255 - digit())):
        assert client.post(path + query, content=content, headers=PNG).status_code == 200
        assert seen(answers)[0] == expected.tolist()
    assert client.post(f"{path}?center=true", content=png(STROKE), headers=PNG).status_code == 200
    assert seen(answers)[0] != STROKE.tolist()
    for query in ("invert=maybe", "center=1", "include=everything"):
        assert pointers(client.post(f"{path}?{query}", content=content, headers=PNG)) == [
            f"?{query.partition('=')[0]}"
        ]


def test_f3_a_picture_without_ink_is_refused(client: TestClient, path: str, answers: Answers) -> None:
    blank, drawn = (("image", ("a.png", png(np.pad(pixels, 90)))) for pixels in (np.zeros((9, 9)), STROKE))
    [error] = problem(client.post(path, files=[drawn, blank]), 422)["errors"]
    assert (error["pointer"], error["detail"][:16]) == ("/image/1", "nothing is drawn")
    assert answers.requests == []


def test_f2_f3_what_is_doubtful_is_in_the_answer(
    client: TestClient, path: str, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = ("image", ("a.png", png(np.pad(np.hstack([STROKE, 0 * STROKE, STROKE]), 90))))
    once = ("image", ("b.png", png(np.pad(STROKE, 90))))
    several = ["several figures are drawn; only the largest was read"]
    answer = client.post(path, files=[twice, once]).json()
    assert [prediction["warnings"] for prediction in answer["predictions"]] == [several, []]
    monkeypatch.setattr(predictions, "predict", lambda *_: [[[0.06] * 9 + [0.46]] * 2])
    answer = client.post(path, files=[twice, once]).json()
    unsure = ["the model is unsure: 46% for a 9"]
    assert [prediction["warnings"] for prediction in answer["predictions"]] == [several + unsure, unsure]
    answer = client.post(path, json={"images": [BLANK, STROKE.tolist()]}).json()
    assert [item["warnings"] for item in answer["predictions"]] == [["nothing is drawn", *unsure], unsure]


def test_several_models_get_the_same_images(client: TestClient, database: Database, answers: Answers) -> None:
    one, other = finished_job(database).id, finished_job(database).id
    answer = client.post(
        f"/v1/predict?job={one}&job={other}&job={one}&include=images", json={"images": [digit().tolist()]}
    )
    assert [item["job_id"] for item in answer.json()["items"]] == [one, other]
    assert [len(item["predictions"]) for item in answer.json()["items"]] == [1, 1]
    assert answer.json()["images"] == [digit().tolist()]
    assert answers.requests[0][0] == [one, other]
    eleven = "&".join(f"job=job_{number}" for number in range(11))
    assert pointers(client.post(f"/v1/predict?{eleven}", json={"images": [BLANK]})) == ["?job"]
    assert pointers(client.post("/v1/predict", json={"images": [BLANK]})) == ["?job"]
    problem(client.post(f"/v1/predict?job={one}&job=job_none", json={"images": [BLANK]}), 404)
    problem(client.post("/v1/predict?job=a%00b", json={"images": [BLANK]}), 404)


def test_dropout_samples(
    client: TestClient, database: Database, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"images": [digit(seed).tolist() for seed in range(26)]}
    regularization: dict[str, Any] = {"gaussian_noise": {"sigma": 0.1}, "dropout": {"rate": 0.0}}
    plain = finished_job(database, job_spec(regularization=regularization)).id
    dropping = finished_job(database, job_spec(regularization={"dropout": {"rate": 0.5}})).id
    for query in ("1", "101", "x"):
        assert pointers(client.post(f"/v1/jobs/{dropping}/predict?dropout_samples={query}", json=body)) == [
            "?dropout_samples"
        ]
    refused = problem(
        client.post(f"/v1/predict?job={dropping}&job={plain}&dropout_samples=2", json=body), 422
    )
    assert f"the model of {plain} was trained without dropout" in refused["detail"]
    assert "a model with dropout or spatial_dropout or gaussian_dropout" in refused["detail"]
    refused = problem(client.post(f"/v1/jobs/{dropping}/predict?dropout_samples=100", json=body), 422)
    assert "2,600 passes (samples x models x images) are over 2,560" in refused["detail"]
    spread = {"samples": 98, "sd": [0.1] * 10, "predictive_entropy": 1.5, "mutual_information": 0.25}
    monkeypatch.setattr(
        predictions, "sample_dropout", lambda *_: ([[[0.05] * 9 + [0.55]] * 26], [[spread] * 26])
    )
    answer = client.post(f"/v1/jobs/{dropping}/predict?dropout_samples=98", json=body).json()
    assert answer["predictions"][25]["dropout"] == spread


def test_only_a_succeeded_job_can_predict(client: TestClient, database: Database, answers: Answers) -> None:
    for state in set(JobState) - {JobState.SUCCEEDED}:
        answer = client.post(f"/v1/jobs/{job_in(database, state)}/predict", json={"images": [BLANK]})
        assert "only a succeeded job has one" in problem(answer, 404)["detail"]
    problem(client.post("/v1/jobs/job_none/predict", json={"images": [BLANK]}), 404)
    assert answers.requests == []


def changed(row: int, column: int, value: Any) -> list[Any]:
    image: list[list[Any]] = [list(pixels) for pixels in BLANK]
    image[row][column] = value
    return image


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, "/images"),
        ([], ""),
        ({"images": []}, "/images"),
        ({"images": BLANK}, "/images/0/0"),
        ({"images": [BLANK[:27]]}, "/images/0"),
        ({"images": [[*BLANK, [0] * 28]]}, "/images/0"),
        ({"images": [BLANK, [*BLANK[:27], [0] * 27]]}, "/images/1/27"),
        ({"images": [BLANK] * 257}, "/images"),
        ({"images": [[0] * 784]}, "/images/0/0"),
        ({"images": [changed(2, 3, "5")]}, "/images/0/2/3"),
        ({"images": [changed(2, 3, None)]}, "/images/0/2/3"),
        ({"images": [changed(2, 3, True)]}, "/images/0/2/3"),
        ({"images": [changed(2, 3, -1)]}, "/images/0/2/3"),
        ({"images": [changed(2, 3, 256)]}, "/images/0/2/3"),
        ({"images": [changed(2, 3, float("nan"))]}, "/images/0/2/3"),
        ({"images": [changed(2, 3, float("inf"))]}, "/images/0/2/3"),
        ({"images": [changed(2, 3, 10**400)]}, "/images/0/2/3"),
        ({"images": [changed(2, 3, 2)], "scale": "unit"}, "/images/0/2/3"),
        ({"images": [changed(2, 3, 0.5)]}, "/images"),
        ({"images": [BLANK], "scale": "percent"}, "/scale"),
        ({"images": [BLANK], "label": 3}, "/label"),
    ],
)
def test_arrays_that_are_not_images_are_refused(
    client: TestClient, path: str, answers: Answers, document: Any, expected: str
) -> None:
    assert pointers(client.post(path, content=json.dumps(document), headers=JSON)) == [expected]
    assert answers.requests == []


def test_a_hint_for_numbers_from_0_to_1(client: TestClient, path: str, answers: Answers) -> None:
    answer = client.post(path, json={"images": [(digit() / 255).tolist()]})
    assert '"scale": "unit"' in problem(answer, 422)["detail"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"images":' * 20_000])
def test_invalid_json_is_refused(client: TestClient, path: str, answers: Answers, body: bytes) -> None:
    problem(client.post(path, content=body, headers=JSON), 400)


def test_a_million_invalid_numbers_are_refused_quickly_with_a_short_problem(
    client: TestClient, path: str, answers: Answers
) -> None:
    wrong = json.dumps({"images": [[[-1] * 28] * 28] * 256})
    long = json.dumps({"images": [[0] * 10**6]})
    started = time.process_time()
    for body, expected in ((wrong, "/images/0/0/0"), (long, "/images/0/0")):
        answer = client.post(path, content=body, headers=JSON)
        assert pointers(answer) == [expected]
        assert len(answer.content) < 2_000
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "content_type", ["image/gif", "image/svg+xml", "image/tiff", "application/octet-stream", "text/plain", ""]
)
def test_other_formats_are_refused(
    client: TestClient, path: str, answers: Answers, content_type: str
) -> None:
    answer = client.post(path, content=png(digit()), headers={"Content-Type": content_type})
    assert "multipart/form-data" in problem(answer, 415)["detail"]


def test_a_file_that_is_not_an_image_is_refused(client: TestClient, path: str, answers: Answers) -> None:
    gif = png(digit(), "GIF")
    assert pointers(client.post(path, content=gif, headers=PNG)) == [""]
    assert pointers(client.post(path, content=b"", headers=PNG)) == [""]
    good = ("image", ("a.png", png(digit())))
    assert pointers(client.post(path, files=[good, ("image", ("b.png", gif))])) == ["/image/1"]


def test_invalid_forms_are_refused(client: TestClient, path: str, answers: Answers) -> None:
    good = ("image", ("a.png", png(digit())))
    assert pointers(client.post(path, files=[good, ("picture", ("b.png", png(digit())))])) == ["/picture"]
    assert pointers(client.post(path, files=[good], data={"image": "text"})) == [""]
    assert pointers(client.post(path, files=[good] * 257)) == [""]
    cut_off = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + good[1][1]
    for content_type, body in (
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", cut_off),
        ("multipart/form-data; boundary=x", b"--x--\r\n"),
        ("multipart/form-data; boundary=x", b"no form at all"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n--x--"),
        ("multipart/form-data; boundary=" + "x" * 300, b"--x--"),
    ):
        answer = client.post(path, content=body, headers={"Content-Type": content_type})
        assert pointers(answer) == [""]
    assert answers.requests == []


def test_a_hostile_form_is_cheap_to_refuse(client: TestClient, path: str, answers: Answers) -> None:
    boundary = b"--x\r\n"
    part = boundary + b'Content-Disposition: form-data; name="image"; filename="a"\r\n\r\n\r\n'
    bodies = [
        part * 50_000,
        boundary + b"A: b\r\n" * 600_000,
        boundary + b"A" * 4_000_000,
        part[:-2] + b"\r\n--" * 1_000_000,
    ]
    for body in bodies:
        started = time.process_time()
        whole = body[:4_194_000] + b"\r\n--x--\r\n"
        answer = client.post(path, content=whole, headers={"Content-Type": "multipart/form-data; boundary=x"})
        assert pointers(answer) in ([""], ["/image/0"])
        assert time.process_time() - started < 2, body[:80]


def in_pieces(body: bytes) -> Iterator[bytes]:
    """Sent so, a body declares no length."""
    for start in range(0, len(body), 4096):
        yield body[start : start + 4096]


@pytest.mark.parametrize("content_type", ["application/json", "image/png", "multipart/form-data; boundary=x"])
def test_a_body_over_the_limit_is_refused(
    database_settings: Settings, path: str, answers: Answers, content_type: str
) -> None:
    small = database_settings.model_copy(update={"max_upload_bytes": 10_000})
    with TestClient(create_app(small)) as client:
        for body in (b" " * 10_001, in_pieces(b" " * 20_000)):
            answer = client.post(path, content=body, headers={"Content-Type": content_type})
            assert "at most 10,000 bytes" in problem(answer, 413)["detail"]
        assert pointers(client.post(path, content=b" " * 10_000, headers=PNG)) == [""]


def test_without_a_broker_the_problem_names_it(client_without_broker: TestClient, path: str) -> None:
    answer = client_without_broker.post(path, json={"images": [BLANK]})
    assert "broker" in problem(answer, 503)["detail"]
    assert int(answer.headers["Retry-After"]) > 0


@pytest.fixture
def client_without_reply(
    settings_with_broker: Settings, database: Database, broker: Redis
) -> Iterator[TestClient]:
    """A client of an API whose broker has the heartbeat of a predictor that never replies."""
    broker.set(predictions.READY, "1")
    settings = settings_with_broker.model_copy(update={"prediction_seconds": 0.2})
    with TestClient(create_app(settings)) as client:
        yield client


def test_without_a_predictor_the_problem_explains_immediately_how_to_start_one(
    client_without_reply: TestClient, path: str, broker: Redis
) -> None:
    broker.delete(predictions.READY)
    answer = client_without_reply.post(path, json={"images": [BLANK]})
    document = problem(answer, 503)
    assert "python -m celery -A worker.predictor:app worker" in document["detail"]
    assert document["type"].endswith("predictor_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert broker.llen(predictions.QUEUE) == 0


def test_a_predictor_that_does_not_answer_times_out(
    client_without_reply: TestClient, path: str, broker: Redis
) -> None:
    answer = client_without_reply.post(path, json={"images": [digit().tolist()]})
    assert "did not answer within 0.2 s" in problem(answer, 503)["detail"]
    [message] = broker.lrange(predictions.QUEUE, 0, -1)
    request = json.loads(base64.b64decode(json.loads(message)["body"]))[1]
    assert request["job_ids"] == [path.split("/")[3]]
    pixels = np.frombuffer(base64.b64decode(request["images"]), "<f4")
    assert np.rint(pixels * 255).astype(int).tolist() == digit().ravel().tolist()
    # A predictor that starts later drops it.
    assert json.loads(message)["headers"]["expires"]
    assert broker.llen(TRAINING_QUEUE) == 0


def test_an_answer_may_take_longer_than_the_timeout_of_a_socket(
    settings_with_broker: Settings, path: str, broker: Redis
) -> None:
    broker.set(predictions.READY, "1")
    settings = settings_with_broker.model_copy(update={"prediction_seconds": 60})
    with TestClient(create_app(settings)) as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.post, path, json={"images": [BLANK]})
        _, message = broker.brpop(predictions.QUEUE, timeout=30)
        time.sleep(2.5)
        reply_key = json.loads(base64.b64decode(json.loads(message)["body"]))[1]["reply_key"]
        broker.rpush(reply_key, json.dumps({"probabilities": [[[0.05] * 9 + [0.55]]]}))
        assert answer.result(timeout=30).json()["predictions"][0]["label"] == 9
        assert not broker.exists(reply_key)


def test_one_owner_cannot_take_all_predictions(
    settings_with_broker: Settings, database: Database, path: str, broker: Redis
) -> None:
    broker.set(predictions.READY, "1")
    changes = {"prediction_seconds": 60, "max_predictions_per_owner": 1, "api_keys_required": "true"}
    foreign = f"/v1/jobs/{finished_job(database, owner='eve').id}/predict"
    with database.write() as session:
        created = [
            keys.create_key(session, name="", owner=owner, scope=Scope.WRITE) for owner in ("local", "eve")
        ]
    ours, eves = ({"Authorization": f"Bearer {key}"} for _, key in created)
    body = {"images": [BLANK]}
    with (
        TestClient(create_app(settings_with_broker.model_copy(update=changes))) as client,
        ThreadPoolExecutor(2) as pool,
    ):
        waiting = [pool.submit(client.post, path, json=body, headers=ours)]
        messages = [broker.brpop(predictions.QUEUE, timeout=30)[1]]
        refused = client.post(path, json=body, headers=ours)
        assert "of yours are already waiting" in problem(refused, 503)["detail"]
        waiting.append(pool.submit(client.post, foreign, json=body, headers=eves))
        messages.append(broker.brpop(predictions.QUEUE, timeout=30)[1])
        for message in messages:
            reply_key = json.loads(base64.b64decode(json.loads(message)["body"]))[1]["reply_key"]
            broker.rpush(reply_key, json.dumps({"probabilities": [[[0.05] * 9 + [0.55]]]}))
        assert [answer.result(timeout=30).status_code for answer in waiting] == [200, 200]


def test_no_subscription_outlives_a_request_that_timed_out(
    client_without_reply: TestClient, path: str, broker: Redis
) -> None:
    gc.disable()  # it would unsubscribe as well, some time later
    try:
        with ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(lambda _: client_without_reply.post(path, json={"images": [BLANK]}), range(8))
            )
        assert {answer.status_code for answer in answers} == {503}
        assert broker.pubsub_channels() == []
        assert broker.keys(f"{predictions.REPLIES}*") == []
    finally:
        gc.enable()


def test_prediction_requests_do_not_pile_up(
    client_without_reply: TestClient, path: str, broker: Redis
) -> None:
    for _ in range(40):
        broker.lpush(predictions.QUEUE, "{}")
    assert (
        "40 requests already wait"
        in problem(client_without_reply.post(path, json={"images": [BLANK]}), 503)["detail"]
    )
    assert broker.llen(predictions.QUEUE) == 40
