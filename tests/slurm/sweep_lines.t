# What slurm/submit makes of a sweep, looked at with --print: elements, arrays, dependencies, mistakes. Needs no Slurm: scontrol is a script here.
. tests/tap.sh
mkdir "$TMP/path"
printf '#!/bin/sh\necho "MaxArraySize            = ${MOST:-1001}"\n' >"$TMP/path/scontrol"
chmod +x "$TMP/path/scontrol"
export PATH=$TMP/path:$PATH ANYCLASS_SITE=$TMP/site.env
: >"$ANYCLASS_SITE"
printf '%s\n' 'learning_rate = log 1e-4 .. 1e-2 x 3' 'seed = 1..2' >"$TMP/ranges.txt"
printf '%s\n' MODEL=resnet18 SWEEP=ranges.txt STAGES='"train infer evaluate"' SPLITS='"Val Test"' BATCH_SIZE=8 >"$TMP/six.run"
submit() { slurm/submit "$TMP/six.run" BIN="$(realpath "$BIN")" "$@"; }
lines() { submit --print "$@" >"$TMP/lines" 2>"$TMP/said"; }
count() { grep -c -- "$1" "$TMP/lines"; }
has() { grep -qE -- "$1" "$TMP/lines"; }
refused() { # CODE TEXT [KEY=value...]
    local got=0
    lines "${@:3}" || got=$?
    cat "$TMP/said"
    [[ $got -eq $1 ]] && grep -q -- "$2" "$TMP/said" && [[ $(count ^sbatch) -eq 0 ]]
}
tap_ok "a sweep of six" lines
tap_ok "its elements are shown" test "$(grep -E $'^# +[0-9]+\t' "$TMP/lines" | awk '{ print $2, $3 }' | paste -sd,)" = "0 six-000,1 six-001,2 six-002,3 six-003,4 six-004,5 six-005"
tap_ok "one array, one collecting job, nothing else" test "$(count ^sbatch) $(count train.sbatch) $(count collect.sbatch)" = "2 1 1"
tap_ok "of all elements, each with its log" has '--output=[^ ]*/logs/slurm/six-train-%A_%a.log .*--array=0-5 .*/train.sbatch [^ ]*\.env [^ ]*\.elements 0$'
tap_ok "collect waits for the end of all, good or bad" has '--dependency=afterany:ID_OF_TRAIN .*collect.sbatch'
tap_ok "the best is named on Val alone" test "$(grep 'runs:.*anyclass-evaluate' "$TMP/lines" | grep -c -- '--best val_f1') $(grep -- '--split Val' "$TMP/lines" | grep -c -- '--best')" = "1 1"
tap_ok "nothing is written" test ! -e "$TMP/logs"
tap_ok "some at a time" lines SWEEP_AT_ONCE=4
tap_ok "is the array's limit" has '--array=0-5%4 '
tap_ok "behind preprocess" lines STAGES="preprocess train infer evaluate" DATASET=coco ANN_ROOT="$TMP" IMAGES="$TMP"
tap_ok "the array needs its success" has '--dependency=afterok:ID_OF_PREPROCESS .*train.sbatch'
tap_ok "and so does collect" has 'afterok:ID_OF_PREPROCESS\\?,afterany:ID_OF_TRAIN '
MOST=4 tap_ok "a cluster with short arrays" lines
tap_ok "two arrays" test "$(grep -oE -- '--array=[^ ]*|\.elements [0-9]+' "$TMP/lines" | paste -sd' ')" = "--array=0-3 .elements 0 --array=0-1 .elements 4"
tap_ok "collect waits for both" has '--dependency=afterany:ID_OF_TRAIN:ID_OF_TRAIN .*collect.sbatch'
MOST=4 tap_ok "some at a time there" lines SWEEP_AT_ONCE=3
tap_ok "the second array waits for the first" test "$(count 'dependency=afterany:ID_OF_TRAIN .*train.sbatch')" -eq 1
MOST=0 tap_ok "a cluster without arrays" refused 2 'MaxArraySize=0'
tap_ok "resources of collect are infer's" lines INFER_NODES=2 INFER_TIME=33 TIME=99
tap_ok "where it has none of its own" has '--nodes=2 .*--time=33 .*collect.sbatch'
tap_ok "its own" lines INFER_TIME=33 COLLECT_TIME=44
tap_ok "count more" has '--time=44 .*collect.sbatch'
tap_ok "collect alone" lines --stages collect
tap_ok "is one job that waits for nothing" test "$(count ^sbatch) $(count dependency)" = "1 0"
tap_ok "an option that is swept and set" refused 2 'ranges.txt line 1: --learning_rate is swept, and given to all' LEARNING_RATE=0.1
tap_ok "no number of points" refused 2 'needs --n_points' SWEEP_METHOD=sobol
tap_ok "a metric that no table has" refused 2 'BEST_METRIC=val_loss' BEST_METRIC=val_loss
tap_ok "a file that is not there" refused 4 'nothing.txt' SWEEP="$TMP/nothing.txt"
tap_ok "points without a sweep" refused 2 'SWEEP_POINTS goes with SWEEP' SWEEP= SWEEP_POINTS=4
tap_ok "collect without a sweep" refused 2 'collect goes with SWEEP' SWEEP= STAGES=collect
tap_done
