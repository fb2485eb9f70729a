# A folder of pictures: the scores are those of shards made of them, whatever the ranks and threads; broken ones are told and have none.
. tests/tap.sh
. tests/infer/setup.sh
make_version 14 2 2
checkpoint=$(echo "$TMP"/logs/version_a/epoch=*-val_f1=*.h5)
score() { local n=$1 out=$2 folder=$3; shift 3; ranks "$n" "$infer_program" --checkpoint "$checkpoint" --images "$folder" --results_output "$out" "$@"; }
names() { tail -qn +2 "$1"/*_Images_sigmoid.rank*.csv | sed 's/,[^"]*$//' | LC_ALL=C sort; }

# the validation pictures in folders, under names of all sorts
mkdir -p "$TMP/p/deep/er" "$TMP/p/B.jpg" "$TMP/elsewhere"
i=0
for image in $(grep -o '"file_name": *"[^"]*"' "$TMP"/data/annotations/instances_val*.json | sed 's/.*"\([^"]*\)"$/\1/'); do
    case $i in
        0) to="deep/er/first.JPG" ;;
        1) to="B.jpg/in a folder.jpeg" ;;
        2) to='comma, and "quotes".jpg' ;;
        3) to="a.JpEg" ;;
        4) to="-dash.jpg" ;;
        5) to=$'two\nlines.jpg' ;;
        *) to="$i.jpg" ;;
    esac
    cp "$TMP/data/images/$image" "$TMP/p/$to"
    i=$((i + 1))
done
ln -s "$TMP/p/6.jpg" "$TMP/p/link.jpg"
echo none >"$TMP/p/notes.txt"; cp "$TMP/p/6.jpg" "$TMP/p/6.jpg.bak"
ln -s "$TMP/elsewhere" "$TMP/p/folder_link"; cp "$TMP/p/6.jpg" "$TMP/elsewhere/unseen.jpg"
tap_ok "1 rank" score 1 "$TMP/r1" "$TMP/p"
tap_says 'folder_link: a link to a folder is not followed' "a link to a folder is not followed"
tap_ok "all pictures but no other file: $i and a link" grep -q "\"rows\": $((i + 1))" "$TMP/r1/resnet18_val_f1_Images_scores.json"
tap_ok "with their paths as names" grep -q '^deep/er/first.JPG,' "$TMP/r1/resnet18_val_f1_Images_sigmoid.rank0000.csv"
tap_ok "quoted where they must be" grep -q '^"comma, and ""quotes"".jpg",' "$TMP/r1/resnet18_val_f1_Images_sigmoid.rank0000.csv"
tap_ok "in the order of their bytes" test "$(grep -n '^-dash\|^6.jpg\|^B.jpg/\|^a.JpEg\|^deep' "$TMP/r1/resnet18_val_f1_Images_sigmoid.rank0000.csv" | cut -d: -f2 | cut -c1 | tr -d '\n')" = "-6Bad"
tap_ok "3 ranks" score 3 "$TMP/r3" "$TMP/p" --n_workers 3 --batch_size 4
tap_ok "the same scores" same_rows "$TMP/r1" "$TMP/r3" val_f1_Images
tap_ok "nothing is left" no_parts "$TMP/r3"

# the same pictures through shards
mkdir "$TMP/ann"
{ echo Filename,ring,cross,stripes,block,crack,triangle; for f in 6 7 8 9 10 11 12 13; do echo "$f.jpg,0,0,0,0,0,0"; done; } >"$TMP/ann/val.csv"
tap_ok "shards of them" "$BIN/anyclass-preprocess" --dataset csv --ann_root "$TMP/ann" --data_root "$TMP/p" --output "$TMP/sp" --image_size 32 --splits Val
tap_ok "scores of the shards" ranks 2 "$infer_program" --checkpoint "$checkpoint" --data_root "$TMP/sp" --results_output "$TMP/rs"
of_shards() { diff <(rows "$TMP/rs" val_f1_Val) <(rows "$TMP/r1" val_f1_Images | grep '^Filename\|^[0-9]*\.jpg,'); }
tap_ok "are those of the pictures" of_shards

# ---- broken ones ----
mkdir "$TMP/bad"
cp "$TMP"/p/[0-9].jpg "$TMP/bad"
head -c 300 "$TMP/p/7.jpg" >"$TMP/bad/cut.jpg"; : >"$TMP/bad/empty.png"; echo text >"$TMP/bad/text.jpeg"; ln -s nowhere "$TMP/bad/gone.jpg"
tap_refused 3 '4 pictures were rejected .*_rejected.csv' "broken pictures" score 2 "$TMP/rb" "$TMP/bad" --batch_size 3
rejected=$TMP/rb/resnet18_val_f1_Images_rejected.csv
tap_ok "each is listed with the reason" test "$(cut -d, -f1 "$rejected" | tr '\n' ' ')" = "file cut.jpg empty.png gone.jpg text.jpeg "
tap_ok "none of them has scores, all others have" test "$(names "$TMP/rb" | tr '\n' ' ')" = "6.jpg 7.jpg 8.jpg 9.jpg "
tap_ok "the set is not finished" grep -q '"finished": false' "$TMP/rb/resnet18_val_f1_Images_scores.json"
tap_ok "allowed with --max_bad" score 3 "$TMP/rb" "$TMP/bad" --max_bad 4
tap_says '4 pictures were rejected' "which is said"
tap_ok "it is finished then" grep -q '"finished": true' "$TMP/rb/resnet18_val_f1_Images_scores.json"
rm "$TMP/bad/gone.jpg"; cp "$TMP/p/7.jpg" "$TMP/bad/gone.jpg"; cp "$TMP/p/8.jpg" "$TMP/bad/cut.jpg"
before=$(cksum "$TMP"/rb/*rank*.csv)
tap_ok "two are repaired" score 1 "$TMP/rb" "$TMP/bad" --max_bad 2
tap_ok "they get scores" test "$(names "$TMP/rb" | tr '\n' ' ')" = "6.jpg 7.jpg 8.jpg 9.jpg cut.jpg gone.jpg "
tap_ok "those that were there are kept" test "$(cksum $(echo "$before" | cut -d' ' -f3-))" = "$before"
tap_ok "two rejected ones are left" test "$(wc -l <"$rejected")" = 3
for n in 1 2 3; do # as many checkpoints, dealt to the ranks in other ways: none is told twice
    rm -rf "$TMP/rm"; mkdir -p "$TMP/rm/version_a"
    ranks $n "$infer_program" --log_dir "$TMP/logs" --versions a --images "$TMP/bad" --results_output "$TMP/rm" --max_bad 2 --batch_size 2 >"$TMP/said" 2>&1
    tap_ok "all checkpoints on $n ranks: two rejected each" test "$(cat "$TMP"/rm/version_a/*_rejected.csv | grep -c '^empty.png,\|^text.jpeg,')" = 10
done
# the second of two checkpoints has more images left than the first, so that other ranks meet the broken ones
two() { ranks 2 "$infer_program" --checkpoint "$TMP/logs/version_a/last.h5" "$TMP/logs/version_a/previous.h5" --images "$TMP/bad" --results_output "$TMP/r2" --max_bad 2; }
tap_ok "two checkpoints" two
rm "$TMP/r2/resnet18_previous_Images_sigmoid.rank0000.csv"
tap_ok "scores of the second are missing" two
tap_ok "nothing of the first one's rejected pictures is told again" test "$(cut -d, -f1 "$TMP/r2/resnet18_previous_Images_rejected.csv" | tr '\n' ' ')" = "file empty.png text.jpeg "
tap_ok "nothing but broken ones" bash -c "mkdir '$TMP/onlybad'; cp '$TMP/bad/empty.png' '$TMP/onlybad'"
tap_refused 3 '1 pictures were rejected' "no picture is good" score 2 "$TMP/ro" "$TMP/onlybad"
mkdir "$TMP/none"
tap_refused 3 'no picture in it' "an empty folder" score 2 "$TMP/rn" "$TMP/none"
tap_refused 4 'nowhere' "no folder" score 1 "$TMP/rn" "$TMP/nowhere"
tap_ok "nothing is written then" test ! -e "$TMP/rn"
mkdir "$TMP/lines"; cp "$TMP/p/6.jpg" "$TMP/lines/good.jpg"; head -c 300 "$TMP/p/6.jpg" >"$TMP/lines/"$'two\nlines.jpg'
tap_ok "a rejected picture with a line end in its name" score 1 "$TMP/rl" "$TMP/lines" --max_bad 1
tap_ok "the reason does not tell where it lies" grep -q '^lines.jpg",JPEG: ' "$TMP/rl"/*_rejected.csv
: >"$TMP/rl/resnet18_val_f1_Images_rejected.csv.part" # of a run that was killed
cp "$TMP/p/6.jpg" "$TMP/lines/"$'two\nlines.jpg'
tap_ok "it is repaired" score 1 "$TMP/rl" "$TMP/lines"
tap_ok "the list and what a killed run left of it go" test -z "$(ls "$TMP/rl" | grep 'rejected\|part$')"
cp "$TMP/p/9.jpg" "$TMP/bad/new.jpg"
tap_refused 2 'scores of other images' "another list of pictures" score 1 "$TMP/rb" "$TMP/bad"

# ---- the shared broken images ----
if [ -d "$SHARED/data/bad" ]; then
    # what preprocess says of the same files
    (cd "$SHARED/data/bad" && { echo Filename,x; find . -type f \( -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.png' \) | sed 's/^\.\///; s/$/,0/' | LC_ALL=C sort; }) >"$TMP/ann/test.csv"
    "$BIN/anyclass-preprocess" --dataset csv --ann_root "$TMP/ann" --data_root "$SHARED/data/bad" --output "$TMP/sb" --image_size 32 --splits Test --max_bad 1000 >"$TMP/said" 2>&1
    tap_ok "unusual and broken pictures" score 2 "$TMP/rshared" "$SHARED/data/bad" --max_bad 1000
    n_bad=$(($(wc -l <"$TMP/sb/test-rejected.csv") - 1))
    tap_ok "the same $n_bad are rejected as by preprocess, for the same reasons" diff "$TMP/sb/test-rejected.csv" "$TMP/rshared/resnet18_val_f1_Images_rejected.csv"
    tap_ok "all others have scores" test "$(names "$TMP/rshared" | wc -l)" = "$(($(wc -l <"$TMP/ann/test.csv") - 1 - n_bad))"
else
    tap_skip "unusual and broken pictures" "no $SHARED/data/bad"
fi
tap_done
