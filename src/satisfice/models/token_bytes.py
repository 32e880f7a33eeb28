"""The bytes behind a token: decoding one token alone loses what its neighbours complete."""

from functools import lru_cache
from typing import Any

from transformers.convert_slow_tokenizer import bytes_to_unicode

_BYTES = {character: byte for byte, character in bytes_to_unicode().items()}


@lru_cache(1 << 18)
def token_bytes(tokenizer: Any, token: int) -> bytes:
    """What a token adds to a text, for byte-level and for SentencePiece vocabularies."""
    raw = tokenizer.convert_ids_to_tokens(token)
    if raw is None:
        return b""
    added, pieces = _kind(tokenizer)
    if token in added:
        return str(raw).encode()
    if all(character in _BYTES for character in raw) and not pieces:
        return bytes(_BYTES[character] for character in raw)
    if raw.startswith("<0x") and len(raw) == 6:
        return bytes([int(raw[3:5], 16)])
    return str(raw).replace("▁", " ").encode()


@lru_cache(16)
def _kind(tokenizer: Any) -> tuple[frozenset[int], bool]:
    """The tokens that were added as whole texts, and whether the others are SentencePiece's."""
    return frozenset(tokenizer.added_tokens_decoder), "▁" in tokenizer.get_vocab()
