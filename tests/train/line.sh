# source this behind tap.sh: a tiny data set, and the programs of the line on N ranks, for pipeline.t and refusals.t.
export OMP_NUM_THREADS=1
data=$TMP/data
n_images=${PIPELINE_IMAGES:-40}
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$data" --n_train "$n_images" --n_val 12 --n_test 8 --size 40
pre() { local n=$1 out=$2; shift 2; ranks "$n" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$data/annotations" --data_root "$data/images" --output "$out" --image_size 32 --shard_size 7 "$@"; }
train() { local n=$1 name=$2; shift 2; ranks "$n" "$BIN/anyclass-train" --data_root "$TMP/s1" --log_save_dir "$TMP/logs" --version_name "$name" --model resnet18 --batch_size 8 ${UPDATE:---optimizer adamW --learning_rate 0.001} "$@"; }
infer() { local n=$1 out=$2; shift 2; ranks "$n" "$BIN/anyclass-infer" --log_dir "$TMP/logs" --versions whole --data_root "$TMP/s1" --split Val Test --results_output "$out" --batch_size 5 "$@"; }
