"""Which tokens of training data count: token losses, one per file, each a pure function of error norms."""

from typing import Any

from satisfice.core.method import Family, Methods
from satisfice.core.token_loss import TOKEN_LOSS, TokenLoss

_METHODS: Methods[TokenLoss] = Methods(__name__, {"ent": "ent:Ent"})
FAMILY = Family(name="denoising", kind=TOKEN_LOSS, methods=_METHODS)


def __getattr__(name: str) -> Any:
    return _METHODS.class_named(name)
