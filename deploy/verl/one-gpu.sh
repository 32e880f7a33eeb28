#!/usr/bin/env bash
# One GPU of 80 GB: a model of 1.5 billion parameters, shaped by LASER-D. Further settings of verl's come behind.
set -euo pipefail
OUT=${OUT:-runs/verl-one-gpu}
MODEL=${MODEL:-deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B}
SHAPER=${SHAPER:-"laser-d(lower=2048)"}
TASKS=${TASKS:-countdown,simple_equations}

[ -e "$OUT/train.yaml" ] || python -m satisfice.training.verl.prepare --shaper "$SHAPER" --model "$MODEL" \
    --tasks "$TASKS" --limit 4000 --val-limit 250 --prompts 32 --group 8 --max-tokens 8192 --gpus 1 --steps 200 --out "$OUT"
bash "$OUT/train.sh" \
    actor_rollout_ref.actor.fsdp_config.param_offload=True \
    actor_rollout_ref.actor.fsdp_config.optimizer_offload=True \
    actor_rollout_ref.rollout.gpu_memory_utilization=0.5 "$@"
