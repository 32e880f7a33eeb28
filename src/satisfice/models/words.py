"""Tokens of an engine that computes elsewhere: by the model's tokenizer or by the text as it comes."""

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from satisfice.core.errors import BadInput, MissingExtra
from satisfice.core.profile import Profile
from satisfice.models.recognise import ON, profile_of

_WORDS = re.compile(r"\w+|\s+|[^\w\s]+")
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
        self.profile: Profile = profile_of(folder, self.tokenizer)
        self.end_ids = self._ends()
        self._pieces: dict[int, bytes] = {}
        self._encode = lru_cache(4096)(lambda text: tuple(self.tokenizer.encode(text, add_special_tokens=False)))

    def encode(self, text: str) -> list[int]:
        return list(self._encode(text))

    def decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def piece(self, token: int) -> bytes:
        known = self._pieces.get(token)
        if known is None:
            from satisfice.models.token_bytes import token_bytes  # here, because it reads transformers

            known = self._pieces[token] = token_bytes(self.tokenizer, token)
        return known

    def render(self, question: str, profile: Profile) -> str:
        """The question in the model's chat form, with thinking open."""
        return self.render_chat([{"role": "user", "content": question}], profile)

    def render_chat(self, messages: list[dict[str, str]], profile: Profile) -> str:
        """A conversation in the model's chat form, with thinking open."""
        if not self.tokenizer.chat_template:
            raise BadInput(f"the tokenizer in {self.folder} has no chat template. Give one that has: template=...")
        return profile.opened(
            str(self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **ON))
        )

    def is_special(self, text: str) -> bool:
        """Whether a text is one special token, which servers may leave out of what they send."""
        ids = self.encode(text)
        return len(ids) == 1 and ids[0] in self.tokenizer.all_special_ids

    def _ends(self) -> frozenset[int]:
        path = self.folder / "generation_config.json"
        ends = json.loads(path.read_text("utf-8")).get("eos_token_id") if path.exists() else None
        listed = [ends] if isinstance(ends, int) else list(ends or [])
        return frozenset(filter(lambda i: i is not None, [*listed, self.tokenizer.eos_token_id]))


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
        """The token that stands for a piece of text; the empty piece (a part of a character) is one too."""
        known = self._numbers.get(piece)
        if known is not None:
            return known
        if len(self._pieces) >= KNOWN:
            return KNOWN + int.from_bytes(b"\1" + piece.encode("utf-8", "surrogatepass"), "big")
        self._pieces.append(piece)
        self._numbers[piece] = len(self._pieces) - 1
        return self._numbers[piece]

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
