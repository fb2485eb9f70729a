# preprocess, infer and evaluate with a signal before the n-th MPI call of one rank, and before (or from) the n-th call that changes a file: exit code 75 and one line, what is
# finished stays, and the same command ends as if never stopped. CALLS=1 tries every call, the default every 41st.
. tests/tap.sh
every=${CALLS:-41}
export OMP_NUM_THREADS=1 OMPI_MCA_ess_singleton_isolated=1
data=$TMP/data
program=$(realpath "$BUILD/tests/comm/signalled")
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$data" --n_train 40 --n_val 30 --n_test 9 --size 40
preprocess=(preprocess --dataset coco --ann_root "$data/annotations" --data_root "$data/images" --image_size 32 --shard_size 8 --splits Train Val --output)
tap_ok "shards" "$program" "${preprocess[@]}" "$TMP/whole_preprocess"
tap_ok "a training" "$program" train --data_root "$TMP/whole_preprocess" --log_save_dir "$TMP/logs" --version_name a --model resnet18 --batch_size 8 \
    --optimizer adamW --learning_rate 0.001 --max_epochs 1 --augment none
infer=(infer --log_dir "$TMP/logs" --versions a --checkpoints val_f1 last --data_root "$TMP/whole_preprocess" --split Val Train --batch_size 8 --results_output)
tap_ok "scores" "$program" "${infer[@]}" "$TMP/whole_infer"
evaluate=(evaluate --results_output "$TMP/whole_infer" --data_root "$TMP/whole_preprocess" --split Val --output)
tap_ok "metrics" "$program" "${evaluate[@]}" "$TMP/whole_evaluate"
rows() { cat "$1"/version_a/resnet18_"$2"_sigmoid.rank*.csv | LC_ALL=C sort | uniq -c | grep -v Filename; }
same() { # PROGRAM
    case $1 in
        infer) for s in val_f1_Val val_f1_Train last_Val last_Train; do diff <(rows "$TMP/whole_infer" $s) <(rows "$TMP/cut" $s) || return 1; done ;;
        *) diff -r "$TMP/whole_$1" "$TMP/cut" ;;
    esac
    [ -z "$(find "$TMP/cut" -name '*.part' -o -name '*.lock')" ]
}
disturb() { # PROGRAM RANKS VARIABLE=...
    local name=$1 n=$2 status=0; shift 2
    local -n words=$name
    rm -rf "$TMP/cut"
    (export FOLDER=$TMP/cut RANK=$((n - 1)) "$@"; ranks "$n" "$program" "${words[@]}" "$TMP/cut") >"$TMP/said" 2>&1 || status=$?
    n_tried=$((n_tried + 1)); [ $status = 0 ] || n_stopped=$((n_stopped + 1))
    case $status in
        75) [ "$(grep -c 'error: .*stopped by signal 1[05].*([0-9.]* s after the signal)' "$TMP/said")" = 1 ] || problem+=" $*: no line, or more than one: $(cat "$TMP/said")" ;;
        0) same "$name" >/dev/null || problem+=" $*: it ended, otherwise" ;;
        *) problem+=" $*: exit code $status: $(tail -3 "$TMP/said")" ;;
    esac
    [ -z "$(find "$TMP/cut" -name '*.part' -o -name '*.lock' 2>/dev/null)" ] || problem+=" $*: temporary files are left: $(ls -R "$TMP/cut")"
    find "$TMP/cut" -name '*.h5' -o -name '*_sigmoid*.csv' 2>/dev/null | xargs -r stat -c '%i %n' >"$TMP/complete"
    ranks $((3 - n)) "$program" "${words[@]}" "$TMP/cut" >"$TMP/again" 2>&1 || problem+=" $*: the next run: $(tail -1 "$TMP/again")"
    same "$name" >"$TMP/diff" || problem+=" $*: not as never stopped: $(head -3 "$TMP/diff")"
    while read -r inode file; do [ "$(stat -c %i "$file")" = "$inode" ] || problem+=" $*: ${file##*/} was finished and is made again"; done <"$TMP/complete"
}
finish() { # NAME LEAST
    [ -z "$problem" ] || echo "#$problem"
    tap_ok "$1: $n_tried starts, $n_stopped of them were stopped" test -z "$problem" -a $n_stopped -ge "$2"
    problem='' n_tried=0 n_stopped=0
}
problem='' n_tried=0 n_stopped=0
for name in preprocess infer evaluate; do
    declare -n words=$name
    for n in 1 2; do
        rm -rf "$TMP/cut"
        tap_ok "$name, never stopped, $n ranks" env HOW=count FOLDER="$TMP/cut" RANK=$((n - 1)) mpirun -n $n "$program" "${words[@]}" "$TMP/cut"
        calls=$(sed -n 's/^\([0-9]*\) calls.*/\1/p' "$TMP/.tap_out"); mpi=$(sed -n 's/.* \([0-9]*\) of MPI/\1/p' "$TMP/.tap_out")
        for ((at = 4 + n; at <= mpi; at += every)); do disturb $name $n HOW=mpi AT=$at; done
        finish "$name, USR1 to the last of $n ranks before one of $mpi MPI calls" 1
        [ $name != evaluate ] || continue # it writes at the end of a set alone
        for ((at = 3; at <= calls; at += 2 * every)); do disturb $name $n HOW=signal AT=$at; done
        [ "$n" = 1 ] && for ((at = 9; at <= calls; at += 3 * every)); do disturb $name $n HOW=signals AT=$at; done
        finish "$name, before one, or each, of $calls calls that change files" 1
    done
