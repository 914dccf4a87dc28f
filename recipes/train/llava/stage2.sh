#!/bin/sh
# LLaVA-1.5's second stage on a mixture of mix.py: projector and language model, one epoch, batches of 128.
# Run in a checkout of LLaVA on 8 GPUs of 80 GB: stage2.sh MIX STAGE1 OUT [SEED]. Never run by us: no GPU was at hand.
set -eu
deepspeed llava/train/train_mem.py --deepspeed ./scripts/zero3.json \
    --model_name_or_path "${LLM:-lmsys/vicuna-7b-v1.5}" --version v1 \
    --data_path "$1/llava.json" --image_folder / \
    --vision_tower openai/clip-vit-large-patch14-336 --pretrain_mm_mlp_adapter "$2/mm_projector.bin" \
    --mm_projector_type mlp2x_gelu --mm_vision_select_layer -2 \
    --mm_use_im_start_end False --mm_use_im_patch_token False \
    --image_aspect_ratio pad --group_by_modality_length True --bf16 True --tf32 True \
    --output_dir "$3" --num_train_epochs 1 --per_device_train_batch_size 16 --gradient_accumulation_steps 1 \
    --evaluation_strategy no --save_strategy steps --save_steps 50000 --save_total_limit 1 \
    --learning_rate 2e-5 --weight_decay 0. --warmup_ratio 0.03 --lr_scheduler_type cosine --logging_steps 1 \
    --model_max_length 2048 --gradient_checkpointing True --dataloader_num_workers 4 --lazy_preprocess True \
    --report_to none --seed "${4:-42}" --data_seed "${4:-42}"
