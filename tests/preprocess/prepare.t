# The preparation commands: what they write is a function of inputs and seed, the same for any number of ranks, complete or
# absent, never over something that is there; and the way from the published files to shards.
. tests/tap.sh
export OMP_NUM_THREADS=1
pre() { "$BIN/anyclass-preprocess" "$@"; }
commands="verify statistics coco_filter coco_split chest_split sewer_subset"

# ---- the frame ----
pre --help >"$TMP/help" 2>&1
bad=0
for c in $commands; do
    grep -q "^  $c: " "$TMP/help" || bad=$((bad + 1))
    pre "${c//_/-}" --help | grep -q "^usage: anyclass-preprocess $c " || bad=$((bad + 1))
done
tap_ok "--help lists every command, each has its own" test $bad = 0
tap_refused 2 "no command; there are verify" "a command that does not exist" "$BIN/anyclass-preprocess" coco_fliter --input x
tap_refused 2 "'coco_filtre' is no" "a word that is no command" pre coco_filtre --help
tap_refused 2 "required" "a command without what it needs" pre coco_split
tap_refused 2 "data_root" "an option of another command" pre coco_split --data_root x --input y --output z
tap_ok "--dump_config of a command" bash -c '"$0" sewer_subset --ann_root a --output b --n_defective 3 --dump_config | grep -q "\"n_defective\": 3"' "$BIN/anyclass-preprocess"

# ---- coco_filter ----
cat >"$TMP/instances_train.json" <<'X'
{"info": {"year": 2017,  "note": "caf\u00e9 [1, 2, 3, 4, 5]"}, "licenses": [{"id": 1}],
 "images": [{"id": 508, "file_name": "a.jpg", "width":640}, {"file_name":"b.jpg","id":2}, {"id": 30, "file_name": "c.jpg"}],
 "annotations": [
  {"segmentation": [[510.66,423.01, 5e+2, 0.10]], "iscrowd": 0, "image_id": 508, "category_id": 18, "id": 11, "x": {"category_id": 18}},
  {"category_id":1,"image_id":2,"id":12,"bbox":[1.50,2.0,3,4]},
  {"image_id": 2, "category_id": 90, "id": 13},
  {"image_id": 508, "category_id": 1, "id": 14}],
 "categories": [{"supercategory": "person", "id": 1, "name": "person"}, {"id": 18, "name": "dog"}, {"id":90, "name": "toothbrush"}]}
