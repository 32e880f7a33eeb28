"""Text to tokens and back: by a model's tokenizer, or by the text as a server sends it."""

import re
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

from satisfice.core.errors import BadInput, MissingExtra
from satisfice.core.profile import Profile
from satisfice.models.recognise import ON, Recognised, end_ids, recognise

_WORDS = re.compile(r" ?[^\W\d]+|\d| ?[^\w\s]+|\s+")  # about where tokenizers split: a space goes with what follows
KNOWN = 1 << 18  # different pieces of text that are kept: about 40 MB


class Words(Protocol):
    """Text to tokens and back."""

    end_ids: frozenset[int]

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: list[int]) -> str: ...

    def piece(self, token: int) -> bytes: ...


class TokenizerWords:
    """The tokenizer of a model folder, with its chat form and its profile; no weights are read."""

    def __init__(self, folder: Path) -> None:
        try:
            from transformers import AutoTokenizer
        except ModuleNotFoundError as error:
            raise MissingExtra("reading a tokenizer", "local") from error
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BadInput(f"{folder} holds no tokenizer that can be read: {error}") from error
        self.folder = folder
        self.end_ids = frozenset(end_ids(folder, self.tokenizer))
        self.decode = _decoder(self.tokenizer)
        self.piece: Callable[[int], bytes] = lru_cache(None)(
            partial(_token_bytes, self.tokenizer, *_kind(self.tokenizer))
        )
        self._encode = lru_cache(4096)(self._encoded)

    @cached_property
    def recognised(self) -> Recognised:
        """How the model thinks, and what tells so."""
        return recognise(self.folder, self.tokenizer)

    @property
    def profile(self) -> Profile:
        """How the model thinks."""
        return self.recognised.profile

    def encode(self, text: str) -> list[int]:
        return list(self._encode(text))

    def form(self, question: str) -> str:
        """Return the question in the model's chat form, which may leave thinking to be opened."""
        return self._form([{"role": "user", "content": question}], ON)

    def render(self, question: str, profile: Profile) -> str:
        """Return the question in the model's chat form, with thinking open."""
        return self.render_chat([{"role": "user", "content": question}], profile)

    def render_chat(
        self, messages: list[dict[str, Any]], profile: Profile, variables: Mapping[str, Any] | None = None
    ) -> str:
        """A conversation in the model's chat form, with thinking open unless `variables` of the template say no."""
        form = {**ON, **(variables or {})}
        text = self._form(messages, form)
        return profile.opened(text) if all(form[name] for name in ON) else text

    def _form(self, messages: list[dict[str, Any]], variables: Mapping[str, Any]) -> str:
        if not self.tokenizer.chat_template:
            raise BadInput(f"the tokenizer in {self.folder} has no chat template. Give one that has: template=...")
        form = {"add_generation_prompt": True, **variables}
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, **form))

    def is_special(self, text: str) -> bool:
        """Return whether a text is one special token, which servers may leave out of what they send."""
        ids = self.encode(text)
        return len(ids) == 1 and ids[0] in self.tokenizer.all_special_ids

    def _encoded(self, text: str) -> tuple[int, ...]:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadInput(f"the text holds half a character, a lone surrogate, at {error.start}.") from None
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))


def _decoder(tokenizer: Any) -> Callable[[list[int]], str]:
    """Tokens to text, special ones included; without the wrapper of transformers where that adds nothing but time."""
    from transformers import PreTrainedTokenizerFast

    if getattr(type(tokenizer), "_decode", None) is PreTrainedTokenizerFast._decode:
        backend = tokenizer.backend_tokenizer
        return lambda ids: str(backend.decode(ids, skip_special_tokens=False))
    return lambda ids: str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _kind(tokenizer: Any) -> tuple[dict[str, int], frozenset[int], bool]:
    """The bytes that signs of a vocabulary stand for, the tokens added to it, and whether it is SentencePiece's."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    signs = {character: byte for byte, character in bytes_to_unicode().items()}
    return signs, frozenset(tokenizer.added_tokens_decoder), "▁" in tokenizer.get_vocab()


def _token_bytes(tokenizer: Any, signs: Mapping[str, int], added: frozenset[int], pieces: bool, token: int) -> bytes:
    """Return what a token adds to a text, for byte-level and SentencePiece vocabularies.

    To decode one token alone loses what its neighbours complete.
    """
    raw = tokenizer.convert_ids_to_tokens(token)
    if raw is None:
        return b""
    if token in added:
        return str(raw).encode()
    if not pieces and all(character in signs for character in raw):
        return bytes(signs[character] for character in raw)
    if raw.startswith("<0x") and len(raw) == 6:
        return bytes([int(raw[3:5], 16)])
    return str(raw).replace("▁", " ").encode()


class TextWords:
    """Tokens by their text alone: every piece that a server sends is a token, under a number of our own.

    The text is the truth. What the server sampled is kept piece by piece as it came; text that a policy puts in, and
    the prompt, are split into words and signs, so how many tokens these are is an estimate. Number 0 is the end of the
    turn, which has no text.

    The first `KNOWN` different pieces are numbered one after another. Whatever passes through later is its own number
    (its bytes, read as one), so that a gateway does not grow with all that was ever said. Such numbers may be longer
    than any array holds, but nobody records so much at once.
    """

    END = 0
    end_ids = frozenset({END})

    def __init__(self) -> None:
        self._pieces: list[str] = [""]
        self._numbers: dict[str, int] = {}

    def number(self, piece: str) -> int:
        """Return the token that stands for a piece of text; the empty piece (a part of a character) is one too."""
        known = self._numbers.get(piece)
        if known is not None:
            return known
        if len(self._pieces) >= KNOWN:
            return KNOWN + int.from_bytes(b"\1" + piece.encode("utf-8", "surrogatepass"), "big")
        self._pieces.append(piece)
        self._numbers[piece] = len(self._pieces) - 1
        return self._numbers[piece]

    def has(self, token: int) -> bool:
        """Return whether a number stands for a piece."""
        return 0 <= token < len(self._pieces) or token > KNOWN

    def encode(self, text: str) -> list[int]:
        return [self.number(word) for word in _WORDS.findall(text)]

    def decode(self, ids: list[int]) -> str:
        return "".join([self._text(i) for i in ids])

    def piece(self, token: int) -> bytes:
        return self._text(token).encode("utf-8", "replace")

    def _text(self, token: int) -> str:
        if token < KNOWN:
            return self._pieces[token]
        spelt = token - KNOWN
        return spelt.to_bytes((spelt.bit_length() + 7) // 8, "big")[1:].decode("utf-8", "surrogatepass")
