# source this behind tests/tap.sh: $TMP/s (shards of 32 pixels), $TMP/logs/version_a (a resnet18, a few epochs), and helpers
# make_version [N_VAL [N_TEST [EPOCHS]]]
export OMP_NUM_THREADS=1
infer_program=$(realpath "$BIN/anyclass-infer")
make_version() {
    tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$TMP/data" --n_train 24 --n_val "${1:-23}" --n_test "${2:-9}" --size 40
    tap_ok "shards" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$TMP/data/annotations" --data_root "$TMP/data/images" --output "$TMP/s" --image_size 32 --shard_size 16
    tap_ok "a training" "$BIN/anyclass-train" --data_root "$TMP/s" --log_save_dir "$TMP/logs" --version_name a --model resnet18 --batch_size 8 \
        --optimizer adamW --learning_rate 0.001 --max_epochs "${3:-3}" --augment none
}
# infer RANKS OUTPUT [OPTION...]: of the versions VERSIONS (a), from the shards
infer() { local n=$1 out=$2; shift 2; ranks "$n" "$infer_program" --log_dir "$TMP/logs" --versions ${VERSIONS:-a} --data_root "$TMP/s" --results_output "$out" "$@"; }
# rows FOLDER NAME: header and rows of all files of a set, sorted; NAME as in resnet18_NAME_sigmoid
rows() { head -qn 1 "$1"/resnet18_"$2"_sigmoid.rank*.csv | sort -u; tail -qn +2 "$1"/resnet18_"$2"_sigmoid.rank*.csv | LC_ALL=C sort; }
# same_rows FOLDER_A FOLDER_B NAME [NAME_IN_B]
same_rows() { [ "$(rows "$1" "$3" | wc -l)" -gt 1 ] && diff <(rows "$1" "$3") <(rows "$2" "${4:-$3}"); }
no_parts() { [ -z "$(find "$1" -name '*.part' -o -name '*.lock')" ]; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
