#!/usr/bin/env bash
# Several nodes with eight GPUs each. Every node has the same Python environment and the folder OUT in common.
#
#   on the first node:   bash several-nodes.sh head
#   on each other node:  bash several-nodes.sh worker FIRST_NODE:6379
#   on the first node:   NODES=4 bash several-nodes.sh train [settings of verl's]
#   on each node, at the end:  bash several-nodes.sh stop
set -euo pipefail
OUT=${OUT:-runs/verl-several-nodes}
MODEL=${MODEL:-deepseek-ai/DeepSeek-R1-Distill-Qwen-7B}
SHAPER=${SHAPER:-"laser-d(lower=2048)"}
TASKS=${TASKS:-countdown,simple_equations}
GPUS=${GPUS:-8}

case ${1:-} in
head) exec ray start --head --port=6379 --num-gpus="$GPUS" ;;
worker) exec ray start --address="$2" --num-gpus="$GPUS" ;;
stop) exec ray stop ;;
train)
    shift
    : "${NODES:?how many nodes}"
    [ -e "$OUT/train.yaml" ] || python -m satisfice.training.verl.prepare --shaper "$SHAPER" --model "$MODEL" \
        --tasks "$TASKS" --limit 16000 --val-limit 250 --prompts $((128 * NODES)) --group 8 --max-tokens 8192 \
        --gpus "$GPUS" --nodes "$NODES" --steps 300 --out "$OUT"
    # The driver joins the cluster that `ray start` made on this node.
    RAY_ADDRESS=auto bash "$OUT/train.sh" actor_rollout_ref.rollout.agent.num_workers=$((8 * NODES)) \
        reward.num_workers=$((8 * NODES)) "$@"
    ;;
*)
    sed -n '2,7p' "$0"
    exit 2
    ;;
esac
