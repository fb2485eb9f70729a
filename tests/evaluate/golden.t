#!/usr/bin/env bash
# The program with --compat reference against the numbers of the paper's own code, every one of every case; the tables are
# made into label and score files first, with the rows of the scores in another order and dealt to three files.
. tests/tap.sh
golden=$SHARED/golden/metrics
evaluate=$BIN/anyclass-evaluate
if [ ! -d "$golden" ]; then tap_skip "the reference's numbers" "no golden values here"; tap_done; fi
for json in "$golden"/*.json; do
    name=$(basename "$json" .json) dir=$TMP/$name
    mkdir -p "$dir"
    awk -F, -v labels="$dir/labels.csv" -v scores="$dir/scores" '
    { n = (NF - 1) / 2; line = row = NR == 1 ? "Filename" : $1
      for (i = 2; i <= n + 1; i++) { line = line "," $i; value = $(i + n); if (NR == 1) value = $i; row = row "," value } }
    NR == 1 { print line > labels; for (f = 0; f < 3; f++) print row > sprintf("%s.rank%04d.csv", scores, f); next }
    { print line > labels; print row > sprintf("%s.rank%04d.csv", scores, NR * 7 % 3) }' "$golden/$name.csv"
    for f in "$dir"/scores.rank*.csv; do { head -1 "$f"; tail -n +2 "$f" | tac; } > "$f.new"; mv "$f.new" "$f"; done
    # weights and threshold of the case; a threshold of its own for each class is tested on the library (test_golden.c)
    tr -d ' \n' < "$json" | sed 's/.*"label_weights":\[\([^]]*\)\].*/\1/; s/,/\n/g' |
        awk 'BEGIN { print "class,weight" } { print "y" NR - 1 "," $0 }' > "$dir/weights.csv"
    threshold=$(tr -d ' \n' < "$json" | sed -n 's/.*"threshold":\([0-9.][0-9.]*\),.*/\1/p')
    [ -n "$threshold" ] || continue
    for beta in 1 2; do
        tap_ok "$name: measured, F$beta maximised" ranks 2 "$evaluate" --scores "$dir"/scores.rank*.csv --labels "$dir/labels.csv" \
            --label_weights "$dir/weights.csv" --threshold "$threshold" --compat reference --max_fbeta --f_beta $beta --output "$dir/out"
    done
    tap_ok "$name: the reference's numbers" "$BUILD/tests/evaluate/check_golden" "$json" "$dir/out/scores_metrics.json" \
        1.0 "$dir/out/scores_max_f1_metrics.json" 2.0 "$dir/out/scores_max_f2_metrics.json"
    grep 'largest' "$TMP/.tap_out" || true
done
tap_done
