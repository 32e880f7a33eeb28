#!/usr/bin/env bash
# Several nodes with eight GPUs each. Every node has the same Python environment and the folder OUT in common.
#
#   on the first node:   bash several-nodes.sh head
#   on each other node:  bash several-nodes.sh worker FIRST_NODE:6379
#   on the first node:   NODES=4 bash several-nodes.sh train [settings of verl's]
#   on each node, at the end:  bash several-nodes.sh stop
#
# Whoever can speak to a Ray cluster can run anything on it, so it asks for a token: a secret in OUT, made by the first
# node. What stands behind `head` and `worker` goes on to `ray start`.
set -euo pipefail
OUT=$(realpath -m "${OUT:-runs/verl-several-nodes}")
MODEL=${MODEL:-deepseek-ai/DeepSeek-R1-Distill-Qwen-7B}
SHAPER=${SHAPER:-"laser-d(lower=2048)"}
TASKS=${TASKS:-countdown,simple_equations}
GPUS=${GPUS:-8}
PORT=${PORT:-6379}
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$OUT/ray-token

case ${1:-} in
head)
    shift
    mkdir -p "$OUT"
    [ -e "$RAY_AUTH_TOKEN_PATH" ] ||
        (umask 077 && python -c 'import secrets; print(secrets.token_hex(32))' >"$RAY_AUTH_TOKEN_PATH")
    exec ray start --head --port="$PORT" --num-gpus="$GPUS" "$@"
    ;;
worker)
    address=${2:?where the first node is}
    shift 2
    exec ray start --address="$address" --num-gpus="$GPUS" "$@"
    ;;
stop) exec ray stop ;;
train)
    shift
    : "${NODES:?how many nodes}"
    [ -e "$OUT/train.yaml" ] || python -m satisfice.training.verl.prepare --shaper "$SHAPER" --model "$MODEL" \
        --tasks "$TASKS" --limit 16000 --val-limit 250 --prompts $((128 * NODES)) --group 8 --max-tokens 8192 \
        --gpus "$GPUS" --nodes "$NODES" --steps 300 --out "$OUT"
    # The driver joins the cluster that `ray start` made on this node.
    RAY_ADDRESS=${RAY_ADDRESS:-auto} bash "$OUT/train.sh" actor_rollout_ref.rollout.agent.num_workers=$((8 * NODES)) \
        reward.num_workers=$((8 * NODES)) "$@"
    ;;
*)
    sed -n '2,10p' "$0"
    exit 2
    ;;
esac
