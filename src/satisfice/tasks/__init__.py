"""Where problems come from: a versioned name gives questions, reference answers and the verifier that scores them.

    from satisfice.tasks import load_task

    task = load_task("chain-sum:hard", limit=200)
    task.verify(task.problems[0], "417")            # Verdict.RIGHT, WRONG or UNKNOWN

A name is one of three things: a tier of ours (`chain-sum:hard`), any reasoning-gym family in its default configuration
(`countdown`, `simple-equations`), or the path of a JSONL file with `question` and `answer` in every row. A file is all
`eval`, unless every row has a `split` or the name ends in `?split=hash`.
"""

from satisfice.tasks.families import TIERS, task_names
from satisfice.tasks.load import SPLITS, Split, Task, load_task, load_tasks

__all__ = ["SPLITS", "TIERS", "Split", "Task", "load_task", "load_tasks", "task_names"]
