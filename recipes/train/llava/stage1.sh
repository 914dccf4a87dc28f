#!/bin/sh
# LLaVA-1.5's first stage, as its authors published it: the projector alone, on 558,128 captioned photos.
# Run in a checkout of LLaVA on 8 GPUs of 80 GB: stage1.sh OUT. Never run by us: no GPU was at hand.
set -eu
deepspeed llava/train/train_mem.py --deepspeed ./scripts/zero2.json \
    --model_name_or_path "${LLM:-lmsys/vicuna-7b-v1.5}" --version plain \
    --data_path ./playground/data/LLaVA-Pretrain/blip_laion_cc_sbu_558k.json \
    --image_folder ./playground/data/LLaVA-Pretrain/images \
    --vision_tower openai/clip-vit-large-patch14-336 --mm_projector_type mlp2x_gelu \
    --tune_mm_mlp_adapter True --mm_vision_select_layer -2 \
    --mm_use_im_start_end False --mm_use_im_patch_token False --bf16 True --tf32 True \
    --output_dir "$1" --num_train_epochs 1 --per_device_train_batch_size 32 --gradient_accumulation_steps 1 \
    --evaluation_strategy no --save_strategy steps --save_steps 24000 --save_total_limit 1 \
    --learning_rate 1e-3 --weight_decay 0. --warmup_ratio 0.03 --lr_scheduler_type cosine --logging_steps 1 \
    --model_max_length 2048 --gradient_checkpointing True --dataloader_num_workers 4 --lazy_preprocess True \
    --report_to none
