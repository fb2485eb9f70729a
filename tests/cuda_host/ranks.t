# Several ranks with emulated GPUs: on one they share sums go through host memory and MPI, on one each by NCCL (tests/cuda_host/nccl.c). Both must give the
# losses of one rank, and a rank that fails or dies must not hold up the others. Needs make CUDA=emulated.
. tests/tap.sh
export OMP_NUM_THREADS=1
case $BUILD in *emulated*) ;; *) tap_skip "several emulated GPUs" "needs CUDA=emulated"; tap_done ;; esac
program=$BUILD/tests/comm/device_ranks

# sums N GPUS WAY [NAME=VALUE...]
sums() { local n=$1 gpus=$2 way=$3; shift 3; env ANYCLASS_EMULATE_GPUS="$gpus" "$@" mpirun -n "$n" "$program" "$way"; }
tap_ok "sums of 2 ranks on one GPU" sums 2 1 mpi
tap_says 'ranks 0 and 1 share a GPU' "which is noticed"
tap_ok "of 3 ranks on two" sums 3 2 mpi
tap_says 'ranks 0 and 2 share a GPU' "which is noticed"
for n in 2 3; do tap_ok "of $n ranks on as many" sums $n $n nccl; done
tap_says 'NCCL 2.27.3 over 3 GPUs' "by the library"
tap_ok "on two, but through host memory" sums 2 2 mpi ANYCLASS_GPU_SUMS=mpi
tap_ok "with a library that is too old" sums 2 2 mpi ANYCLASS_EMULATE_NCCL=2804
tap_says 'needed is 2.9' "which is said"
for order in early 1 2; do
    tap_ok "streams $order, one GPU" sums 2 1 mpi ANYCLASS_EMULATE_STREAMS=$order
    tap_ok "streams $order, two GPUs" sums 2 2 nccl ANYCLASS_EMULATE_STREAMS=$order
done

