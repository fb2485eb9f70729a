# Scores are the same bits on 1 to 4 ranks, in any batch and with any number of threads, and those that training validated with.
. tests/tap.sh
. tests/infer/setup.sh
make_version 23 9 4
folder=version_a
tap_ok "1 rank" infer 1 "$TMP/r1" --do_val_test
tap_ok "no temporary file, no lock" no_parts "$TMP/r1"
tap_ok "each image of the split once" test "$(tail -qn +2 "$TMP/r1/$folder"/resnet18_val_f1_Val_sigmoid.rank*.csv | cut -d, -f1 | sort -u | wc -l)" = 23
same_all() { for k in val_loss val_bce val_ap val_f1 val_f2; do for s in Val Test; do same_rows "$TMP/r1/$folder" "$1/$folder" "${k}_$s" || return 1; done; done; }
for case in "2 1 64" "3 1 5" "4 1 3" "1 2 7" "2 2 1" "1 1 1000"; do
    read -r n threads batch <<<"$case"
    OMP_NUM_THREADS=$threads tap_ok "$n ranks, $threads threads, batch $batch" infer "$n" "$TMP/r" --do_val_test --batch_size "$batch"
    [ "$batch" != 1 ] || tap_says ', 2 images a step on each' "never one image: some sums would be divided between threads"
    tap_ok "give the same scores for every checkpoint and split" same_all "$TMP/r"
    tap_ok "and leave nothing else" no_parts "$TMP/r"
    rm -rf "$TMP/r"
done
line=(--log_dir "$TMP/logs" --versions a --data_root "$TMP/s" --results_output "$TMP/r" --checkpoints val_f1 --batch_size 2 --watchdog_s 20)
tap_ok "ranks with 1 and 5 threads" mpirun -n 1 -x OMP_NUM_THREADS=1 "$infer_program" "${line[@]}" : -n 1 -x OMP_NUM_THREADS=5 "$infer_program" "${line[@]}"
tap_says ', 5 images a step on each' "make steps of the same size"
tap_ok "and give the same scores" same_rows "$TMP/r1/$folder" "$TMP/r/$folder" val_f1_Val
rm -rf "$TMP/r"
if infer 1 "$TMP/b1" --precision bf16-mixed --checkpoints val_f1 >"$TMP/bf16" 2>&1; then
    for case in "2 1 64" "3 1 5" "1 2 3"; do
        read -r n threads batch <<<"$case"
        OMP_NUM_THREADS=$threads tap_ok "bf16: $n ranks, $threads threads, batch $batch" infer "$n" "$TMP/b" --precision bf16-mixed --checkpoints val_f1 --batch_size "$batch"
        tap_ok "bf16: the same scores" same_rows "$TMP/b1/$folder" "$TMP/b/$folder" val_f1_Val
        rm -rf "$TMP/b"
    done
    differ() { ! same_rows "$TMP/r1/$folder" "$TMP/b1/$folder" val_f1_Val >/dev/null; }
    tap_ok "bf16: other scores than in float" differ
else
    tap_skip "bf16" "$(grep -o 'bf16 needs.*' "$TMP/bf16" || tail -1 "$TMP/bf16")"
fi

