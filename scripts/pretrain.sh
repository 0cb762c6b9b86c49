#!/usr/bin/env bash
# Make the embedded encoder as it was made: six stages, 90 minutes on one core. Statements grow from replaced values to order:
# stages 4 and 5 taught the encoder to see that the ends of an interval were exchanged, in short statements, before the last stage mixed all.
set -e
step() { python scripts/pretrain.py --curve "scripts/logs/$1.csv" --out "build/$1" "${@:2}"; }
step 1 --seed 0 --mix 0.10 0.60 0.30 --rate 2e-3 --steps 24000 --until 5362 --pairs 0.3
step 2 --start build/1 --seed 1 --mix 0.08 0.72 0.20 --rate 2e-3 --steps 17000 --until 8571 --compile
step 3 --start build/2 --seed 2 --mix 0.06 0.78 0.16 --rate 1.6e-3 --steps 11000 --until 3372 --pairs 0.3 --ordered 0.35 --compile
step 4 --start build/3 --seed 3 --mix 0.05 0.83 0.12 --rate 7e-4 --steps 6800 --cooldown-from 300 --cooldown 6500 --until 1954 \
    --pairs 0.3 --ordered 0.35 --compile
step 5 --start build/4 --seed 9 --mix 0.03 0.92 0.05 --rate 1.2e-3 --steps 4000 --until 1038 --pairs 0.1 --ordered 0.75 \
    --sizes 0.7 0.3 0 0 --within 0.35 --compile
step 6 --start build/5 --seed 5 --mix 0.05 0.85 0.10 --rate 1e-3 --steps 20000 --cooldown-from 600 --cooldown 4400 --pairs 0.35 --ordered 0.5 \
    --sizes 0.45 0.35 0.15 0.05 --within 0.35 --compile
mkdir -p xitcal/data/embedded/encoder
cp build/6/*.json build/6/*.safetensors xitcal/data/embedded/encoder/