X
cat >"$TMP/wanted.json" <<'X'
{"info": {"year": 2017,  "note": "caf\u00e9 [1, 2, 3, 4, 5]"},
"licenses": [{"id": 1}],
"images": [
{"id": 508, "file_name": "a.jpg", "width":640},
{"file_name":"b.jpg","id":2},
{"id": 30, "file_name": "c.jpg"}
],
"annotations": [
{"segmentation": [[510.66,423.01, 5e+2, 0.10]], "iscrowd": 0, "image_id": 508, "category_id": 1, "id": 11, "x": {"category_id": 18}},
{"image_id": 2, "category_id": 2, "id": 13}
],
"categories": [
{"id": 1, "name": "dog"},
{"id":2, "name": "toothbrush"}
]}
X
in=$TMP/instances_train.json
tap_ok "coco_filter" pre coco_filter --input "$in" --output "$TMP/f"
tap_says '1 of the 39 categories the paper drops' "says that others of the default list are not there"
tap_says '2 of 3 categories, 2 of 4 annotations, 3 images' "says what is left"
tap_ok "ids are without gaps, all else byte for byte" cmp "$TMP/f/instances_train.json" "$TMP/wanted.json"
tap_refused 2 'is there already' "coco_filter onto what is there" pre coco_filter --input "$in" --output "$TMP/f"
tap_ok "coco_filter --overwrite --keep" pre coco_filter --input "$in" --output "$TMP/f" --overwrite --keep dog toothbrush
tap_ok "--keep the rest is --drop" cmp "$TMP/f/instances_train.json" "$TMP/wanted.json"
tap_ok "coco_filter --drop" pre coco_filter --input "$in" --output "$TMP/f2" --drop person
tap_ok "the same again" cmp "$TMP/f2/instances_train.json" "$TMP/wanted.json"
tap_ok "--dry_run" pre coco_filter --input "$in" --output "$TMP/dry" --dry_run
tap_says 'dry/instances_train.json: 3 images' "says what would be written"
tap_ok "writes nothing" test ! -e "$TMP/dry"
tap_refused 2 "has no category 'persn'" "a category that is not there" pre coco_filter --input "$in" --output "$TMP/x" --drop persn
tap_refused 2 'exclude each other' "--drop and --keep" pre coco_filter --input "$in" --output "$TMP/x" --drop dog --keep person
tap_refused 2 'no category would be left' "dropping everything" pre coco_filter --input "$in" --output "$TMP/x" --drop dog person toothbrush
tap_refused 2 'is an input' "an output that is the input" pre coco_filter --input "$in" --output "$TMP" --overwrite
tap_refused 2 'twice' "an input named twice" pre coco_filter --input "$in" "$TMP/./instances_train.json" --output "$TMP/x"
tap_refused 4 'none.json' "no such input" pre coco_filter --input "$TMP/none.json" --output "$TMP/x"
sed 's/"category_id": 90/"category_id": 91/' "$in" >"$TMP/bad.json"
tap_refused 3 'bad.json line 6 column 3 (byte [0-9]*): annotation 3: no category has the id 91' "an unknown category" pre coco_filter --input "$TMP/bad.json" --output "$TMP/x"
sed 's/"dog"/dog/' "$in" >"$TMP/bad.json"
tap_refused 3 'bad.json line 8 column ' "broken JSON" ranks 2 "$BIN/anyclass-preprocess" coco_filter --input "$TMP/bad.json" --output "$TMP/x"
sed 's/"dog"/"cat"/' "$in" >"$TMP/other.json"
tap_refused 3 "other.json line 8 column [0-9]* (byte [0-9]*): category 'cat', id 18" "inputs with other categories" pre coco_filter --input "$in" "$TMP/other.json" --output "$TMP/x"
tap_ok "nothing was written" test ! -e "$TMP/x"

# ---- coco_split ----
# generated: image k has the class k % 7 first (6: no annotation), in files of uneven strata; ids with gaps
coco() { # FILE FIRST N
    awk -v first="$2" -v n="$3" 'BEGIN {
        printf "{\"info\": {}, \"images\": ["
        for (i = first; i < first + n; i++) printf "%s{\"id\": %d, \"file_name\": \"%05d.jpg\"}", (i > first) ? ", " : "", 7 * i + 3, i
        printf "],\n\"annotations\": ["
        for (i = first; i < first + n; i++) {
            c = (i * i + int(i / 3)) % 7; if (c == 6) continue
            printf "%s{\"id\": %d, \"image_id\": %d, \"category_id\": %d, \"bbox\": [1, 2, 3, 4]}", m++ ? ",\n" : "", 2 * i, 7 * i + 3, 5 * c + 2
            if (i % 2) printf ",\n{\"id\": %d, \"image_id\": %d, \"category_id\": %d}", 2 * i + 1, 7 * i + 3, 5 * ((c + 1) % 6) + 2
        }
        printf "],\n\"categories\": ["
        for (c = 0; c < 6; c++) printf "%s{\"id\": %d, \"name\": \"class %d\"}", c ? ", " : "", 5 * c + 2, c
        print "]}" }' >"$1"
}
coco "$TMP/a.json" 1 400; coco "$TMP/b.json" 500 137
split() { pre coco_split --input "$TMP/a.json" "$TMP/b.json" --image_folders train2017 val2017 "$@"; }
tap_ok "coco_split" split --output "$TMP/s1"
for n in 2 3; do
    tap_ok "coco_split on $n ranks" ranks $n "$BIN/anyclass-preprocess" coco_split --input "$TMP/a.json" "$TMP/b.json" --image_folders train2017 val2017/ --output "$TMP/s$n"
    tap_ok "writes the same bytes" diff -r "$TMP/s1" "$TMP/s$n"
