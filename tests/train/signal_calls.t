# A signal before the n-th MPI call of a rank, and before (or from) the n-th call that changes a file: while data is opened, in steps, validation, saving, in the save that
# a signal caused, and at the end. Exit code 75 and one line; at most one more step; nothing is saved twice; the end is that of a training that was never
# stopped. CALLS=1 tries every call, the default every 31st.
. tests/tap.sh
every=${CALLS:-31}
export OMP_NUM_THREADS=1 OMPI_MCA_ess_singleton_isolated=1
data=$TMP/data
program=$(realpath "$BUILD/tests/comm/signalled")
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$data" --n_train 24 --n_val 20 --n_test 2 --size 40
tap_ok "shards" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$data/annotations" --data_root "$data/images" --output "$TMP/s" --image_size 32 --shard_size 16 --splits Train Val
train() { # FOLDER RANKS
    (mkdir -p "$1" && cd "$1" && ranks "$2" "$program" train --data_root "$TMP/s" --log_save_dir logs --version_name 0 --model resnet18 --batch_size 8 \
        --optimizer sgd --learning_rate 0.01 --max_epochs 2 --log_every 1 --checkpoint_steps 2 --checkpoint auto)
}
for n in 1 2; do
    tap_ok "never stopped, $n ranks" env HOW=count FOLDER=logs RANK=$((n - 1)) bash -c "$(declare -f train ranks); TMP=$TMP program=$program; train $TMP/whole$n $n"
    calls[n]=$(sed -n 's/^\([0-9]*\) calls.*/\1/p' "$TMP/.tap_out"); mpi[n]=$(sed -n 's/.* \([0-9]*\) of MPI/\1/p' "$TMP/.tap_out")
done
disturb() { # RANKS VARIABLE=...: start, look at what it left, go on to the end and compare; adds to $problem
    local n=$1 status=0 further v=$TMP/cut/logs/version_0; shift
    rm -rf "$TMP/cut"
    (export FOLDER=logs RANK=$((n - 1)) "$@"; train "$TMP/cut" "$n") >"$TMP/said" 2>&1 || status=$?
    n_tried=$((n_tried + 1)); [ $status = 0 ] || n_stopped=$((n_stopped + 1))
    case $status in
        75)
            [ "$(grep -c 'error: .*stopped by signal 1[05].*([0-9.]* s after the signal)' "$TMP/said")" = 1 ] || problem+=" $*: no line, or more than one"
            further=$(sed '1,/signal sent/d' "$TMP/said" | grep -c ' step [0-9]*/[0-9]*: loss') # one process, one stream: in order
            [ "$n" = 1 ] || further=$(sed -n 's/^begun behind the signal: //p' "$TMP/said")     # mpirun may pass rank 0's lines on later
            [ "$further" -le 1 ] || problem+=" $*: $further further steps"
            ! cmp -s "$v/last.h5" "$v/previous.h5" || problem+=" $*: the same state was saved twice" ;;
        0) cmp -s "$TMP/whole$n/logs/version_0/last.h5" "$v/last.h5" || problem+=" $*: it ended, otherwise" ;;
        *) problem+=" $*: exit code $status: $(tail -3 "$TMP/said")" ;;
    esac
    (train "$TMP/cut" "$n") >"$TMP/again" 2>&1 || problem+=" $*: it does not go on: $(tail -3 "$TMP/again")"
    for file in last.h5 metrics.csv checkpoints.json; do
        cmp -s "$TMP/whole$n/logs/version_0/$file" "$v/$file" || problem+=" $*: $file differs"
    done
    ! ls "$v" | grep -q 'part$' || problem+=" $*: a half file is left"
}
finish() { # NAME LEAST
    [ -z "$problem" ] || echo "#$problem"
    tap_ok "$1: $n_tried starts, $n_stopped of them were stopped" test -z "$problem" -a $n_stopped -ge "$2"
    problem='' n_tried=0 n_stopped=0
}
problem='' n_tried=0 n_stopped=0
for n in 1 2; do
    for ((at = 4 + n; at <= mpi[n]; at += every)); do disturb $n HOW=mpi AT=$at; done
    finish "USR1 to the last of $n ranks before one of ${mpi[n]} MPI calls" 1
done
for how in signal signals; do # rank 0 is the one that writes
    for ((at = 2 + ${#how}; at <= calls[1]; at += every + 4)); do disturb 1 HOW=$how AT=$at; done
    finish "$how before one of ${calls[1]} calls that change files" 1
done
disturb 2 HOW=mpi AT=$((mpi[2] / 2)) SIGNAL=15 AFTER=10
disturb 2 HOW=mpi AT=$((mpi[2] / 3)) SIGNAL=10 AFTER=15
finish "TERM then USR1, USR1 then TERM, to one rank" 2

# in validation: the state is saved with all steps of the epoch, and validated after the restart; stopped there again, it is not saved again
in_validation() { # LOG: the second MPI call behind the last step of the first epoch
    sed -n '/epoch 0: .* ms per step waiting/,/epoch 0: train loss/s/^MPI call //p' "$1" | sed -n 2p
}
rm -rf "$TMP/cut"
(export HOW=count TRACE=1; train "$TMP/traced" 1) >"$TMP/said" 2>&1
at=$(in_validation "$TMP/said")
status=0; (export HOW=mpi AT="$at"; train "$TMP/cut" 1) >"$TMP/said" 2>&1 || status=$?
tap_ok "stopped in validation: all steps are saved" grep -q 'error: stopped by signal 10: epoch 0, step 3 is saved' "$TMP/said"
before=$(stat -c '%i %Y' "$TMP/cut/logs/version_0/last.h5")
cp -r "$TMP/cut" "$TMP/copy"
(export HOW=count TRACE=1; train "$TMP/copy" 1) >"$TMP/said" 2>&1
at=$(sed '/epoch 0: train loss/q' "$TMP/said" | sed -n 's/^MPI call //p' | tail -10 | head -1) # before its first batch
status=0; (export HOW=mpi AT="$at"; train "$TMP/cut" 1) >"$TMP/said" 2>&1 || status=$?
tap_ok "stopped in validation again" grep -q 'error: stopped by signal 10: epoch 0, step 3 is saved' "$TMP/said"
tap_ok "is not saved again" test "$before" = "$(stat -c '%i %Y' "$TMP/cut/logs/version_0/last.h5")"
tap_ok "no line says that it was" test "$(grep -c ': saved epoch' "$TMP/said")" = 0
tap_done