done
disturb infer 2 HOW=mpi AT=30 SIGNAL=15 AFTER=10
disturb preprocess 2 HOW=mpi AT=20 SIGNAL=10 AFTER=15
finish "TERM then USR1, USR1 then TERM, to one rank" 1

# to one of three ranks while all are busy with shards of their own: the others stop amid theirs
mkdir "$TMP/many"; for k in $(seq 30); do cp -r "$data/images" "$TMP/many/$k"; done
{ echo "file,x"; (cd "$TMP/many" && find . -name '*.jpg' | sed 's/^\.\///' | sort | awk '{print $0 "," NR % 2}'); } >"$TMP/train.csv"
big=("$BIN/anyclass-preprocess" --dataset csv --ann_root "$TMP/train.csv" --data_root "$TMP/many" --splits Train --image_size 512 --shard_size 790 --n_threads 1 --output)
begun() { ls "$TMP/big"/*lock >/dev/null 2>&1; }
busy() { # N: three ranks are there, and each has computed for N hundredths of a second
    local pid
    mapfile -t pids < <(pgrep -P $launcher anyclass-prepro | sort -n)
    [ ${#pids[@]} = 3 ] || return 1
    for pid in "${pids[@]}"; do [ "$(awk '{print $14 + $15}' "/proc/$pid/stat" || echo "$1")" -ge "$1" ] || return 1; done
}
for victim in 0 2; do
    rm -rf "$TMP/big"
    mpirun -n 3 "${big[@]}" "$TMP/big" --log_level debug --log_all_ranks >"$TMP/said" 2>&1 & launcher=$!
    until_true 60 begun
    until_true 60 busy 20 # twice what MPI's start takes, a tenth of all
    kill -USR1 "${pids[$victim]}"; status=0; wait $launcher || status=$?
    n_read=$(sed -n 's/.*train: rank . read \([0-9]*\) images.*/\1/p' "$TMP/said" | awk '{n += $1} END {print n + 0}')
    echo "# $n_read images were read; $(grep -o '[0-9.]* s after the signal' "$TMP/said")"
    tap_ok "a signal to rank $victim of 3: exit code 75" test $status = 75
    tap_ok "no rank goes on with its shard" test "$n_read" -lt 2370 -a "$n_read" -gt 0 -a -z "$(find "$TMP/big" -name '*.h5')"
done
tap_done
