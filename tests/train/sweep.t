# A sweep from its ranges to the table that names the best: lines and table, a sweep that grows, names that stay, trainings, what is missing.
. tests/tap.sh
export OMP_NUM_THREADS=1
train=$BIN/anyclass-train out=$TMP/out
mkdir "$out"
cat >"$TMP/ranges.txt" <<'END'
# what is swept
learning_rate = log 1e-4 .. 1e-2
optimizer = sgd adamW
END
sweep() { "$train" sweep --ranges "$TMP/ranges.txt" "$@" 2>"$TMP/said"; }
lines() { local name=$1; shift; sweep "$@" >"$out/$name"; }
tap_ok "Sobol's points" lines four --method sobol --n_points 4 --name lr --table "$out/sweep.csv"
tap_ok "a line per element: number, version, options" test "$(cut -f1,2 "$out/four" | tr '\t\n' '  ')" = "0 lr-000 1 lr-001 2 lr-002 3 lr-003 "
tap_ok "options are words of the trainer" grep -qE $'^2\tlr-002\t--learning_rate=0\\.[0-9]+\t--optimizer=(sgd|adamW)$' "$out/four"
tap_ok "the table has the same values" test "$(tail -n +2 "$out/sweep.csv" | awk -F, '{ print $1 "\t" $2 "\t--learning_rate=" $3 "\t--optimizer=" $4 }')" = "$(cat "$out/four")"
tap_ok "again" lines again --method sobol --n_points 4 --name lr --table "$out/sweep.csv"
tap_ok "is the same" cmp "$out/four" "$out/again"
tap_ok "more points" lines eight --method sobol --n_points 8 --name lr --table "$out/sweep.csv"
tap_ok "leave the first ones as they are" cmp <(head -4 "$out/eight") "$out/four"
tap_ok "in the table too" test "$(wc -l <"$out/sweep.csv")" -eq 9
cp "$out/sweep.csv" "$out/kept.csv"
tap_refused 2 'table of another sweep: there lr-000 has learning_rate' "another seed under the same names" "$train" sweep --ranges "$TMP/ranges.txt" --method sobol \
    --n_points 8 --name lr --table "$out/sweep.csv" --seed 2
tap_refused 2 'there element 0 is lr-000, here other-000' "another name in the same table" "$train" sweep --ranges "$TMP/ranges.txt" --method sobol --n_points 8 \
    --name other --table "$out/sweep.csv"
printf 'batch_size = pow2 4 .. 8\nseed = 1 .. 2\n' >"$TMP/grid.txt"
tap_refused 2 'of other options' "other options in the same table" "$train" sweep --ranges "$TMP/grid.txt" --table "$out/sweep.csv"
tap_ok "none of them wrote" cmp "$out/sweep.csv" "$out/kept.csv"
tap_ok "--dry_run" lines dry --method random --n_points 3 --name dry --table "$out/dry.csv" --dry_run
tap_ok "prints and writes nothing" test "$(wc -l <"$out/dry") $([ -e "$out/dry.csv" ] || echo none)" = "3 none"
tap_ok "on two ranks" ranks 2 "$train" sweep --ranges "$TMP/ranges.txt" --method random --n_points 3 --name dry --log_level error
cp "$TMP/.tap_out" "$out/two"
tap_ok "one prints" cmp "$out/dry" "$out/two"
tap_ok "a grid, with the options of all elements" "$train" sweep --ranges "$TMP/grid.txt" --name g --table "$out/grid.csv" -- --data_root "my $out" --model resnet18
tap_ok "in a command that a shell can read" bash -c "eval printf \"'%s\n'\" \$(sed -n '3s/.*,//p' '$out/grid.csv') | paste -sd'|' | grep -qF -- \
    'anyclass-train|--data_root|my $out|--model|resnet18|--batch_size|4|--seed|2|--version_name|g-001_again'"