data=$TMP/data
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$data" --n_train 48 --n_val 6 --n_test 2 --size 40
tap_ok "shards" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$data/annotations" --data_root "$data/images" --output "$TMP/s" --image_size 32 --shard_size 16 --splits Train Val
options=(--log_save_dir "$TMP/logs" --model resnet18 --log_every 1 --augment none --data_root "$TMP/s" --batch_size 8 --max_epochs 1 --check_steps 1)
# run PROGRAM RANKS GPUS NAME [RATE=r] [OPTION...]
run() {
    local what=$1 n=$2 gpus=$3 name=$4 rate=0.001; shift 4
    case ${1:-} in RATE=*) rate=${1#*=}; shift ;; esac
    ANYCLASS_EMULATE_GPUS=$gpus mpirun -n "$n" "$what" "${options[@]}" --device cuda --learning_rate "$rate" --version_name "$name" "$@"
}
train() { run "$BIN/anyclass-train" "$@"; }
losses() { grep -o 'step [0-9]*/[0-9]*: loss [^,]*' "$TMP/$1" | awk '{print $NF}'; }
close() { paste <(losses "$1") <(losses "$2") | awk -v most="$3" '!/^[0-9.e+-]+\t[0-9.e+-]+$/ {worst = 1; next} {d = $1 - $2; d = d < 0 ? -d : d; r = d / $1; if (r > worst) worst = r; n++}
    END {printf "# %d steps, largest relative difference %.2g\n", n, worst; exit !(n > 0 && worst <= most)}'; }
kept() { cp "$TMP/.tap_out" "$TMP/$1"; }

# As on the CPU (tests/train/behaviour.t): a rank's share of the batch is what a micro-batch of one rank is.
tap_ok "1 rank, 2 micro-batches" train 1 1 micro --max_steps 4 --micro_batch 4; kept micro
tap_ok "2 ranks on one GPU" train 2 1 mpi --max_steps 4; kept mpi
tap_says 'summed by MPI through host memory: ranks 0 and 1 share a GPU' "the way is in the log"
tap_says 'communication per step: [0-9.]* ms exposed' "and what was waited for"
tap_ok "2 GPUs" train 2 2 nccl --max_steps 4; kept nccl
tap_says 'gradients of 2 ranks are summed by NCCL 2.27.3 over 2 GPUs' "the way is in the log"
tap_says 'communication per step: [0-9.]* ms exposed, by NCCL' "and what was waited for"
for n in mpi nccl; do
    tap_ok "$n: steps are recorded" test "$(grep -c 'not recorded' "$TMP/$n")" = 0
    close micro $n 2e-6; tap_ok "$n: losses of 4 steps as of 1 rank, within 2e-6" close micro $n 2e-6
done
tap_ok "sums of two ranks have the same bits on both ways: the same losses" diff <(losses mpi) <(losses nccl)
tap_ok "2 ranks, 2 micro-batches each" train 2 2 nccl_micro RATE=0.00001 --max_steps 2 --micro_batch 2; kept nccl_micro
tap_ok "1 rank, 4 of them" train 1 1 micro2 RATE=0.00001 --max_steps 2 --micro_batch 2; kept micro2
tap_ok "give the same losses, within 2e-6" close micro2 nccl_micro 2e-6

# Statistics of a batch over ranks: the host sums amid a step.
tap_ok "1 rank, whole batches" train 1 1 whole RATE=0.00001 --max_steps 2 --sync_bn; kept whole
for gpus in 1 2; do
    tap_ok "--sync_bn, 2 ranks, $gpus GPUs" train 2 $gpus sync$gpus RATE=0.00001 --max_steps 2 --sync_bn; kept sync$gpus
    close whole sync$gpus 1e-5; tap_ok "as 1 rank, within 1e-5" close whole sync$gpus 1e-5
done

for gpus in 1 2; do
    tap_ok "$gpus GPUs: stopped amid an epoch" train 2 $gpus again$gpus --max_steps 2 --checkpoint_steps 2
    mv "$TMP/logs/version_again$gpus/previous.h5" "$TMP/logs/version_again$gpus/last.h5"
    tap_ok "and continued" train 2 $gpus again$gpus --max_steps 4 --checkpoint auto; kept again$gpus
    tap_says 'at step 2 of' "from there"
    tap_ok "with the same losses" diff <(losses nccl | tail -2) <(losses again$gpus)
done

# ---- a rank that cannot go on ----
for gpus in 1 2; do
    tap_refused 5 'rank 1: .*was made to fail' "$gpus GPUs: a rank that fails in backward" run "$BUILD/tests/train/failing_rank" 2 $gpus failing$gpus --max_steps 2 --watchdog_s 60
    DAMAGE=nan tap_refused 5 'not a number in epoch 0, step 3, first for image 0' "$gpus GPUs: a loss that is not a number" run "$BUILD/tests/train/damaged_rank" 2 $gpus nan$gpus --max_steps 4
    DAMAGE=bit tap_refused 6 'after step 3 the parameters of rank 1 differ' "$gpus GPUs: a bit changed on one" run "$BUILD/tests/train/damaged_rank" 2 $gpus bit$gpus --max_steps 4
done

cat >"$TMP/keep" <<'EOF'
trap : TERM
"$@" && code=0 || code=$?
echo "$code" >"$KEEP_IN.$OMPI_COMM_WORLD_RANK"
EOF
# other_ends GPUS: rank 1 is killed amid the steps, rank 0 ends with 6 and one line
other_ends() {
    local launcher pids victim=0
    rm -f "$TMP"/code.*; : >"$TMP/said"
    ANYCLASS_EMULATE_GPUS=$1 KEEP_IN=$TMP/code mpirun --quiet -n 2 bash "$TMP/keep" "$BIN/anyclass-train" "${options[@]}" --device cuda --version_name gone --overwrite \
        --learning_rate 0.001 --watchdog_s 20 >"$TMP/said" 2>&1 &
    launcher=$!
    until_true 60 grep -q 'step 3/' "$TMP/said"
    pids=$(pgrep -P "$(pgrep -P "$launcher" bash | tr '\n' ',' | sed 's/,$//')" anyclass-train)
    for victim in $pids; do tr '\0' '\n' <"/proc/$victim/environ" | grep -qx "OMPI_COMM_WORLD_RANK=1" && break; done
    [ "$victim" -eq 0 ] || kill -KILL "$victim"
    until_true 20 test -e "$TMP/code.0"
    until_true 10 gone "$launcher"
    kill -KILL "$launcher" 2>/dev/null
    tail -5 "$TMP/said"; echo "code $(cat "$TMP/code.0")"
    [ "$(cat "$TMP/code.0")" = 6 ] && [ "$(grep -c 'error: ' "$TMP/said")" = 1 ] && grep 'error: ' "$TMP/said" | grep -q "rank 1 on .*died"
}
for gpus in 1 2; do tap_ok "$gpus GPUs: rank 1 is killed, rank 0 ends with 6 and says so" other_ends $gpus; done

# ---- inference has nothing to sum ----
infer() { env ANYCLASS_EMULATE_GPUS=2 mpirun -n "$1" "$BIN/anyclass-infer" --device cuda --checkpoint "$TMP/logs/version_nccl/last.h5" --data_root "$TMP/s" --results_output "$TMP/scores$1"; }
rows() { tail -qn +2 "$TMP/scores$1"/*.csv | sort; }
for n in 1 2; do tap_ok "scores of $n ranks" infer $n; done
tap_ok "are there" test "$(rows 1 | wc -l)" = 6
tap_ok "and the same" diff <(rows 1) <(rows 2)
tap_done
