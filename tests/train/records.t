# What a training leaves to read, after it was continued behind an epoch and begun anew: metrics.csv, and event files as
# TensorBoard's Python package reads them (PEER_PYTHON: an interpreter that has it; pandas too, to read metrics.csv).
. tests/tap.sh
export OMP_NUM_THREADS=1
python=${PEER_PYTHON:-python3} data=$TMP/data
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$data" --n_train 24 --n_val 8 --n_test 2 --size 40
tap_ok "shards" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$data/annotations" --data_root "$data/images" --output "$TMP/s" --image_size 32 --splits Train Val
train() { # [OPTION...]: three steps an epoch
    "$BIN/anyclass-train" --data_root "$TMP/s" --log_save_dir "$TMP/logs" --version_name 0 --model resnet18 --batch_size 8 --learning_rate 0.01 --log_every 1 "$@"
}
rows() { cut -d, -f1,2 "$TMP/logs/version_0/metrics.csv" | paste -sd' '; }
read_by() { # PACKAGE STEPS: what Python reads is as it should be after so many steps, if the package is there
    if "$python" -c "import $1" 2>"$TMP/none"; then
        tap_ok "$1 reads each of $2 steps once" "$python" tests/train/read_records.py "$1" "$TMP/logs/version_0" "$2"
    else
        tap_skip "$1 reads $2 steps" "no Python package $1 (PEER_PYTHON)"
    fi
}
tap_ok "an epoch" train --max_epochs 1
tap_ok "continued for two more" train --max_epochs 3 --checkpoint auto
tap_ok "metrics.csv has a row for each" test "$(rows)" = "epoch,step 0,3 1,6 2,9"
read_by tensorboard 9
read_by pandas 9
tap_ok "begun anew" train --max_epochs 2 --overwrite
tap_ok "metrics.csv has the new rows alone" test "$(rows)" = "epoch,step 0,3 1,6"
read_by tensorboard 6
read_by pandas 6
tap_done
