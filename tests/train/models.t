# What models other than ResNets need of training: their image sizes, what they drop at random, and the same steps on any number of ranks
# without --sync_bn where there is no batch norm.
. tests/tap.sh
export OMP_NUM_THREADS=1
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$TMP/d" --n_train 48 --n_val 4 --n_test 2 --size 64
tap_ok "shards" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$TMP/d/annotations" --data_root "$TMP/d/images" --output "$TMP/s" --image_size 64 --splits Train Val
T="$BIN/anyclass-train --data_root $TMP/s --log_save_dir $TMP/logs --batch_size 12 --dry_run"
tap_refused 2 'maxvit_t needs images of at least 224 pixels and a multiple of 224, these have 64' "images too small" $T --model maxvit_t
tap_refused 2 'is none of resnet18|.*|maxvit_s' "no such model" $T --model maxvit_xl
tap_refused 2 'stochastic_depth' "half a default" $T --model maxvit_t --stochastic_depth -0.5
tap_ok "a ResNet drops nothing" $T --model resnet18 --dropout 0.1 --stochastic_depth 0.1
tap_says '--dropout has no effect with resnet18' "which is said of dropout"
tap_says '--stochastic_depth has no effect with resnet18' "and of stochastic depth"
tap_ok "a TResNet of 64 pixels" $T --model tresnet_m

# The same steps on 1, 2, 3 ranks, with dropout and augmentation: both are functions of the image. The rate is large enough to change the
# losses; without batch norm and ReLU rounding grows slowly.
losses() { grep -o 'step [0-9]*/[0-9]*: loss [^,]*' "$TMP/$1" | awk '{print $NF}'; }
# distance A B: largest relative difference of the losses
distance() { paste <(losses "$1") <(losses "$2") | awk '/^[0-9.e+-]+\t[0-9.e+-]+$/ {d = $1 - $2; d = d < 0 ? -d : d; if (d / $1 > worst) worst = d / $1; n++} END {print n == 4 ? worst + 0 : 1}'; }
within() { awk -v d="$(distance "$1" "$2")" -v most="$3" 'BEGIN {print "# " d; exit !(d <= most)}'; }
steps() {
    local n=$1 name=$2; shift 2
    tap_ok "vit_b_32, $name" ranks "$n" "$BUILD/tests/train/unsaved_rank" --data_root "$TMP/s" --log_save_dir "$TMP/logs" --version_name "$name" --model vit_b_32 \
        --batch_size 12 --learning_rate 0.05 --log_every 1 --max_epochs 1 "$@"
    cp "$TMP/.tap_out" "$TMP/$name"
}
for n in 1 2 3; do steps $n ranks$n --dropout 0.1; done
for n in 2 3; do tap_ok "losses of 4 steps with dropout: $n ranks as 1, within 1e-5" within ranks1 ranks$n 1e-5; done
steps 1 whole
tap_ok "without dropout it is another training" bash -c "! awk 'BEGIN {exit !($(distance ranks1 whole) < 1e-3)}'"
tap_done
