"""What a folder was answered is taken for what it is, whoever stands between the command and the gateway."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.submit import NotAllowed, Outcome, Resume, Submission, Tally, writing

STUDY = "0123456789abcdef" * 2
LOCATION = f"/v1/ecgs/{STUDY}"


class Answer(NamedTuple):
    status: int
    location: str | None = None
    body: str = "<html>"


@contextmanager
def server(answers: list[Answer]) -> Iterator[str]:
    """A real web server that gives one answer after the other, at once, and the last one for ever."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(answer.status)
            if answer.location is not None:
                self.send_header("Location", answer.location)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body.encode())

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}"
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "archive"
    made.mkdir()
    (made / "one.csv").write_text("1,2")
    return made


def send(url: str, folder: Path) -> list[Outcome]:
    submission = Submission(url=url, key="k", parameters={"priority": "backfill"}, connections=1, give_up_after=20)
    return list(submission.send(folder, Resume(folder.parent / "resume"))[1])


@pytest.mark.parametrize(
    "answer",
    [
        Answer(308, "https://other.example/v1/ecgs?priority=backfill"),
        Answer(302, LOCATION),
        Answer(200),
        Answer(202, "/v1/ecgs/"),
        Answer(201, LOCATION),
        Answer(413),
    ],
)
def test_what_is_no_answer_of_a_gateway_is_no_acceptance(answer: Answer, folder: Path) -> None:
    with server([answer]) as url:
        (outcome,) = send(url, folder)
        one = CliRunner().invoke(cli, ["submit", str(folder / "one.csv"), "--url", url, "--key", "k"])
    assert (outcome.accepted, outcome.status, outcome.id) == (False, answer.status, "")
    assert str(answer.status) in outcome.problem
    assert not (folder.parent / "resume").exists()
    assert one.exit_code == 1
    assert "no answer of a gateway" in one.output


def test_a_redirection_says_where_the_gateway_is(folder: Path) -> None:
    with server([Answer(308, "https://other.example/v1/ecgs")]) as url:
        (outcome,) = send(url, folder)
    assert "https://other.example/v1/ecgs" in outcome.problem


@pytest.mark.parametrize("status", [409, 429, 502, 503, 504])
def test_what_passes_is_waited_for(status: int, folder: Path) -> None:
    with server([Answer(status), Answer(202, LOCATION)]) as url:
        (outcome,) = send(url, folder)
    assert (outcome.accepted, outcome.status, outcome.id) == (True, 202, STUDY)


def test_a_key_that_a_proxy_refuses_ends_the_run_in_words(folder: Path) -> None:
    with server([Answer(403)]) as url, pytest.raises(NotAllowed, match="403"):
        send(url, folder)


def test_what_one_gateway_accepted_is_sent_to_another(folder: Path) -> None:
    with server([Answer(202, LOCATION)]) as url, server([Answer(202, LOCATION)]) as other:
        assert [outcome.status for outcome in send(url, folder)] == [202]
        assert [outcome.status for outcome in send(url + "/", folder)] == [0], "accepted before"
        assert [outcome.status for outcome in send(other, folder)] == [202]


@pytest.mark.parametrize("cut", [1, 2, 33, 34, 90])
def test_a_line_that_was_cut_off_is_no_acceptance(cut: int, tmp_path: Path) -> None:
    accepted = Outcome(name="one", digest="d" * 64, status=202, id=STUDY)
    file = tmp_path / "resume"
    Resume(file).add(accepted)
    assert Resume(file).known(accepted.digest) == STUDY
    whole = file.read_text()
    file.write_text(whole[:-cut])
    assert Resume(file).known(accepted.digest) == (STUDY if cut == 1 else None), "the end of the line is no part of it"


OUTCOMES = [
    Outcome(name="one", digest="d" * 64, status=202, id=STUDY),
    Outcome(name="two", digest="", status=415, problem='"no", they said'),
]


def stopped_after(outcomes: list[Outcome], path: Path) -> None:
    with writing(path) as write:
        for outcome in outcomes:
            write(outcome)
        raise KeyboardInterrupt


@pytest.mark.parametrize("count", [0, 1, 2])
def test_results_are_written_as_they_come_and_whole_when_a_run_is_stopped(count: int, tmp_path: Path) -> None:
    for name in ("r.json", "r.csv"):
        with pytest.raises(KeyboardInterrupt):
            stopped_after(OUTCOMES[:count], tmp_path / name)
    names = [outcome.name for outcome in OUTCOMES[:count]]
    assert [each["name"] for each in json.loads((tmp_path / "r.json").read_text())] == names
    with (tmp_path / "r.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["problem"]) for row in rows] == [(o.name, o.problem) for o in OUTCOMES[:count]]


def test_of_many_that_are_refused_the_first_are_remembered() -> None:
    tally = Tally()
    for number in range(1000):
        tally.add(Outcome(name=str(number), digest="", status=415))
    assert tally.refused == 1000
    assert [outcome.name for outcome in tally.first_refused] == [str(number) for number in range(20)]
