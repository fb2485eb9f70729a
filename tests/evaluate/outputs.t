#!/usr/bin/env bash
# Outputs that would replace each other or what is read, or that cannot be made, are refused before any work, and nothing is written.
. tests/tap.sh
. tests/evaluate/data.sh
cd "$TMP" && PATH=$OLDPWD/$BIN:$PATH || exit 1
evaluate=anyclass-evaluate
cp val_sigmoid.csv X.csv; cp val_sigmoid.csv X_max_f1.csv; mkdir page.html folder; ln -s folder link; ln -s labels.csv labels_link.csv
printf 'class,weight\ncrack,1\nroot,1\njoint,1\nnone,1\n' >weights.csv
sum() { cat ./*.csv | cksum; }
before=$(sum)
list() { find . -name '.tap*' -prune -o -print | sort; }
list >.tap_list
# refuses CODE TEXT NAME OPTION...
refuses() {
    local code=$1 text=$2 name=$3; shift 3
    tap_refused "$code" "$text" "$name" "$evaluate" "$@" --labels labels.csv
    list | cmp -s - .tap_list && [ "$(sum)" = "$before" ] || { list | diff - .tap_list | sed 's/^/# /'; tap_ok "$name: nothing is written" false; }
}
reads='this run reads that file' writes='this run writes another file of that name'
refuses 2 "--table val_sigmoid.csv: $reads" "a table in the place of the scores" --scores val_sigmoid.csv --table val_sigmoid.csv
refuses 2 "--table link/../labels.csv: $reads" "a table in the place of the labels" --scores val_sigmoid.csv --table link/../labels.csv
refuses 2 "--report labels.csv: $reads" "a report in the place of the labels" --scores val_sigmoid.csv --report labels.csv
refuses 2 "--table weights.csv: $reads" "a table in the place of the weights" --scores val_sigmoid.csv --label_weights weights.csv --table weights.csv
refuses 2 "--table X.csv: $reads" "a table in the place of the Val scores" --scores val_sigmoid.csv --split Test --max_fbeta --val_scores X.csv \
    --val_labels labels.csv --table X.csv
refuses 2 "--table link/a.csv: $writes" "a table under two names" --scores val_sigmoid.csv --table folder/a.csv link/a.csv
refuses 2 "--table link/new/a.csv: $writes" "in a folder that is not there yet" --scores val_sigmoid.csv --table folder/new/a.csv link/new/a.csv
refuses 2 "--report a.csv: $writes" "a report that is the table" --scores val_sigmoid.csv --table a.csv --report a.csv
refuses 2 "--plots a.html: $writes" "plots in the report's place" --scores val_sigmoid.csv --report a.html --plots a.html
refuses 2 "X_max_f1_metrics.json: $writes" "a set whose metrics are another's tuned ones" --scores X.csv X_max_f1.csv --max_fbeta
refuses 2 "a name is wanted" "a report without a name" --scores val_sigmoid.csv --report ''
refuses 4 "--report page.html: is a folder" "a report that is a folder" --scores val_sigmoid.csv --report page.html
refuses 4 "X.csv: is no folder" "plots in a file" --scores val_sigmoid.csv --plots X.csv
refuses 4 "labels.csv: is no folder" "metrics in a file" --scores val_sigmoid.csv --output labels.csv
refuses 4 "--log_dir nowhere is not there" "no logs" --scores val_sigmoid.csv --report a.html --log_dir nowhere
mkdir -p r/version_v logs/version_v
cp X.csv r/version_v/m_val_f1_val_sigmoid.csv
head='epoch,step,learning_rate,train_loss,val_loss,val_bce,val_ap,val_f1,val_f2'
printf '%s\n0,5,0.1,2,1,0.5,0.5,banana,0.4\n' "$head" >logs/version_v/metrics.csv
list >.tap_list
refuses 3 "metrics.csv line 2: 'banana' is no number" "a wrong training log, before any work" --results_output r --report a.html --log_dir logs --dry_run
printf '%s\n0,5,0.1,2,1,inf,0.5,-nan,0.4\n' "$head" >logs/version_v/metrics.csv
tap_ok "numbers that are none as the trainer writes them" "$evaluate" --results_output r --labels labels.csv --log_dir logs --report a.html --dry_run
tap_refused 2 "--output X.csv: $reads" "compare: the JSON in the place of A" "$evaluate" compare X.csv val_sigmoid.csv --labels labels.csv --output X.csv
tap_refused 2 "--table labels.csv: $reads" "compare: a table in the place of the labels" "$evaluate" compare X.csv val_sigmoid.csv \
    --labels labels_link.csv --table labels.csv
tap_refused 2 "--table ./a.csv: $writes" "compare: a table that is the JSON" "$evaluate" compare X.csv val_sigmoid.csv --labels labels.csv --output a.csv --table ./a.csv
tap_ok "the inputs are as they were" test "$(sum)" = "$before"

tap_ok "two sets of which one is named like the other's tuned ones for another beta" "$evaluate" --scores X.csv X_max_f1.csv --labels labels.csv --max_fbeta --f_beta 2
tap_ok "without a folder in --scores" "$evaluate" --scores X.csv --labels labels.csv --table table.csv
tap_ok "the version is the folder's name" test "$(sed -n 2p table.csv | cut -d, -f1)" = "$(basename "$TMP")"
cp X.csv folder
tap_ok "another way there" "$evaluate" --scores link/../folder/./X.csv --labels labels.csv --table folder/table.csv
tap_ok "is the same version" test "$(sed -n 2p folder/table.csv | cut -d, -f1)" = folder
tap_ok "files of one set by two ways to their folder" split_rows val_sigmoid.csv 2 folder/part
tap_ok "are one set" "$evaluate" --scores folder/part.rank0000.csv link/part.rank0001.csv --labels labels.csv
cd "$OLDPWD" || exit 1
tap_done
