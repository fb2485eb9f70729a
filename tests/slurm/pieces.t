# Preprocess and infer, preempted or told to stop (USR1, as before the time limit) in the middle of their work on two nodes: they are queued again, keep
# what was complete, and end with the bytes of a run that nothing disturbed.
. tests/slurm/common.sh
begin
demo_data 32 128 64
calm=$TMP/calm
tap_ok "preprocess without Slurm" mpirun -n 2 "$BIN/anyclass-preprocess" --dataset coco --ann_root "$TMP/data/annotations" --data_root "$TMP/data/images" \
    --output "$calm/shards" --image_size 32 --shard_size 16
cp -r "$calm/shards" "$TMP/shards"
tap_ok "a training" plain calm
tap_ok "infer without Slurm" mpirun -n 2 "$BIN/anyclass-infer" --log_dir "$calm/logs" --versions 0 --data_root "$TMP/shards" --split Val Test --results_output "$calm/results"
tap_ok "of more than one checkpoint" bash -c 'cd "$1" && stat -c %i *_Val_sigmoid.rank0000.csv | sort -u | tee /dev/stderr | [ "$(wc -l)" -gt 1 ]' - "$calm/results/version_0"

# What a job has done when it is stopped: pieces that must be kept
any() { compgen -G "$1" >/dev/null; }
note_kept() { find "$@" -name '*.h5' -o -name '*_sigmoid.*.csv' | sort | xargs -r stat -c '%i %y %n' >"$TMP/$name.kept"; }
same_pieces() { [ -s "$1" ] && diff "$1" <(cut -d' ' -f5- "$1" | xargs stat -c '%i %y %n'); }
pre_job() { # NAME [LINE...]
    run_file "$1" STAGES=preprocess SHARDS="$TMP/$1/shards" "${@:2}"
    submitted "$1"; printf -v "job_$1" %s "$job_preprocess"; printf -v "log_$1" %s "$log_preprocess"
}
infer_job() { # NAME BATCH_SIZE
    run_file "$1" STAGES=infer LOGS="$calm/logs" RESULTS="$TMP/$1/results" SPLITS="Val Test" INFER_OPTIONS="--batch_size $2"
    submitted "$1"; printf -v "job_$1" %s "$job_infer"; printf -v "log_$1" %s "$log_infer"
}
# the middle of Val, the second of three splits
pre_begun() { any "$TMP/$name/shards/val-*.h5" && ! any "$TMP/$name/shards/val-manifest.json"; }
# the first set of scores, in one batch per rank; the second set, after some batches
set_done() { any "$TMP/$name/results/version_0/*_Val_sigmoid.rank0000.csv" && any "$TMP/$name/results/version_0/*_Val_sigmoid.rank0001.csv"; }
set_begun() { any "$TMP/$name/results/version_0/*_Test_sigmoid.rank0000.csv.part" && any "$TMP/$name/results/version_0/*_Test_sigmoid.rank0001.csv.part"; }

# Preemption: a job of partition `high` that needs all of both nodes. Slurm sends SIGCONT and SIGTERM: ranks are stopped anew until theirs has come.
preempted() { # NAME CONDITION FOLDER
    local name=$1 log=log_$1 end=$((SECONDS + 60))
    creep "$name" "$2" && note_kept "$3" && echo >"$TMP/$name.held" || return
    until logged "${!log}" SIGTERM || [ "$SECONDS" -ge "$end" ]; do kill -STOP "${held[@]}"; tick; done
    let_go
}
# On a busy machine a job of a few hundred small pictures can be over before its ranks are seen: then it is submitted again.
held_or_over() { [ -e "$TMP/prep.held" ] || gone "$watchers"; }
for try in 1 2 3; do
    rm -rf "$TMP/prep/shards"
    pre_job prep MAX_RESTARTS=0 # which does not bound what Slurm queues again by itself
    preempted prep pre_begun "$TMP/prep/shards" & watchers=$!
    until_true 120 held_or_over
    [ ! -e "$TMP/prep.held" ] || break
done
infer_job infp 8
preempted infp set_begun "$TMP/infp/results" & watchers+=" $!"
both_held() { [ -e "$TMP/prep.held" ] && [ -e "$TMP/infp.held" ]; }
tap_ok "both are held" until_true 90 both_held
printf '#!/bin/sh\nsleep 1\n' >"$TMP/high.sh"
high=$(sbatch --parsable --partition high --nodes 2 --exclusive --time 1 --output "$TMP/high.log" "$TMP/high.sh")
until_true 60 is_state "$high" COMPLETED
tap_ok "the job of partition high has run" is_state "$high" COMPLETED

# USR1: once the script has it, mpirun hands it to the ranks, who stand still until both have it
told() { # NAME CONDITION FOLDER; fails when the job was not met
    local name=$1 job=job_$1 status=0
    creep "$name" "$2" && note_kept "$3" && scancel --batch --signal=USR1 "${!job}" && until_true 60 came USR1 || status=1
    let_go
    return $status
}
infer_job infu 512
told infu set_done "$TMP/infu/results" & watchers+=" $!"
for try in 1 2 3; do
    rm -rf "$TMP/preu/shards"
    pre_job preu
    ! told preu pre_begun "$TMP/preu/shards" || break
done
wait $watchers

for name in prep infp preu infu; do
    job=job_$name log=log_$name
    job_ends 120 "${!job}" COMPLETED "${!log}" "$name: the job ended COMPLETED"
    echo "# $name: $(wc -l <"$TMP/$name.kept") files were complete"
    tap_ok "$name: it had been queued again" test "$(field "${!job}" Restarts)" -ge 1
    case $name in *p) number=15 ;; *u) number=10 ;; esac
    tap_ok "$name: after the signal" says "${!log}" "error: stopped by signal $number: .*run .*again to go on"
    tap_ok "$name: what was complete is kept" same_pieces "$TMP/$name.kept"
done
for name in prep preu; do
    log=log_$name
    tap_ok "$name: the log says so" says "${!log}" "val: [0-9]* of 8 shards are complete already"
    tap_ok "$name: the same shards and manifests as undisturbed" diff -r "$calm/shards" "$TMP/$name/shards"
done
tap_ok "infu: the same files as undisturbed" diff -r "$calm/results" "$TMP/infu/results"

# stopped in the middle of a set, the rest of it stands in files of its own
rows() { grep -h -v '^Filename,' "$1"_sigmoid.rank*.csv | sort; }
same_rows() {
    local set n=0
    for set in "$calm"/results/version_0/*_scores.json; do
        set=${set%_scores.json} n=$((n + 1))
        diff <(rows "$set") <(rows "$TMP/infp/results/version_0/${set##*/}") || return 1
    done
    [ "$n" -eq 10 ]
}
tap_ok "infp: the log says how much of a set was there" says "$log_infp" "_Test: [0-9]* of 64 images are scored already"
tap_ok "infp: the same scores as undisturbed, each image's once" same_rows
tap_ok "infp: no temporary file is left" bash -c '! find "$1" -name "*.part" | grep .' - "$TMP/infp"
tap_done