# refused
S="$train sweep --ranges $TMP/ranges.txt"
tap_refused 2 'ranges FILE is wanted' "no ranges" "$train" sweep
tap_refused 4 'nothing.txt' "a file that is not there" "$train" sweep --ranges "$TMP/nothing.txt"
tap_refused 2 'ranges.txt line 2: --learning_rate: a grid needs' "a grid without counts" $S
tap_refused 2 'method sobol needs --n_points' "no number of points" $S --method sobol
tap_refused 2 'a grid has all combinations' "a grid of so many points" $S --n_points 3
tap_refused 2 'make a name of versions' "a name with a slash" $S --method random --n_points 1 --name a/b
tap_refused 2 'goes with --status' "--log_save_dir" $S --method random --n_points 1 --log_save_dir "$out"
tap_refused 2 'ranges.txt line 2: --learning_rate is swept, and given to all' "an option of all elements that is swept" $S --method random --n_points 1 -- --learning-rate=0.1
tap_refused 2 'element sweep-000: --min_lr' "options that contradict each other" $S --method random --n_points 1 -- --min_lr 0.5
tap_refused 2 'unknown option --modle' "an option that is none" $S --method random --n_points 1 -- --modle resnet18
tap_refused 2 'no tab' "a tab" $S --method random --n_points 1 -- --data_root $'a\tb'
tap_refused 4 "$TMP/ranges.txt" "a table that cannot be written" $S --method random --n_points 1 --table "$TMP/ranges.txt/x.csv"
tap_refused 3 'ranges.txt: the columns index, version' "a table over another file" $S --method random --n_points 1 --table "$TMP/ranges.txt"
tap_refused 2 'takes --table FILE and --log_save_dir' "--status alone" "$train" sweep --status

# trainings: each element reads its line, as a job of an array does
data=$TMP/data
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$data" --n_train 24 --n_val 8 --n_test 2 --size 40
tap_ok "shards" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$data/annotations" --data_root "$data/images" --output "$TMP/s" --image_size 32 --splits Train Val
fixed=(--data_root "$TMP/s" --model resnet18 --max_epochs 2 --log_save_dir "$TMP/logs")
tap_ok "elements" "$train" sweep --ranges "$TMP/grid.txt" --name g --table "$TMP/g.csv" --log_level error -- "${fixed[@]}"
cp "$TMP/.tap_out" "$TMP/elements"
element() { # NUMBER [OPTION...]
    local words
    IFS=$'\t' read -ra words < <(sed -n "$(($1 + 1))p" "$TMP/elements")
    "$train" "${fixed[@]}" --version_name "${words[1]}" --checkpoint auto "${words[@]:2}" "${@:2}"
}
evaluate() { "$BIN/anyclass-evaluate" --results_output "$TMP/results" --sweep "$TMP/g.csv" --log_dir "$TMP/logs" --best val_f1 --data_root "$TMP/s" --table "$TMP/g.txt" "$@"; }
states() { "$train" sweep --status --table "$TMP/g.csv" --log_save_dir "$TMP/logs" | tr '\t\n' ' ;'; }
tap_ok "nothing is begun" test "$(states)" = "g-000 not begun;g-001 not begun;g-002 not begun;g-003 not begun;"
for i in 0 1 2; do tap_ok "element $i trains" element $i; done
fixed[5]=100000
element 3 2>"$TMP/killed.log" & # which is a shell that has the training as its child
until grep -q '^1,' "$TMP/logs/version_g-003/metrics.csv" 2>/dev/null; do sleep 0.1; done
kill -9 $(cat /proc/$!/task/$!/children)
wait 2>"$TMP/none"
fixed[5]=2
tap_ok "an element that is killed is seen" bash -c "grep -qE '^g-000 finished;g-001 finished;g-002 finished;g-003 epoch [0-9]+ of 100000;$' <<<'$(states)'"
tap_ok "infer what is finished" "$BIN/anyclass-infer" --log_dir "$TMP/logs" --versions g-000 g-001 g-002 --data_root "$TMP/s" --split Val --results_output "$TMP/results"
tap_refused 3 '1 of the 4 elements of .* are missing, the first is g-003 (epoch [0-9]* of 100000)' "a table without it" evaluate
tap_ok "is written" grep -qE '^g-003 +8 +2 +epoch [0-9]+ of 100000$' "$TMP/g.txt"
rm -r "$TMP/logs/version_g-003"
tap_ok "the element is trained" element 3
tap_ok "infer it" "$BIN/anyclass-infer" --log_dir "$TMP/logs" --versions g-000 g-001 g-002 g-003 --data_root "$TMP/s" --split Val --results_output "$TMP/results"
tap_ok "the table is whole" evaluate
tap_ok "all four are in it" test "$(awk '/^$/ { exit } /^g-/ { print $1 }' "$TMP/g.txt" | sort -u | paste -sd' ')" = "g-000 g-001 g-002 g-003"
again=$(sed -n 's/^train it again: anyclass-train //p' "$TMP/g.txt")
tap_ok "the command trains the best again" bash -c "'$train' $again"
best=$(sed -n 's/^best .* version \(g-[0-9]*\).*/\1/p' "$TMP/g.txt")
tap_ok "to the same numbers" cmp "$TMP/logs/version_$best/metrics.csv" "$TMP/logs/version_${best}_again/metrics.csv"
printf 'damaged' >"$TMP/logs/version_g-000/last.h5"
tap_ok "a damaged checkpoint" test "$(states)" = "g-000 damaged;g-001 finished;g-002 finished;g-003 finished;"
tap_done
