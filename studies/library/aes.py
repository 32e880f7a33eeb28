"""The accuracy-efficiency score, by which papers on shorter reasoning compare themselves."""

from dataclasses import dataclass

from satisfice.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class AesWeights:
    """The weights of an AES; always told with it, because its sign depends on them."""

    alpha: float = 1.0  # of the share of tokens saved
    beta: float = 3.0  # of the relative gain in accuracy
    gamma: float = 5.0  # of the relative loss in accuracy


O1_PRUNER = AesWeights()


def aes(
    length: float, accuracy: float, base_length: float, base_accuracy: float, weights: AesWeights = O1_PRUNER
) -> float:
    """Accuracy-efficiency score: tokens saved against a baseline, with gains and losses of accuracy weighed in.

        dL = (L_base - L) / L_base,   dA = (A - A_base) / A_base
        AES = alpha dL + beta |dA|  if dA >= 0,   alpha dL - gamma |dA|  otherwise      (arXiv:2501.12570)

    dA is relative. The paper's own table does not follow the second line where accuracy falls: recompute, do not quote.

    >>> round(aes(500, 0.82, 1000, 0.80), 3), round(aes(500, 0.76, 1000, 0.80), 3)
    (0.575, 0.25)
    """
    if base_accuracy <= 0 or base_length <= 0:
        raise BadInput(f"aes: a baseline of accuracy {base_accuracy} and length {base_length} has no relative change.")
    saved, gained = (base_length - length) / base_length, (accuracy - base_accuracy) / base_accuracy
    return weights.alpha * saved + (weights.beta if gained >= 0 else weights.gamma) * gained
