"""What every scorer must be able to do, checked on the beginnings of some chains."""

import math

from satisfice.core.scorer import Scorer
from satisfice.testing.method import claim
from satisfice.testing.policies import STORIES

QUESTION = "What is 7*6?"


def check_scorer(scorer: Scorer) -> None:
    """Check what a scorer does.

    Raises:
        Faulty: not one finite number for each text, numbers that change from call to call, with the other texts or with
            their order.
    """
    texts = [story[:cut] for story in STORIES for cut in (0, 5, len(story) // 2, len(story))]
    scores = [float(score) for score in scorer(QUESTION, texts)]
    claim(len(scores) == len(texts), scorer, f"gives {len(scores)} numbers for {len(texts)} texts")
    claim(all(map(math.isfinite, scores)), scorer, "gives a number that is not finite")
    claim(scores == [float(score) for score in scorer(QUESTION, texts)], scorer, "is not deterministic")
    turned = [float(score) for score in scorer(QUESTION, texts[::-1])][::-1]
    claim(all(map(_near, scores, turned)), scorer, "depends on the order of the texts")
    alone = [float(scorer(QUESTION, [text])[0]) for text in texts]
    claim(all(map(_near, scores, alone)), scorer, "depends on which other texts it is given")
    claim(len(scorer(QUESTION, [])) == 0, scorer, "gives numbers where there is no text")


def _near(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-8)
