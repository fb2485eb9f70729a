# source this after tap.sh: report_data FOLDER N_CLASSES N_IMAGES VERSION... makes labels.csv, results/ and logs/ there: a few rare and one
# absent class, names that HTML and CSV must escape, training curves with empty cells. Scores tell the classes apart, more or less.
report_data() {
    local folder=$1 n_classes=$2 n=$3 version; shift 3
    mkdir -p "$folder"
    for version in "$@"; do mkdir -p "$folder/results/version_$version" "$folder/logs/version_$version"; done
    printf '%s\n' "$@" | awk -v folder="$folder" -v n_classes="$n_classes" -v n="$n" '
    function draw() { state = (state * 1103515245 + 12345) % 2147483648; return int(state / 65536) / 32768 }
    function around() { return (draw() + draw() + draw() + draw() - 2) * 1.7 }
    function sigmoid(z) { return 1 / (1 + exp(-z)) }
    function quoted(text) { gsub(/"/, "\"\"", text); return "\"" text "\"" }
    { version[++n_versions] = $0 }
    END {
        state = 11
        n_odd = split("crack<b>|root & \"co\"|joint\047s|none|Pleural_Thickening_and_more_besides", odd, "|")
        n_checkpoints = split("val_ap val_f1", checkpoint, " ")
        header = "Filename"
        for (c = 1; c <= n_classes; c++) header = header "," (c <= n_odd ? quoted(odd[c]) : "class" c)
        labels = folder "/labels.csv"
        print header > labels
        for (i = 0; i < n; i++) {
            name[i] = i % 9 == 7 ? "\"<i>odd</i> & \"\"" i "\"\".png\"" : sprintf("%05d.png", i)
            line = name[i]; shows = draw() < 0.5
            for (c = 1; c <= n_classes; c++) { y[i, c] = shows && c != 4 && draw() < 0.7 / c + 0.05; line = line "," y[i, c] }
            print line > labels
        }
        for (v = 1; v <= n_versions; v++) {
            for (k = 1; k <= n_checkpoints; k++) {
                path = folder "/results/version_" version[v] "/resnet18_" checkpoint[k] "_val_sigmoid.csv"
                print header > path
                for (i = 0; i < n; i++) {
                    line = name[i]
                    for (c = 1; c <= n_classes; c++)
                        line = line sprintf(",%.4f", sigmoid((y[i, c] ? 1.2 + v * 0.4 + c % 3 * 0.5 : -1.5 - k * 0.2) + 1.3 * around()))
                    print line > path
                }
                close(path)
            }
            path = folder "/logs/version_" version[v] "/metrics.csv"
            print "epoch,step,learning_rate,train_loss,val_loss,val_bce,val_ap,val_f1,val_f2" > path
            for (e = 0; e < 12; e++) {
                printf "%d,%d,0.1,%.4f,,,,,\n", e, e * 40 + 20, 0.3 + exp(-e / 3) > path
                printf "%d,%d,0.1,%.4f,%.4f,%.4f,%.4f,%.4f,%.4f\n", e, (e + 1) * 40, 0.3 + exp(-e / 3), 0.4 + exp(-e / 3) + 0.01 * e,
                    0.1 + 0.3 * exp(-e / 3), 0.7 - 0.4 * exp(-e / 3), 0.6 - 0.4 * exp(-e / 3) - 0.004 * e, 0.55 - 0.4 * exp(-e / 3) > path
            }
            close(path)
        }
    }'
}
# figure_ids N_VERSIONS N_CLASSES ABSENT: ids of all figures of the page; ABSENT: number of the class without images, from 0, or none
figure_ids() {
    local v c name
    echo f-labels
    for ((v = 0; v < $1; v++)); do
        for name in metrics class_f1 class_f2 precision_recall scores calibration training_loss training_validation; do echo "f-$name-$v-0"; done
        for ((c = 0; c <= $2; c++)); do
            for name in class_precision_recall class_threshold class_scores class_calibration; do
                case $c:$name in "$3":class_[pt]*) ;; *) echo "f-$name-$v-$c" ;; esac
            done
        done
    done
}
