"""Public prompts and what of them a user does not want, by a language model: a chat endpoint (OpenAI protocol) or a GGUF file."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hisopt.errors import InputError
from hisopt.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_MEMBERS = 40  # of a cluster that the model reads; from larger ones as many, evenly spread
MOST_WORDS = 60  # of an answer that are kept; CLIP reads 77 tokens
_MAX_TOKENS = 120

PUBLIC = (
    "You name what several image descriptions have in common. Answer with a single line: one image description of at most "
    "25 words that keeps the shared subjects, setting and style and leaves out what only one of them wants. No explanation."
)
UNSHARED = (
    "You compare two image descriptions. Answer with a single line: a comma-separated list of at most ten short phrases that "
    "occur in the first description and are unwanted in the second. No explanation."
)

NEGATIVE = (
    "You write the opposite of an image description. Answer with a single line: the same description, with the same subject "
    "and structure, in which every adjective is replaced by an antonym. A fluffy white cat with blue eyes becomes a sleek "
    "black cat with yellow eyes. No explanation."
)


class Model(Protocol):
    """A language model that answers one question."""

    @property
    def identity(self) -> str:
        """Names the model and its settings: what an answer depends on besides the question."""

    def answer(self, system: str, user: str) -> str:
        """Return the model's answer; raise `InputError` if there is none."""


@dataclass(frozen=True)
class Endpoint:
    """A chat endpoint of the OpenAI protocol (extra ``chat``).

    Attributes
    ----------
    url
        Base URL, such as ``http://host:8000/v1``.
    model
        The model's name there.
    key
        API key; empty where none is needed.
    timeout_s
        Seconds to wait for one answer.
    retries
        How often a request is repeated that timed out, or that the server was too busy for.
    """

    url: str
    model: str
    key: str = ""
    timeout_s: float = 60.0
    retries: int = 3

    @property
    def identity(self) -> str:
        """URL and model."""
        return f"{self.url} {self.model}"

    def answer(self, system: str, user: str) -> str:
        """Ask at temperature 0; raise `InputError` with the reason if no answer comes."""
        try:
            import openai
        except ImportError:
            raise InputError("a chat endpoint needs the extra 'chat' (pip install 'hisopt[chat]')") from None

        try:
            with openai.OpenAI(
                base_url=self.url, api_key=self.key or "none", timeout=self.timeout_s, max_retries=self.retries
            ) as client:
                reply = client.chat.completions.create(
                    model=self.model, temperature=0, max_tokens=_MAX_TOKENS,
                    messages=[{"role": "system", "content": system}, {"role": "user", "content": user}],
                )  # fmt: skip
        except openai.APITimeoutError:
            raise InputError(
                f"{self.url}: no answer within {self.timeout_s:g} s, asked {self.retries + 1} times"
            ) from None
        except openai.APIConnectionError as error:
            raise InputError(f"{self.url}: {error.__cause__ or error}") from None
        except openai.APIStatusError as error:
            raise InputError(
                f"{self.url}: answered {error.status_code}: {' '.join(error.message.split())[:200]}"
            ) from None
        except (openai.OpenAIError, ValueError) as error:
            raise InputError(f"{self.url}: {' '.join(str(error).split())[:200]}") from None
        choices = getattr(reply, "choices", None)
        content = choices[0].message.content if choices else None
        if not content:
            raise InputError(f"{self.url}: the answer holds no text; is it an endpoint of the OpenAI protocol?")
        return str(content)


@dataclass
class LocalModel:
    """A GGUF model run by llama-cpp-python (extra ``llm``)."""

    path: Path
    context: int = 4096
    _llama: Any = None

    @property
    def identity(self) -> str:
        """File name and size."""
        return f"{self.path.name} {self.path.stat().st_size}"

    def answer(self, system: str, user: str) -> str:
        """Answer at temperature 0; raise `InputError` for a file that is no model, or a question beyond its context."""
        if self._llama is None:
            try:
                from llama_cpp import Llama
            except ImportError:
                raise InputError("a GGUF model needs the extra 'llm' (pip install 'hisopt[llm]')") from None
            except (OSError, RuntimeError) as error:  # its compiled library does not load
                raise InputError(f"llama-cpp-python: {' '.join(str(error).split())[:200]}") from None
            try:
                self._llama = Llama(model_path=str(self.path), n_ctx=self.context, seed=0, verbose=False)
            except (ValueError, OSError) as error:
                raise InputError(f"{self.path}: {' '.join(str(error).split())}") from None
        try:
            reply = self._llama.create_chat_completion(
                messages=[{"role": "system", "content": system}, {"role": "user", "content": user}],
                temperature=0, max_tokens=_MAX_TOKENS,
            )  # fmt: skip
        except (ValueError, RuntimeError) as error:
            raise InputError(f"{self.path}: {' '.join(str(error).split())}") from None
        return str(reply["choices"][0]["message"]["content"] or "")


@dataclass(frozen=True)
class Cached:
    """A model whose answers are kept on disk, one JSON file for each question, so that no answer is asked for twice."""

    model: Model
    folder: Path

    @property
    def identity(self) -> str:
        """The model's."""
        return self.model.identity

    def answer(self, system: str, user: str) -> str:
        """Return the kept answer, or ask and keep it; an unreadable file is asked for again."""
        question = {"model": self.identity, "system": system, "user": user}
        path = self.folder / f"{hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()}.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if {key: found.get(key) for key in question} == question and isinstance(found.get("answer"), str):
                return str(found["answer"])
        except (OSError, ValueError, AttributeError):
            pass
        answer = self.model.answer(system, user)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder}: {error.strerror}") from None
        write_atomically(path, json.dumps(question | {"answer": answer}, indent=1) + "\n")
        return answer


def cache_folder() -> Path:
    """Return where answers are kept by default: ``$XDG_CACHE_HOME/hisopt/chat``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hisopt" / "chat"


def public_prompt(model: Model, members: Sequence[str]) -> str:
    """Return a model's public prompt for the prompts of one cluster; raise `InputError` if it writes none."""
    step = max(len(members) / MOST_MEMBERS, 1.0)
    chosen = [members[int(k * step)] for k in range(min(len(members), MOST_MEMBERS))]
    found = _line(model.answer(PUBLIC, "\n".join(f"- {text}" for text in chosen)))
    if not found:
        raise InputError(f"{model.identity}: wrote an empty public prompt")
    return found


def unshared_phrases(model: Model, prompt: str, public: str) -> str:
    """Return what a model finds in the public prompt and not in a user's, to be suppressed after sharing. May be empty.

    Ours; the journal paper's NPI is another text: the user's own prompt with its adjectives turned into antonyms.
    """
    return _line(model.answer(UNSHARED, f"First: {public}\nSecond: {prompt}"))


def negative_prompt(model: Model, prompt: str) -> str:
    """Return a model's negative prompt as published (NPI): the prompt with its adjectives turned into antonyms.

    Empty where the model writes nothing, or the prompt itself, which would suppress what the user wants.
    """
    found = _line(model.answer(NEGATIVE, prompt))
    return "" if found.casefold().strip(" .") == prompt.casefold().strip(" .") else found


def _line(answer: str) -> str:
    """The first line of an answer that says something, without quotes and list marks."""
    for line in answer.splitlines():
        found = line.strip().strip("\"'`*- ").strip()
        if found:
            return " ".join(found.split()[:MOST_WORDS])
    return ""
