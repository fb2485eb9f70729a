# Weights to torchvision and back, for each of its models that we have: load_state_dict(strict=True), the order of a state dict, equal scores;
# files that PyTorch saves give the scores of the checkpoint they came from. Needs PEER_PYTHON with torch, torchvision, safetensors, h5py.
. tests/tap.sh
. tests/infer/setup.sh
weights_program=$(realpath "$BIN/anyclass-weights")
python=${PEER_PYTHON:-}
if [ -z "$python" ] || ! "$python" -c 'import torch, torchvision, safetensors, h5py' 2>/dev/null; then
    tap_skip "torchvision" "PEER_PYTHON has no torch, torchvision, safetensors and h5py"
    tap_done
fi
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$TMP/data" --n_train 2 --n_val 5 --n_test 2 --size 40
peer() { "$python" tests/weights/peer_torch.py "$@"; }
for case in ${PEER_MODELS:-resnet18:64 resnet50:64 vit_b_32:64 maxvit_t:224}; do
    model=${case%:*} size=${case#*:}
    if "$BUILD/tests/weights/make_checkpoint" "$model" "$TMP/none" "$TMP/x.h5" 2>&1 | grep -q 'no model'; then
        tap_skip "$model" "there is no such model"
        continue
    fi
    S=$TMP/s$size
    [ -d "$S" ] || tap_ok "shards of $size pixels" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$TMP/data/annotations" --data_root "$TMP/data/images" --output "$S" --image_size "$size" --splits Val
    mkdir -p "$TMP/w/$model"
    W=$TMP/w/$model
    tap_ok "$model: a checkpoint" "$BUILD/tests/weights/make_checkpoint" "$model" "$S" "$W/made.h5"
    tap_ok "$model: export" "$weights_program" export "$W/made.h5" "$W/made.safetensors"
    tap_ok "$model: equals the checkpoint" "$weights_program" compare "$W/made.h5" "$W/made.safetensors"
    n_classes=$("$weights_program" list "$W/made.safetensors" | awk '/^F32/ { shape = $0 } END { print shape }' | grep -o '\[[0-9]*' | tr -d '[')
    tap_ok "$model: torchvision loads it with strict=True, in its order" peer export "$model" "$W/made.safetensors" "$n_classes"
    tap_ok "$model: scores" "$infer_program" --checkpoint "$W/made.h5" --data_root "$S" --results_output "$W/r"
    tap_ok "$model: are those of torchvision" peer logits "$model" "$W/made.safetensors" "$S/val-*-of-*.h5" "$W/r/${model}_made_Val_sigmoid.rank*.csv"
    sed 's/^/# /' "$TMP/.tap_out"
    tap_ok "$model: torchvision saves it" peer save "$model" "$W/made.safetensors" "$W" "$n_classes"
    for file in plain.pth nested.pt lightning.ckpt; do
        tap_ok "$model: scores of $file" "$infer_program" --weights "$W/$file" --model "$model" --data_root "$S" --results_output "$W/$file.r"
        tap_ok "$model: are the same bits" diff "$W/r/${model}_made_Val_sigmoid.rank0000.csv" "$W/$file.r/${model}_${file%.*}_Val_sigmoid.rank0000.csv"
    done
    tap_refused 3 'new_head' "$model: another head" "$infer_program" --weights "$W/other_head.pth" --model "$model" --data_root "$S" --results_output "$W/x"
    rm -r "$W"
done
tap_done
