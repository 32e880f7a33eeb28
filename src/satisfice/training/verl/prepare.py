"""Everything that a run of verl needs: the data in its form, its settings for a shaper, and the script that starts it.

    python -m satisfice.training.verl.prepare --shaper laser-d:1024 --model DIR --tasks chain-sum:hard --out run
    bash run/train.sh trainer.n_gpus_per_node=8          # further settings of verl's come behind

The script goes on where a run stopped. On several nodes start Ray first (`deploy/verl/`), then the script on one node.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from satisfice.catalog import build, canonical, methods_of
from satisfice.core.errors import BadInput, SatisficeError
from satisfice.core.shaper import SHAPER, RewardRange, Shaper
from satisfice.tasks import Task, load_task
from satisfice.training.verl.settings import nested, settings_for


def main(arguments: Sequence[str] | None = None) -> None:
    """Write data, settings and script into `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shaper", required=True, help="how training feels length: id, id:value, id(field=value, ...)")
    parser.add_argument("--model", required=True, help="a folder with a model, or its name on the hub")
    parser.add_argument("--tasks", required=True, help="tasks, with commas: tiers, reasoning-gym families")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=1000, help="problems per task to train on")
    parser.add_argument("--val-limit", type=int, default=100, help="problems per task to validate on, and to watch")
    parser.add_argument("--prompts", type=int, default=128, help="problems per step")
    parser.add_argument("--group", type=int, default=8, help="rollouts per problem")
    parser.add_argument("--max-tokens", type=int, default=8192, help="longest rollout")
    parser.add_argument("--max-prompt", type=int, default=1024, help="longest prompt, tokens")
    parser.add_argument("--learning-rate", type=float, default=1e-6)
    parser.add_argument("--gpus", type=int, default=1, help="GPUs a node; 0: try it on the CPU")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--reward-range", choices=get_args(RewardRange), help="of verdicts; default: the method's own")
    args = parser.parse_args(arguments)
    shaper = build(args.shaper, SHAPER, allow_files=True)
    names = [name.strip() for name in args.tasks.split(",")]
    settings = run_settings(
        shaper, args.out.absolute(), model=args.model, prompts=args.prompts, group=args.group,
        max_tokens=args.max_tokens, max_prompt=args.max_prompt, rate=args.learning_rate, gpus=args.gpus,
        nodes=args.nodes, steps=args.steps, rewards=args.reward_range,
    )  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    write_rows(args.out / "train.parquet", [load_task(name, split="train", limit=args.limit) for name in names])
    write_rows(args.out / "val.parquet", [load_task(name, split="calibration", limit=args.val_limit) for name in names])
    write_run(shaper, settings, args.out.absolute(), gpus=args.gpus)
    print(f"Written to {args.out}: train.parquet, val.parquet, train.yaml. Start it with: bash {args.out / 'train.sh'}")


def rows_of(task: Task) -> list[dict[str, Any]]:
    """Return the problems of a task as rows of verl's form, with the columns that any shaper of the catalogue reads."""
    cards = [method.card for method in methods_of(SHAPER).values()]
    columns = sorted({one.name for card in cards for one in card.requires | card.optional})
    return [
        {
            "data_source": task.name,
            "prompt": [{"role": "user", "content": problem.question}],
            "ability": "reasoning",
            "reward_model": {"style": "rule", "ground_truth": problem.answer},
            "extra_info": {
                "id": problem.id,
                "split": task.split,
                "index": int(problem.metadata.get("index", number)),
                **{name: float(problem.metadata[name]) for name in columns if name in problem.metadata},
            },
        }
        for number, problem in enumerate(task.problems)
    ]


def write_rows(path: Path, tasks: Sequence[Task]) -> None:
    """The problems of all tasks by turns, as a parquet file that verl reads."""
    import pyarrow
    import pyarrow.parquet

    rows = [rows_of(task) for task in tasks]
    turns = [row[i] for i in range(max(map(len, rows))) for row in rows if i < len(row)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(turns), path)


def run_settings(
    shaper: Shaper, out: Path, *, model: str, prompts: int, group: int, max_tokens: int, max_prompt: int, rate: float,
    gpus: int, nodes: int, steps: int, rewards: RewardRange | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return all settings of a run that differ from verl's own."""
    if prompts < 1 or group < 2:
        raise BadInput(f"a step needs at least one problem and two rollouts of each, got {prompts} and {group}.")
    worker = "actor_rollout_ref"
    common = {
        "data.train_files": str(out / "train.parquet"),
        "data.val_files": str(out / "val.parquet"),
        "data.train_batch_size": prompts,
        "data.max_prompt_length": max_prompt,
        f"{worker}.model.path": model,
        f"{worker}.actor.optim.lr": rate,
        f"{worker}.actor.ppo_mini_batch_size": prompts,  # one update of the weights a step
        f"{worker}.actor.use_dynamic_bsz": True,
        f"{worker}.actor.ppo_max_token_len_per_gpu": 2 * (max_prompt + max_tokens),
        f"{worker}.rollout.log_prob_use_dynamic_bsz": True,
        f"{worker}.rollout.log_prob_max_token_len_per_gpu": 4 * (max_prompt + max_tokens),
        f"{worker}.ref.log_prob_use_dynamic_bsz": True,
        f"{worker}.ref.log_prob_max_token_len_per_gpu": 4 * (max_prompt + max_tokens),
        f"{worker}.rollout.n": group,
        f"{worker}.rollout.temperature": 1.0,
        f"{worker}.rollout.calculate_log_probs": False,  # our agent loop has none: verl computes its own
        f"{worker}.rollout.val_kwargs.do_sample": True,
        f"{worker}.rollout.val_kwargs.temperature": 1.0,  # a shaper that watches must see the policy that is trained
        "trainer.logger": ["console", "tensorboard"],
        "trainer.project_name": "satisfice",
        "trainer.experiment_name": canonical(shaper),
        "trainer.default_local_dir": str(out / "checkpoints"),
        "trainer.nnodes": nodes,
        "trainer.n_gpus_per_node": max(gpus, 1),
        "trainer.total_training_steps": steps,
        "trainer.total_epochs": 1000,
        "trainer.save_freq": 10,
        "trainer.max_actor_ckpt_to_keep": 2,
        "trainer.test_freq": 10,
    }
    where = ON_GPU if gpus else ON_CPU
    return {**common, **settings_for(shaper, max_tokens=max_tokens, rewards=rewards), **where}


ON_GPU = {
    "actor_rollout_ref.rollout.name": "vllm",
    "actor_rollout_ref.rollout.tensor_model_parallel_size": 1,
    "actor_rollout_ref.rollout.gpu_memory_utilization": 0.6,
    "actor_rollout_ref.model.use_remove_padding": True,
    "actor_rollout_ref.model.enable_gradient_checkpointing": True,
}
ON_CPU = {
    "actor_rollout_ref.rollout.name": "satisfice",
    "actor_rollout_ref.rollout.tensor_model_parallel_size": 1,
    "actor_rollout_ref.rollout.max_num_seqs": 128,
    "actor_rollout_ref.rollout.agent.num_workers": 1,
    "actor_rollout_ref.rollout.free_cache_engine": False,
    "actor_rollout_ref.model.use_remove_padding": False,
    "actor_rollout_ref.model.enable_gradient_checkpointing": False,
    "actor_rollout_ref.model.override_config.attn_implementation": "sdpa",
    "actor_rollout_ref.actor.strategy": "fsdp2",  # the first FSDP wants a GPU to begin
    "actor_rollout_ref.ref.strategy": "fsdp2",
    "actor_rollout_ref.actor.use_torch_compile": False,
    "actor_rollout_ref.actor.fsdp_config.use_torch_compile": False,
    "actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype": "fp32",
    "actor_rollout_ref.actor.fsdp_config.mixed_precision.reduce_dtype": "fp32",
    "actor_rollout_ref.ref.fsdp_config.mixed_precision.param_dtype": "fp32",  # as the policy it is set against
    "actor_rollout_ref.ref.fsdp_config.mixed_precision.reduce_dtype": "fp32",
    "reward.num_workers": 1,
    "trainer.device": "cpu",
    "trainer.logger": ["console"],
    "ray_kwargs.ray_init.num_gpus": 1,  # made up
    "ray_kwargs.ray_init.include_dashboard": False,
    "ray_kwargs.ray_init.num_cpus": 8,
    "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
    "data.dataloader_num_workers": 0,
}


def write_run(shaper: Shaper, settings: dict[str, Any], out: Path, *, gpus: int) -> None:
    """The settings as a file over verl's own, and the script that starts verl with it."""
    import yaml

    tree = {
        "defaults": ["ppo_trainer", "_self_"],
        "hydra": {"searchpath": ["pkg://verl.trainer.config"], "run": {"dir": str(out / "hydra")}},
        **nested(settings),
    }
    about = f"# {canonical(shaper)} on verl: what differs from verl's own settings.\n"
    (out / "train.yaml").write_text(about + yaml.safe_dump(tree, sort_keys=False), "utf-8")
    before = "" if gpus else "export VERL_PLATFORM=satisfice-cpu OMP_NUM_THREADS=1\n"
    (out / "train.sh").write_text(
        "#!/usr/bin/env bash\n# Started again, it goes on where it stopped. What is given to it goes on to verl.\n"
        f'set -euo pipefail\nhere=$(cd "$(dirname "$0")" && pwd)\n{before}'
        "python -W ignore -m satisfice.training.verl.doctor\n"  # stops here when something is not registered
        'exec python -m verl.trainer.main_ppo --config-path "$here" --config-name train "$@"\n',
        "utf-8",
    )


if __name__ == "__main__":
    try:
        main()
    except SatisficeError as error:
        sys.exit(f"error: {error}")
