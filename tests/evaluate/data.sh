# source this after tap.sh: 60 images with labels of 4 classes (the last absent) and scores, as "$TMP/labels.csv" and
# "$TMP/val_sigmoid.csv". Scores come in steps of 1/16, so that there are ties; one name needs quotes.
evaluate=$BIN/anyclass-evaluate
awk -v labels="$TMP/labels.csv" -v scores="$TMP/val_sigmoid.csv" '
function draw() { state = (state * 1103515245 + 12345) % 2147483648; return int(state / 65536) }
BEGIN {
    state = 4
    print "Filename,crack,root,joint,none" > labels
    print "Filename,crack,root,joint,none" > scores
    for (i = 0; i < 60; i++) {
        name = i == 7 ? "\"odd, \"\"7\"\".png\"" : sprintf("%04d.png", i)
        line = name; row = name
        for (c = 0; c < 4; c++) {
            label = c < 3 && draw() % 4 == 0
            score = (draw() % 12 + (label ? 5 : 0)) / 16
            line = line "," label; row = row "," score
        }
        print line > labels; print row > scores
    }
}'
# split_rows FILE N PREFIX: deal the rows to PREFIX.rank0000.csv ... (N files, each with the header)
split_rows() {
    awk -v n="$2" -v prefix="$3" '
    NR == 1 { for (i = 0; i < n; i++) print > sprintf("%s.rank%04d.csv", prefix, i); next }
    { print > sprintf("%s.rank%04d.csv", prefix, NR * 7 % n) }' "$1"
}
# shuffle FILE: header first, the rows in another order
shuffle() { head -1 "$1"; tail -n +2 "$1" | awk '{ print NR * 37 % 61 "\t" $0 }' | sort -n | cut -f 2-; }
# says CODE PATTERN RANKS OPTION...: anyclass-evaluate ends with CODE and gives one line with an error that has PATTERN.
# One rank is started without mpirun, which takes a second to end when its program fails.
says() {
    local want=$1 pattern=$2 n=$3 got=0; shift 3
    if [ "$n" -eq 1 ]; then "$evaluate" "$@" >"$TMP/said" 2>&1 || got=$?; else ranks "$n" "$evaluate" "$@" >"$TMP/said" 2>&1 || got=$?; fi
    cat "$TMP/said"
    [ "$got" -eq "$want" ] && [ "$(grep -c 'anyclass-evaluate: error: ' "$TMP/said")" -eq 1 ] &&
        grep -qE "anyclass-evaluate: error: .*$pattern" "$TMP/said"
}
