"""verl's synchronous trainer with the shaper at its side: `trainer.v1.trainer_mode=satisfice`.

Everything that verl does stays verl's. Added is what shapers ask for and verl does not pass on: the columns of the
rollouts, caps before sampling, problems to watch, rollouts that are cut, state in the checkpoints.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import transfer_queue as tq
from omegaconf import open_dict
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils as tu

from satisfice.core.errors import BadInput
from satisfice.core.fit import require
from satisfice.core.shaper import Monitoring, asking, caps_for, reads
from satisfice.core.steering import Steering
from satisfice.core.trainer import REFRESH, require_trainer
from satisfice.training.verl import keeper
from satisfice.training.verl.batch import More, rollouts_of
from satisfice.training.verl.estimator import VERL, check_trained, from_data
from satisfice.training.verl.halting import after_validation, watch_of
from satisfice.training.verl.judging import stated
from satisfice.training.verl.loop import LIMIT, NAME, STATE


@register_trainer(NAME)
class ShapedTrainer(PPOTrainerSync):
    """verl's trainer for one of our estimators and our agent loop.

    Raises:
        Unfit: the method asks for something that verl cannot do.
        BadInput: the settings do not fit together.
    """

    def __init__(self, config: Any) -> None:
        with open_dict(config):
            config.trainer.v1.trainer_mode = "sync"  # verl looks other things up by this name
        super().__init__(config)
        self.estimator = keeper.estimator_of(config)
        self.shaper = self.estimator.shaper
        self.estimator.by_trainer = self.estimator.kept = True
        self._check()
        done = keeper.resumed_from(config.trainer)
        self._watch = watch_of(
            config.algorithm.get("stop_when"), Path(config.trainer.default_local_dir),
            0 if done is None else int(done.name.rpartition("_")[2]),
        )  # fmt: skip

    def _check(self) -> None:
        shaper, config = self.shaper, self.config
        actor = config.actor_rollout_ref.actor
        check_trained(shaper)
        if config.actor_rollout_ref.rollout.agent.default_agent_loop != NAME:
            raise BadInput(f"actor_rollout_ref.rollout.agent.default_agent_loop must be {NAME} with this trainer.")
        if actor.ppo_mini_batch_size != config.data.train_batch_size or actor.ppo_epochs != 1:
            require_trainer(
                shaper, "a training with several updates per batch", VERL - {REFRESH},
                "Set actor_rollout_ref.actor.ppo_mini_batch_size to data.train_batch_size and ppo_epochs to 1.",
            )  # fmt: skip

    def _init_dataloader(self) -> None:
        super()._init_dataloader()
        held = frozenset(dict(self.train_dataset[0].get("extra_info") or {}))
        if from_data(self.shaper) - held and self.config.reward.custom_reward_function.path is None:
            require(self.shaper, "the data", reads(self.shaper) - from_data(self.shaper) | held, host="data")

    def _validate(self, *args: Any, **more: Any) -> Any:
        """Validate, and ask the halter whether this step is to be the last; a stop saves a checkpoint."""
        metrics = super()._validate(*args, **more)
        if self._watch is not None and after_validation(self, self._watch, metrics).stop:
            self._save_checkpoint()
        return metrics

    # Before sampling

    def _next_train_batch(self, num_prompts: int | None = None) -> Any:
        batch = super()._next_train_batch(num_prompts)
        self._state_requests(batch)
        names = [str(info.get("id", "")) for info in batch["extra_info"]]
        caps = caps_for(self.shaper, self.estimator.state, names)
        if caps is not None:
            batch[LIMIT] = _column([int(cap) for cap in caps])
        if isinstance(self.shaper, Steering):  # one session makes the whole group
            batch[STATE] = _column([json.dumps(dict(self.estimator.state))] * len(batch))
            batch["__rollout_n__"] = _column([1] * len(batch))
        return batch

    def _state_requests(self, batch: Any) -> None:
        """Put what the shaper wants prompts to state into them, with the number that is right in this step."""
        if asking(self.shaper) is None:
            return
        keys = [key for key in ("raw_prompt", "extra_info", "reward_model", "data_source") if key in batch.keys()]  # noqa: SIM118
        rows = [
            dict(zip(keys, values, strict=True)) for values in zip(*(list(batch[key]) for key in keys), strict=True)
        ]
        told = [stated(self.shaper, self.estimator.state, row) for row in rows]
        for key in ("raw_prompt", "extra_info"):
            batch[key] = _column([row[key] for row in told])

    def on_step_begin(self) -> None:
        """Sample the prompts that the shaper watches, when it wants it."""
        super().on_step_begin()
        if isinstance(self.shaper, Monitoring) and self.shaper.monitor_due(self.estimator.state):
            with self._watched() as batch:
                reward, mask, group, more = self._columns(batch)
                rollouts, _ = rollouts_of(reward, mask, group, more, self.estimator.rewards)
            self.estimator.state = self.shaper.monitor(self.estimator.state, rollouts)

    @contextmanager
    def _watched(self) -> Iterator[Any]:
        """Rollouts of the validation prompts, as many of each as in training, by verl's own way of validating."""
        self.on_validate_begin()
        rows = next(iter(self.val_dataloader))
        n = len(rows["raw_prompt"])
        rows["uid"] = np.array([f"watch-{self.global_steps}-{i}" for i in range(n)], dtype=object)
        rows["__rollout_n__"] = np.array([int(self.config.actor_rollout_ref.rollout.n)] * n, dtype=object)
        batch = tu.get_tensordict(rows)
        tu.assign_non_tensor_data(batch, "global_steps", self.global_steps)
        tu.assign_non_tensor_data(batch, "validate", True)
        tags = [{"is_prompt": True, "status": "pending", "global_steps": self.global_steps} for _ in range(n)]
        tq.kv_batch_put(keys=list(rows["uid"]), partition_id="val", tags=tags)
        self.agent_loop_manager.generate_sequences(batch)
        found, _ = self.replay_buffer.sample(global_steps=self.global_steps, partition_id="val", batch_size=n)
        try:
            yield found
        finally:
            tq.kv_clear(keys=found.keys, partition_id=found.partition_id)
            self.on_validate_end()

    # After sampling

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        self.estimator.more = self._columns(batch)[3]
        try:
            batch = super()._compute_advantage(batch, metrics)
        finally:
            self.estimator.more = None
        shaped, seen = self.estimator.shaped, self.estimator.batch
        if shaped is not None and seen is not None:
            metrics |= {f"shaping/{name}": float(value) for name, value in shaped.metrics.items()}
            metrics |= {f"rollouts/{name}": value for name, value in seen.summary().items()}
            metrics |= {"rollouts/reward": float(shaped.reward.mean()), "rollouts/kept": float(shaped.keep.mean())}
        return batch

    def _columns(self, batch: Any) -> tuple[Any, Any, Any, More]:
        """Rewards, masks and prompts of a batch, and what shapers may read beside them."""
        wanted = sorted(reads(self.shaper) & {"logprob", "entropy"}) if batch.partition_id == "train" else []
        own = {"logprob": "old_log_probs", "entropy": "entropy"}
        fields = ["uid", "responses", "response_mask", "rm_scores", "extra_fields", *(own[name] for name in wanted)]
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=fields)
        group = np.array([str(uid) for uid in data.pop("uid").tolist()])
        rows = [dict(extra).get(NAME) or {} for extra in data.pop("extra_fields").tolist()]
        wide = data.to_padded_tensor()
        mask = wide["response_mask"].numpy().astype(np.bool_)
        names = set.intersection(*(set(row["columns"]) for row in rows if row)) if any(rows) else set()
        more = More(
            prompt=np.array([str(row.get("prompt", "")) for row in rows]),
            length=np.array([int(row.get("length", 0)) for row in rows]),
            columns={name: np.array([row.get("columns", {}).get(name, 0.0) for row in rows]) for name in names},
            tokens={
                "ids": wide["responses"].numpy(),
                **{name: np.where(mask, wide[own[name]].float().numpy(), 0.0) for name in wanted},
            },
        )
        return wide["rm_scores"].double().numpy(), mask, group, more

    # Checkpoints

    def _save_checkpoint(self) -> None:
        # Before verl's files: it says last that a checkpoint is complete.
        keeper.save(self.estimator, Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}")
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        super()._load_checkpoint()
        if self.global_steps and (folder := keeper.resumed_from(self.config.trainer)) is not None:
            keeper.load(self.estimator, folder)


def _column(values: list[Any]) -> Any:
    """Return one value a row, in verl's form of data that is no tensor."""
    return tu.get_tensordict({"x": np.array(values, dtype=object)})["x"]
