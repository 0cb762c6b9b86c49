#!/usr/bin/env bash
# Make the embedded encoder as it was made: six stages, 90 minutes on one core. Statements grow from replaced values to order:
# stages 4 and 5 taught the encoder to see that the ends of an interval were exchanged, in short statements, before the last stage mixed all.
#
#   bash scripts/pretrain.sh          the committed encoder, into xitcal/assets/embedded/encoder
#   bash scripts/pretrain.sh 100      another one, every seed larger by 100, into build/encoder-100/6
#
# A stage whose weights are there is not made again.
set -e
shift_by=${1:-0}
build=build/encoder-$shift_by
logs=scripts/logs; [ "$shift_by" = 0 ] || logs=$build
step() {
    if [ -f "$build/$1/model.safetensors" ] && [ -f "$build/$1/pretraining.json" ]; then echo "Stage $1 is in $build/$1."; return; fi
    python scripts/pretrain.py --curve "$logs/$1.csv" --out "$build/$1" --seed $(($2 + shift_by)) "${@:3}"
}
step 1 0 --mix 0.10 0.60 0.30 --rate 2e-3 --steps 24000 --until 5362 --pairs 0.3
step 2 1 --start $build/1 --mix 0.08 0.72 0.20 --rate 2e-3 --steps 17000 --until 8571 --compile
step 3 2 --start $build/2 --mix 0.06 0.78 0.16 --rate 1.6e-3 --steps 11000 --until 3372 --pairs 0.3 --ordered 0.35 --compile
step 4 3 --start $build/3 --mix 0.05 0.83 0.12 --rate 7e-4 --steps 6800 --cooldown-from 300 --cooldown 6500 --until 1954 \
    --pairs 0.3 --ordered 0.35 --compile
step 5 9 --start $build/4 --mix 0.03 0.92 0.05 --rate 1.2e-3 --steps 4000 --until 1038 --pairs 0.1 --ordered 0.75 \
    --sizes 0.7 0.3 0 0 --within 0.35 --compile
step 6 5 --start $build/5 --mix 0.05 0.85 0.10 --rate 1e-3 --steps 20000 --cooldown-from 600 --cooldown 4400 --pairs 0.35 --ordered 0.5 \
    --sizes 0.45 0.35 0.15 0.05 --within 0.35 --compile
[ "$shift_by" = 0 ] || exit 0
mkdir -p xitcal/assets/embedded/encoder
cp $build/6/*.json $build/6/*.safetensors xitcal/assets/embedded/encoder/
