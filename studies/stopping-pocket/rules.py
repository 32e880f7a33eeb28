"""Which rules the study compares, and at which settings each is tried before one is chosen."""

from itertools import product
from pathlib import Path

TIERS = ("chain-sum:easy", "chain-sum:hard")
"""Where settings are chosen, and where a saving is claimed."""
OTHERS = (
    "chain-sum:medium", "leg-counting:easy", "leg-counting:medium", "leg-counting:hard", "products:easy",
    "products:medium", "products:hard", "gcd:easy", "gcd:medium", "gcd:hard",
)  # fmt: skip
"""Where the same settings are looked at on fewer problems."""

EVERY = 32  # tokens of thinking between two checkpoints, besides those at cues and after steps
CAPS = tuple(f"fixed-budget(tokens={n})" for n in (32, 64, 128, 192, 256, 320))
PLAIN = ("full", *CAPS, "nothinking", "first-cue", "first-cue(every=2)", f"loop-guard(every={EVERY})")

LEARNED = ("lynx", "specexit", "first-try", "knowing-before-saying")
"""Fitted on hard sums; the last on products and common divisors, since the model gets nearly all sums right."""


def observing(artefacts: Path) -> dict[str, list[str]]:
    """Rules that only look, so that recorded chains tell what they do; as published first, then other settings."""
    lynx, first = f'artefact="{artefacts / "lynx.json"}"', f'artefact="{artefacts / "first-try.json"}"'
    knowing = f'artefact="{artefacts / "knowing-before-saying.json"}"'
    watch = "greedy=true, overlap=false"  # what a recording can answer for
    return {
        "answer-consistency": [f"answer-consistency(k={k})" for k in (10, 2, 3, 5, 8, 15, 20)],
        "deer": [f"deer(threshold={t})" for t in (0.95, 0.97, 0.98, 0.985, 0.99, 0.995, 0.999)],
        "deer, keeping the trial answer": [
            f"deer(threshold={t}, reuse_answer=true)" for t in (0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995)
        ],
        "dynasor-cot, observing": [
            f"dynasor-cot(k={k}, chunk={chunk}, {watch})" for k, chunk in ((3, 64), (2, 32), (3, 32), (5, 32), (2, 64))
        ],
        "entropy-reduction": [f"entropy-reduction(h_stop={h})" for h in (0.2, 0.1, 0.05, 0.02, 0.01, 0.005)],
        "es-cot": ["es-cot", *(f"es-cot(trigger=cue, d_min={d})" for d in (1, 2, 3)), "es-cot(d_min=5)"],
        "first-try": [
            "first-try", "first-try(first=2)", "first-try(first=3)",
            *(f"first-try({first}, threshold={t}, more={more})" for t, more in product((0.3, 0.5), (2, 3))),
        ],
        "knowing-before-saying": [
            f"knowing-before-saying({knowing}, threshold={t}, short={short})"
            for t, short in product((0.7, 0.5, 0.9), (96, 192, 256))
        ],
        "lynx": [f"lynx({lynx}, delta={d})" for d in (0.05, 0.01, 0.02, 0.1, 0.2)],
    }  # fmt: skip


def acting(artefacts: Path) -> dict[str, list[str]]:
    """Rules that inject text, change sampling, or read what was not recorded: run live."""
    head = f'artefact="{artefacts / "specexit.json"}"'
    return {
        "concise": [f"concise(threshold={t})" for t in (0.5, 0.8, 0.95)],
        "deer-pro": [f"deer-pro(threshold={t})" for t in (0.95, 0.98, 0.99)],
        "dynasor-cot": ["dynasor-cot", "dynasor-cot(k=5, chunk=32)"],
        "eot-temperature": [f"eot-temperature(beta={b})" for b in (2.0, 1.0, 4.0)],
        "no-wait": ["no-wait", "no-wait(strength=1.0)"],
        "s1-budget-forcing": ["s1-budget-forcing", "s1-budget-forcing(tokens=256, extensions=0)"],
        "specexit": [
            f"specexit({head})",
            *(f"specexit({head}, confidence={c}, remain={n})" for c, n in ((0.9, 20), (0.95, 10), (0.95, 3))),
        ],
    }  # fmt: skip


CLAIMED = ("eot-temperature", "specexit")
"""Rules that act and looked as if they save: these run on as many problems as a claim needs."""

SURE = (0.9999, 0.9995, 0.999, 0.995, 0.99, 0.985, 0.98, 0.975, 0.97, 0.96, 0.95)
PROMISED = {
    "deer": ("threshold", SURE),
    "deer(reuse_answer=true)": ("threshold", SURE),
    "es-cot(trigger=cue)": ("d_min", (4, 3, 2, 1)),
    "entropy-reduction": ("h_stop", (0.005, 0.02, 0.05, 0.1, 0.2)),
}
"""Rules whose threshold is chosen with a promise: field, and its values, the safest first."""