# ---- the same checkpoint under several names ----
n_files=$(cksum "$TMP/logs/version_a"/epoch=*.h5 | cut -d' ' -f1 | sort -u | wc -l)
infer 2 "$TMP/once" >"$TMP/said" 2>&1
tap_ok "each of the $n_files different files of 5 is loaded once" test "$(grep -c ': loaded ' "$TMP/said")" = "$n_files"
again=$(find "$TMP/once" -type f -exec ls -il --time-style=full-iso {} + | cksum)
tap_ok "again" infer 3 "$TMP/once"
tap_says 'everything is complete already' "nothing is left to do, which is said"
tap_ok "and no weights are loaded" test "$(grep -c ': loaded ' "$TMP/.tap_out")" = 0
tap_ok "no file is touched" test "$again" = "$(find "$TMP/once" -type f -exec ls -il --time-style=full-iso {} + | cksum)"
name=$(for k in val_bce val_ap val_f1 val_f2; do cmp -s "$TMP/logs/version_a"/epoch=*-val_loss=*.h5 "$TMP/logs/version_a"/epoch=*-$k=*.h5 && echo $k; done | head -1)
if [ -n "$name" ]; then
    rm "$TMP/once/$folder"/resnet18_val_loss_*
    tap_ok "scores of one of two equal checkpoints are gone" infer 2 "$TMP/once"
    tap_ok "they come from the other's, without weights" test "$(grep -c ': loaded ' "$TMP/.tap_out")" = 0
    tap_ok "and are the same" same_rows "$TMP/r1/$folder" "$TMP/once/$folder" val_loss_Val
    sed -i 3d "$TMP/once/$folder/resnet18_val_loss_Val_sigmoid.rank0000.csv" # a file of its own now, with a row less
    tap_ok "a row of one of two equal checkpoints is gone" infer 2 "$TMP/once"
    tap_ok "it is there again" same_rows "$TMP/r1/$folder" "$TMP/once/$folder" val_loss_Val
    cp "$TMP/once/$folder/resnet18_${name}_Val_sigmoid.rank0000.csv" "$TMP/copy"; mv "$TMP/copy" "$TMP/once/$folder/resnet18_${name}_Val_sigmoid.rank0000.csv"
    again=$(ls -il "$TMP/once/$folder" | cksum)
    tap_ok "a copy in the place of a link" infer 1 "$TMP/once"
    tap_ok "is left as it is" test "$again" = "$(ls -il "$TMP/once/$folder" | cksum)"
else
    tap_skip "scores from an equal checkpoint" "no other checkpoint equals that of val_loss here"
fi

# ---- what training said ----
column() { awk -F, -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) at = i; next } { print $at }' "$TMP/logs/version_a/metrics.csv"; }
tap_ok "evaluate" "$BIN/anyclass-evaluate" --results_output "$TMP/r1" --versions a --split Val --data_root "$TMP/s"
value() { tr -d ' \n' <"$TMP/r1/$folder/resnet18_$1_Val_metrics.json" | grep -o "\"$2\":[^,}]*" | head -1 | cut -d: -f2; }
close() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; exit !(a ~ /^[0-9]/ && b ~ /^[0-9]/ && d < 1e-12 && d > -1e-12) }'; }
for pair in val_f1:MACRO_F1 val_f2:MACRO_F2 val_ap:MAP; do
    best=$(column "${pair%:*}" | sort -g | tail -1)
    tap_ok "best ${pair%:*} of the training, $best, is ${pair#*:} of the scores of its checkpoint" close "$best" "$(value "${pair%:*}" "${pair#*:}")"
done

# ---- checkpoints by file, other versions ----
tap_ok "--checkpoint" ranks 2 "$infer_program" --checkpoint "$TMP"/logs/version_a/epoch=*-val_f1=*.h5 --data_root "$TMP/s" --results_output "$TMP/direct"
tap_ok "the files lie in the folder itself, with the same scores" same_rows "$TMP/r1/$folder" "$TMP/direct" val_f1_Val
tap_ok "the record tells the version" grep -q '"version": "a"' "$TMP/direct/resnet18_val_f1_Val_scores.json"
tap_ok "last" infer 2 "$TMP/last" --checkpoints last
tap_ok "of which there is one file per rank, and a record" test "$(ls "$TMP/last/$folder" | wc -l)" = 3
cp -r "$TMP/logs/version_a" "$TMP/logs/version_b"
VERSIONS="a b" tap_ok "two versions" infer 2 "$TMP/two" --checkpoints val_f1 last
tap_says 'is 2 checkpoints in one' "of the same checkpoints: run once"
tap_ok "both have scores" same_rows "$TMP/two/version_a" "$TMP/two/version_b" val_f1_Val
tap_done
