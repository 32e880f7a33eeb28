"""One small setting of every policy over several chains."""

from satisfice.catalog import build
from satisfice.core.session import Policy

SMALL = {
    "adaptive-consistency": "adaptive-consistency(n=4, wave=2)",
    "batchprompt": "batchprompt(rounds=2)",
    "cntp": "cntp(n_max=3, h_max=0.3, segment=6)",
    "deepconf": "deepconf(n=4, warmup=2, window=4, eta=50)",
    "er-prm": "er-prm(n=4, width=2, tau=4, complete=8, max_steps=3)",
    "first-finish": "first-finish(n=3)",
    "fsf-select": "fsf-select(n=3, judge_tokens=10)",
    "latent-trajectory": "latent-trajectory(n=3, look_at=8, segment=2)",
    "leap": "leap(n=3, turn=6, max_turns=2, summary_tokens=4)",
    "nothinking-vote": "nothinking-vote(n=3)",
    "pdr": "pdr(drafts=3, workspace=8)",
    "plan-first": "plan-first(plan_tokens=6)",
    "self-consistency": "self-consistency(n=3)",
    "seq-refine": "seq-refine(rounds=3)",
    "st-bon": "st-bon(n=3, patience=16)",
}
"""By id; a policy that is not here is small as it is."""


def small(name: str, stop: str = "") -> Policy:
    """A policy in its small setting, with a rule inside where it takes one."""
    spec = SMALL.get(name, f"{name}()")
    return build(f"{spec.removesuffix(')')}{'' if spec.endswith('()') else ', '}stop={stop})" if stop else spec)