done
names() { grep -o '[a-z]*2017/[0-9]*\.jpg' "$1" | sort; }
pre coco_split --input "$TMP/b.json" "$TMP/a.json" --image_folders val2017 train2017 --output "$TMP/swapped" >/dev/null 2>&1
bad=0; for s in train val test; do [ "$(names "$TMP/s1/instances_$s.json" | md5sum)" = "$(names "$TMP/swapped/instances_$s.json" | md5sum)" ] || bad=$((bad + 1)); done
tap_ok "the order of inputs does not matter" test $bad = 0
tap_ok "another seed" split --output "$TMP/seed" --seed 2
tap_ok "is another split" bash -c '! cmp -s "$0/s1/instances_val.json" "$0/seed/instances_val.json"' "$TMP"
# every image once; each stratum's parts within one of n * fraction; the whole too
strata() { awk -v tolerance=1 '
    FNR == 1 {part++}
    match($0, /"file_name": "[a-z0-9]*\/[0-9]*/) {
        split(substr($0, RSTART, RLENGTH), w, "/"); i = w[2] + 0; seen[i]++
        c = (i * i + int(i / 3)) % 7; n[c]++; count[c, part]++; all++; total[part]++ }
    END {
        f[1] = .7; f[2] = .15; f[3] = .15
        for (i in seen) if (seen[i] != 1) bad++
        for (p = 1; p <= 3; p++) {
            d = total[p] - all * f[p]; if (d <= -tolerance || d >= tolerance) bad++
            for (c = 0; c < 7; c++) { d = count[c, p] - n[c] * f[p]; if (d <= -1 || d >= 1) bad++ } }
        if (all != 537) bad++
        exit bad > 0 }' "$@"; }
tap_ok "each stratum is divided to within one image, the whole too" strata "$TMP"/s1/instances_{train,val,test}.json
tap_ok "likewise with another seed" strata "$TMP"/seed/instances_{train,val,test}.json
tap_ok "all annotations are there, with their images" awk 'FNR == 1 {delete here} match($0, /"file_name"/) {match($0, /"id": [0-9]*/); here[substr($0, RSTART + 6, RLENGTH - 6)] = 1}
    match($0, /"image_id": [0-9]*/) {n++; if (!(substr($0, RSTART + 12, RLENGTH - 12) in here)) bad++} END {exit !(bad == 0 && n == '"$(cat "$TMP/a.json" "$TMP/b.json" | grep -c image_id)"')}' \
    "$TMP"/s1/instances_{train,val,test}.json
tap_refused 2 'is there already' "coco_split onto what is there" split --output "$TMP/s1" --seed 3
tap_ok "which stays as it was" diff -r "$TMP/s1" "$TMP/s2"
tap_ok "--fractions" split --output "$TMP/half" --fractions .5 .25 .25
tap_ok "half of the images" test "$(names "$TMP/half/instances_train.json" | wc -l)" -ge 267
tap_refused 2 'sum 1' "fractions with another sum" split --output "$TMP/x" --fractions .5 .2 .2
tap_refused 2 'three numbers' "two fractions" split --output "$TMP/x" --fractions .5 .5
tap_refused 2 'names 1 folders for 2 inputs' "a folder too few" pre coco_split --input "$TMP/a.json" "$TMP/b.json" --image_folders x --output "$TMP/x"
coco "$TMP/c.json" 390 20; coco "$TMP/two.json" 1 2
tap_refused 3 'c.json line 1 column [0-9]* (byte [0-9]*): the image id 2733 is in .*a.json too: use --renumber' "colliding ids" pre coco_split --input "$TMP/a.json" "$TMP/c.json" --image_folders p q --output "$TMP/x"
tap_refused 3 "file name '00390.jpg' occurs twice" "colliding file names" pre coco_split --input "$TMP/a.json" "$TMP/c.json" --renumber --output "$TMP/x"
tap_refused 2 'too few' "two images for three splits" pre coco_split --input "$TMP/two.json" --output "$TMP/x"
tap_ok "--renumber" pre coco_split --input "$TMP/a.json" "$TMP/c.json" --image_folders p q --renumber --output "$TMP/r"
cat "$TMP"/r/instances_*.json >"$TMP/all"
tap_ok "gives every image and annotation an id of its own" bash -c '
    [ "$(grep file_name "$0" | grep -o "\"id\": [0-9]*" | sort -u | wc -l)" = 420 ] && [ "$(grep image_id "$0" | grep -o "\"id\": [0-9]*" | sort | uniq -d | wc -l)" = 0 ]' "$TMP/all"
tap_ok "that are not left open" bash -c 'grep file_name "$0" | grep -o "\"id\": [0-9]*" | sort -u | grep -q "\"id\": 420$"' "$TMP/all"
tap_ok "nothing else was written" test ! -e "$TMP/x"
export PMIX_MCA_gds=hash # MPI's own start then needs no file
tap_refused 4 'instances_' "no room" bash -c "$(declare -f pre split); BIN=$BIN TMP=$TMP; ulimit -f 16; split --output $TMP/full"
tap_ok "no file is left" test -z "$(ls "$TMP/full")"
cp "$TMP"/s1/* "$TMP/full"
tap_refused 4 'instances_' "no room to replace what is there" bash -c "$(declare -f pre split); BIN=$BIN TMP=$TMP; ulimit -f 16; split --output $TMP/full --overwrite --seed 9"
tap_ok "which stays" diff -r "$TMP/full" "$TMP/s1"
unset PMIX_MCA_gds

# ---- chest_split ----
chest=$TMP/chest; mkdir -p "$chest"
awk 'BEGIN { print "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    for (p = 1; p <= 60; p++) for (k = 0; k < 1 + p % 4; k++) printf "%08d_%03d.png,%s,%d,%d,40,M,PA,1,1,1,1\n", p, k, (p + k) % 3 ? "No Finding" : "Mass|Hernia", k, p }' >"$chest/Data_Entry_2017_v2020.csv"
patients_apart() { # FOLDER N_PATIENTS N_IMAGES
    awk -F_ -v np="$2" -v ni="$3" 'FNR == 1 {part++} {if ($1 in of && of[$1] != part) bad++; if (!($1 in of)) n++; of[$1] = part; if (seen[$0]++) bad++}
        END {exit !(bad == 0 && n == np && FNR > 0 && NR == ni)}' "$1"/train_val_test/{train,val,test}.txt; }
tap_ok "chest_split" pre chest_split --ann_root "$chest" --output "$TMP/c1"
tap_says 'train: [0-9]* images of 42 patients' "42 of 60 patients"
tap_says 'test: [0-9]* images of 9 patients' "9 of 60 patients"
tap_ok "no patient is in two splits" patients_apart "$TMP/c1" 60 150
for n in 2 3; do
    tap_ok "chest_split on $n ranks" ranks $n "$BIN/anyclass-preprocess" chest_split --ann_root "$chest/Data_Entry_2017_v2020.csv" --output "$TMP/c$n"
    tap_ok "writes the same bytes" diff -r "$TMP/c1" "$TMP/c$n"
done
tac "$chest/Data_Entry_2017_v2020.csv" | awk '/^Image/ {print; exit}' >"$TMP/reversed.csv"
tac "$chest/Data_Entry_2017_v2020.csv" | grep -v '^Image' >>"$TMP/reversed.csv"
pre chest_split --ann_root "$TMP/reversed.csv" --output "$TMP/c4" >/dev/null 2>&1
tap_ok "the order of rows does not matter" cmp <(sort "$TMP/c1/train_val_test/val.txt") <(sort "$TMP/c4/train_val_test/val.txt")
tap_refused 2 'is there already' "chest_split onto what is there" pre chest_split --ann_root "$chest" --output "$TMP/c1" --seed 5
tap_ok "--overwrite and another seed" pre chest_split --ann_root "$chest" --output "$TMP/c1" --seed 5 --overwrite
tap_ok "is another split, also without a patient in two" bash -c "! diff -rq '$TMP/c1' '$TMP/c2' >/dev/null"
tap_ok "as it should be" patients_apart "$TMP/c1" 60 150
awk -F, 'NR > 1 && $4 <= 45 {print $1}' "$chest/Data_Entry_2017_v2020.csv" >"$chest/train_val_list.txt"
awk -F, 'NR > 1 && $4 > 45 {print $1}' "$chest/Data_Entry_2017_v2020.csv" | tac >"$chest/test_list.txt"
tap_ok "chest_split --official" pre chest_split --ann_root "$chest" --official "$chest" --val_fraction .2
tap_says 'val: [0-9]* images of 9 patients' "a fifth of 45 patients"
tap_ok "beside the table by default; the test list is the official one" cmp "$chest/train_val_test/test.txt" "$chest/test_list.txt"
tap_ok "train and val are the other list" cmp <(sort "$chest"/train_val_test/{train,val}.txt) <(sort "$chest/train_val_list.txt")
tap_ok "no patient is in two splits" patients_apart "$chest" 60 150
tap_refused 2 'exclude' "--official with --fractions" pre chest_split --ann_root "$chest" --output "$TMP/x" --official "$chest" --fractions .8 .1 .1
tap_refused 2 'for --official' "--val_fraction alone" pre chest_split --ann_root "$chest" --output "$TMP/x" --val_fraction .1
tap_refused 2 'between 0 and 1' "a val fraction of 1" pre chest_split --ann_root "$chest" --output "$TMP/x" --official "$chest" --val_fraction 1
mkdir "$TMP/lists"; cp "$chest"/*_list.txt "$TMP/lists"
head -1 "$chest/train_val_list.txt" >>"$TMP/lists/test_list.txt"
tap_refused 3 "is in the other list too" "an image in both official lists" pre chest_split --ann_root "$chest" --output "$TMP/x" --official "$TMP/lists"
cp "$chest/test_list.txt" "$TMP/lists"; sed -i 1d "$TMP/lists/train_val_list.txt"; head -1 "$chest/train_val_list.txt" >>"$TMP/lists/test_list.txt"
tap_refused 3 "patient 1 is in both official lists" "a patient in both official lists" pre chest_split --ann_root "$chest" --output "$TMP/x" --official "$TMP/lists"
echo nobody.png >>"$TMP/lists/train_val_list.txt"
tap_refused 3 "train_val_list.txt line [0-9]*: the image 'nobody.png'" "an unknown image" pre chest_split --ann_root "$chest" --output "$TMP/x" --official "$TMP/lists"
sed 's/Mass|Hernia/Mass|Hernja/' "$chest/Data_Entry_2017_v2020.csv" >"$TMP/bad.csv"
tap_refused 3 "bad.csv line 5: column Finding Labels: 'Hernja'" "an unknown finding" pre chest_split --ann_root "$TMP/bad.csv" --output "$TMP/x"
tap_ok "no list was written" test ! -e "$TMP/x/train_val_test/train.txt"

# ---- sewer_subset ----
sewer=$TMP/sewer; mkdir -p "$sewer"
awk 'BEGIN { printf "Filename,WaterLevel,VA,RB,OB,PF,DE,FS,IS,RO,IN,AF,BE,FO,GR,PH,PB,OS,OP,OK,ND,Defect\r\n"
    for (i = 1; i <= 90; i++) { d = i % 3 == 0; printf "%08d.png,10,%d,%d,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,%d,%d,%d\r\n", i, i % 2, d && i % 2, d && i % 2 == 0, !d, d } }' >"$sewer/SewerML_Train.csv"
subset() { pre sewer_subset --ann_root "$sewer" "$@"; }
in=$sewer/SewerML_Train.csv
tap_ok "sewer_subset" subset --output "$TMP/w1" --n_defective 10 --normal_ratio 1.5
out=$TMP/w1/SewerML_Train.csv
tap_ok "ten defective images and fifteen normal ones" test "$(grep -c ',1.$' "$out")/$(grep -c ',0.$' "$out")" = 10/15
tap_ok "header and rows byte for byte, in the file's order" cmp "$out" <(head -1 "$in"; grep -Fxf <(sed 1d "$out") "$in")
for n in 2 3; do
    tap_ok "sewer_subset on $n ranks" ranks $n "$BIN/anyclass-preprocess" sewer_subset --ann_root "$in" --output "$TMP/w$n" --n_defective 10 --normal_ratio 1.5
    tap_ok "writes the same bytes" diff -r "$TMP/w1" "$TMP/w$n"
done
tap_ok "a larger one" subset --output "$TMP/w4" --n_defective 20 --normal_ratio 1.5
tap_ok "holds the smaller one" test "$(grep -cFxf "$out" "$TMP/w4/SewerML_Train.csv")" = 26
tap_ok "another seed" subset --output "$TMP/w5" --n_defective 10 --normal_ratio 1.5 --seed 2
tap_ok "is another subset" bash -c "! cmp -s '$out' '$TMP/w5/SewerML_Train.csv'"
tap_ok "no normal images" subset --output "$TMP/w6" --n_defective 30 --normal_ratio 0
tap_ok "all thirty defective ones" test "$(wc -l <"$TMP/w6/SewerML_Train.csv")" = 31
tap_refused 2 'has 30 defective images, 31 are wanted' "more than there are" subset --output "$TMP/x" --n_defective 31
tap_refused 2 'has 60 normal images, 90 are wanted' "more normal ones than there are" subset --output "$TMP/x" --n_defective 30 --normal_ratio 3
tap_refused 2 'is there already' "sewer_subset onto what is there" subset --output "$TMP/w1" --n_defective 5
tap_refused 2 'is the input' "an output that is the input" subset --output "$sewer" --n_defective 5 --overwrite
tap_refused 4 'SewerML_Test.csv' "no such split" subset --output "$TMP/x" --n_defective 5 --split Test
sed '7s/,0,0,0,/,0,x,0,/' "$in" >"$TMP/bad.csv"
{ cat "$in"; sed -n 5p "$in"; } >"$TMP/twice.csv"
tap_refused 3 "twice.csv line 92: the file name of '00000004.png.*' occurs twice" "a file name with two rows" pre sewer_subset --ann_root "$TMP/twice.csv" --output "$TMP/x" --n_defective 5
if command -v flock >/dev/null; then
    mkdir -p "$TMP/locked"
    tap_refused 4 "another program is writing this file" "an output that another run is writing" flock "$TMP/locked/SewerML_Train.csv.part" \
        "$BIN/anyclass-preprocess" sewer_subset --ann_root "$in" --output "$TMP/locked" --n_defective 5
else
    tap_skip "a locked output" "flock is not installed"
fi
tap_refused 3 "bad.csv line 7: column RB: 'x' is neither 0 nor 1" "a bad label" pre sewer_subset --ann_root "$TMP/bad.csv" --output "$TMP/x" --n_defective 5
tap_ok "nothing was written" test ! -e "$TMP/x/SewerML_Train.csv"

# ---- statistics and verify; sewer and chest through preprocess ----
demo() { "$BUILD/tests/demo/make_demo_data" --output "$TMP/demo_$1" --style "$1" --n_train 30 --n_val 5 --n_test 5 --size 40; }
shards() { # STYLE
    pre --dataset "$1" --ann_root "$TMP/demo_$1/annotations" --data_root "$TMP/demo_$1/images" --image_size 32 --shard_size 7 --output "$TMP/shards_$1"; }
for style in sewer chest; do
    tap_ok "demo data of $style" demo $style
    tap_ok "to shards" shards $style
done
sed '3s/.$/x/' "$TMP/demo_sewer/annotations/SewerML_Val.csv" >"$TMP/SewerML_Val.csv"
tap_ok "a Defect column that contradicts the classes" pre --dataset sewer --ann_root "$TMP/SewerML_Val.csv" --splits Val --data_root "$TMP/demo_sewer/images" --output "$TMP/x" --dry_run
tap_says 'warning: .*SewerML_Val.csv line 3: column Defect is not what the 17 classes say (so in 1 rows)' "is a warning"
tap_ok "statistics" bash -c "'$BIN/anyclass-preprocess' statistics --data_root '$TMP/shards_sewer' --output '$TMP/1.json' 2>/dev/null >'$TMP/1.txt'"
"$BUILD/tests/preprocess/naive_statistics" "$TMP/shards_sewer" train >"$TMP/naive.txt"
tap_ok "what a plain sum over all pixels gives: $(cat "$TMP/1.txt")" cmp "$TMP/1.txt" "$TMP/naive.txt"
for n in 2 3; do
    ranks $n "$BIN/anyclass-preprocess" statistics --data_root "$TMP/shards_sewer" --output "$TMP/$n.json" 2>/dev/null >"$TMP/$n.txt"
    tap_ok "$n ranks: the same digits and file" bash -c "cmp '$TMP/1.txt' '$TMP/$n.txt' && cmp '$TMP/1.json' '$TMP/$n.json'"
done
tap_ok "making shards takes the line as it is" bash -c "'$BIN/anyclass-preprocess' --dataset sewer --ann_root '$TMP/demo_sewer/annotations' --data_root '$TMP/demo_sewer/images' \
    --image_size 32 --splits Val --output '$TMP/shards_mean' $(cat "$TMP/1.txt")"
tap_refused 2 'is there already' "statistics onto what is there" pre statistics --data_root "$TMP/shards_sewer" --output "$TMP/1.json"
tap_refused 4 'is no folder' "an output below a file" pre statistics --data_root "$TMP/shards_sewer" --output "$TMP/1.json/x.json"
tap_refused 4 'manifest' "a split without shards" pre statistics --data_root "$TMP" --split Test
tap_ok "verify" ranks 2 "$BIN/anyclass-preprocess" verify --data_root "$TMP/shards_chest"
shard=$TMP/shards_chest/train-00002-of-00005.h5
printf '\x55' | dd of="$shard" bs=1 seek=$(($(stat -c %s "$shard") / 2)) conv=notrunc status=none
tap_exit 3 "verify: a damaged shard" pre verify --data_root "$TMP/shards_chest"
tap_says 'train-00002-of-00005.h5' "by name"
tap_refused 3 'train-00002-of-00005.h5: dataset images, sample' "statistics of a damaged shard" ranks 2 "$BIN/anyclass-preprocess" statistics --data_root "$TMP/shards_chest"

# ---- the published files ----
n_samples() { awk '/^  "n_samples"/ {n += $2} END {print n}' "$1"/*-manifest.json; }
if [ -d "$SHARED/data/chest" ]; then
    real=$SHARED/data/chest
    tap_ok "real chest: by patients" pre chest_split --ann_root "$real" --output "$TMP/nih1"
    tap_ok "real chest: no patient of 30805 is in two splits" patients_apart "$TMP/nih1" 30805 112120
    tap_ok "real chest: official lists, 2 ranks" ranks 2 "$BIN/anyclass-preprocess" chest_split --ann_root "$real" --official "$real" --output "$TMP/nih2"
    tap_ok "real chest: no patient of 30805 is in two splits" patients_apart "$TMP/nih2" 30805 112120
    tap_ok "real chest: 25596 of the test list, in its order" cmp <(cat "$real/test_list.txt"; echo) "$TMP/nih2/train_val_test/test.txt"
    tap_ok "real chest: 86524 of the other list" bash -c "[ \$(cat '$TMP'/nih2/train_val_test/{train,val}.txt | wc -l) = 86524 ] && cmp <(sort '$TMP'/nih2/train_val_test/{train,val}.txt) <(sort <(cat '$real/train_val_list.txt'; echo))"
    mkdir -p "$TMP/nih3/train_val_test"; cp "$real/Data_Entry_2017_v2020.csv" "$TMP/nih3"
    ls "$real/images" | grep png >"$TMP/there"
    for s in train val test; do grep -Fxf "$TMP/there" "$TMP/nih2/train_val_test/$s.txt" >"$TMP/nih3/train_val_test/$s.txt"; done
    tap_ok "real chest: 22 images to shards" pre --dataset chest --ann_root "$TMP/nih3" --data_root "$real/images" --output "$TMP/nih4" --image_size 64 --splits $(cd "$TMP/nih3/train_val_test"; for s in train val test; do [ -s $s.txt ] && echo $s; done)
    tap_ok "real chest: all of them" test "$(n_samples "$TMP/nih4")" = 22
else
    tap_skip "the real chest files" "shared inputs are absent"
fi
if [ -d "$SHARED/data/coco" ]; then
    real=$SHARED/data/coco
    tap_ok "real COCO: filter" pre coco_filter --input "$real/annotations/instances_train2017.json" --output "$TMP/coco1"
    tap_says '41 of 80 categories' "41 categories remain"
    tap_ok "real COCO: split" pre coco_split --input "$TMP/coco1/instances_train2017.json" --image_folders train2017 --output "$TMP/coco2"
    tap_ok "real COCO: to shards" ranks 2 "$BIN/anyclass-preprocess" --dataset coco --ann_root "$TMP/coco2" --data_root "$real" --output "$TMP/coco3" --image_size 64
    tap_ok "real COCO: 55 images of 41 classes" test "$(n_samples "$TMP/coco3")/$(grep -c '"count"' "$TMP/coco3/val-manifest.json")" = 55/41
else
    tap_skip "the real COCO files" "shared inputs are absent"
fi
if [ -d "$SHARED/data/sewerml" ]; then
    mkdir -p "$TMP/ten/ann" "$TMP/ten/images"
    grep -E '^ +(Filename|000000)' "$SHARED/data/sewerml/COLUMNS.md" | sed 's/^ *//' | awk '/^Filename/ && seen++ {next} 1' >"$TMP/ten/rows"
    sed -n '1,6p' "$TMP/ten/rows" >"$TMP/ten/ann/SewerML_Train.csv"
    sed -n '1p;7,11p' "$TMP/ten/rows" >"$TMP/ten/ann/SewerML_Valid.csv"
    set -- "$TMP"/demo_chest/images/*.png
    for f in $(sed 1d "$TMP/ten/rows" | cut -d, -f1); do cp "$1" "$TMP/ten/images/$f"; shift; done
    tap_ok "ten real SewerML rows to shards" pre --dataset sewer --ann_root "$TMP/ten/ann" --data_root "$TMP/ten/images" --output "$TMP/ten/shards" --image_size 32
    tap_says 'train: 5 images in 1 shards, 0 negative, 17 classes' "the five of the training file are all defective"
    tap_says 'val: 5 images in 1 shards, 4 negative, 17 classes' "four of the validation file are normal"
else
    tap_skip "the real SewerML rows" "shared inputs are absent"
fi
tap_done
