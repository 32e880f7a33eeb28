#!/usr/bin/env bash
# One node with eight GPUs: a model of 7 billion parameters, shaped by LASER-D. Further settings of verl's come behind.
set -euo pipefail
OUT=${OUT:-runs/verl-one-node}
MODEL=${MODEL:-deepseek-ai/DeepSeek-R1-Distill-Qwen-7B}
SHAPER=${SHAPER:-"laser-d(lower=2048)"}
TASKS=${TASKS:-countdown,simple_equations}
GPUS=${GPUS:-8}

[ -e "$OUT/train.yaml" ] || python -m satisfice.training.verl.prepare --shaper "$SHAPER" --model "$MODEL" \
    --tasks "$TASKS" --limit 8000 --val-limit 250 --prompts 128 --group 8 --max-tokens 8192 --gpus "$GPUS" --steps 300 --out "$OUT"
bash "$OUT/train.sh" actor_rollout_ref.rollout.agent.num_workers=8 reward.num_workers=8 "$@"
