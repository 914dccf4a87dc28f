#!/bin/sh
# The proof on GPUs: does it matter which instruction a photo gets? Never run by us: no GPU was at hand.
#
#   run.sh WORK MATCHED RANDOM PHOTOS PRETRAIN MIX665K PLAYGROUND
#
# WORK: where everything goes. MATCHED, RANDOM: run folders of Pairwright over PHOTOS (README.md says how they are made).
# PRETRAIN: the folder with blip_laion_cc_sbu_558k.json and images/. MIX665K, PLAYGROUND: llava_v1_5_mix665k.json and the
# folder below which its photos lie. SEEDS, ARMS, TASKS and DEEPSPEED (a configuration of DeepSpeed) can be set.
# What is there is not made again: the same command goes on where it was stopped.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
train=$(dirname "$here")
work=$1 matched=$2 random=$3 photos=$4 pretrain=$5 mix=$6 playground=$7
: "${SEEDS:=1 2 3}" "${ARMS:=none matched shuffled random}" "${DEEPSPEED:=}"
: "${TASKS:=mme,mmbench_en_dev,seedbench,pope,gqa,textvqa_val,scienceqa_img,mmvet,llava_in_the_wild}"
mkdir -p "$work"

factory() { # SETTINGS OUT KEY=VALUE...
    settings=$1 out=$2
    shift 2
    [ -e "$out/done" ] && return
    FORCE_TORCHRUN=1 llamafactory-cli train "$train/llamafactory/$settings" "output_dir=$out" "$@" \
        ${DEEPSPEED:+"deepspeed=$DEEPSPEED"}
    touch "$out/done"
}

[ -e "$work/base/config.json" ] || python "$here/base.py" --out "$work/base"
[ -e "$work/arms/random.json" ] ||
    python "$here/arms.py" --matched "$matched/dataset/llava.json" --random "$random/dataset/llava.json" --out "$work/arms"
[ -e "$work/mix/pretrain/swift.jsonl" ] ||
    python "$train/mix.py" --out "$work/mix/pretrain" "$pretrain/blip_laion_cc_sbu_558k.json:$pretrain/images"

# One first stage for all arms: they differ in the second one alone.
factory stage1.yaml "$work/stage1" "model_name_or_path=$work/base" "dataset_dir=$work/mix/pretrain"

for seed in $SEEDS; do
    for arm in $ARMS; do
        mixture=$work/mix/$arm-$seed model=$work/model/$arm-$seed found=$work/found/$arm-$seed
        own=$work/arms/$arm.json:$photos
        [ "$arm" = none ] && own=
        [ -e "$mixture/swift.jsonl" ] ||
            python "$train/mix.py" --seed "$seed" --out "$mixture" "$mix:$playground" ${own:+"$own"}
        factory stage2.yaml "$model" "model_name_or_path=$work/stage1" "dataset_dir=$mixture" "seed=$seed"
        [ -e "$found/done" ] && continue
        accelerate launch -m lmms_eval --model llava_hf --model_args "pretrained=$model" --tasks "$TASKS" \
            --batch_size 1 --log_samples --output_path "$found"
        touch "$found/done"
    done
done
python "$here/summary.py" "$work/found"
