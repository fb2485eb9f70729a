/* Files of weights that are made to do harm: pickles that call something, lie about sizes, never end or explode; zip files and
 * headers of .safetensors that lie. Each is refused with a line that says why; none costs memory beyond its size. */
#include "anyclass/alloc.h"
#include "anyclass/json.h"
#include "checkpoint/weights_pickle.h"
#include "tests/tap.h"
#include "tests/weights/weights_help.h"

static char folder[AC_PATH_BYTES];

#define P2 "\x80\x02"
#define EMPTY_TENSOR_ARGUMENTS                                                                                                                       \
    "K\0K\2\x85K\1\x85\x89"                                                                                                                          \
    "N"
#define STORAGE(n)                                                                                                                                   \
    "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"                                                                                               \
    "0X\3\0\0\0cpuK" n "tQ"

static const struct {
    const char *name, *bytes;
    size_t n;
    const char *text;
} pickles[] = {
#define ROW(name, bytes, text)                                                                                                                       \
    {                                                                                                                                                \
        name, bytes, sizeof bytes - 1, text                                                                                                          \
    }
    ROW("os.system by GLOBAL and REDUCE", P2 "cos\nsystem\nX\4\0\0\0echo\x85R.", "os.system"),
    ROW("posix.system", P2 "cposix\nsystem\nX\4\0\0\0echo\x85R.", "posix.system"),
    ROW("builtins.eval",
        P2 "cbuiltins\neval\nX\1\0\0\0"
           "1\x85R.",
        "builtins.eval"),
    ROW("__builtin__.exec",
        P2 "c__builtin__\nexec\nX\1\0\0\0"
           "1\x85R.",
        "__builtin__.exec"),
    ROW("builtins.getattr", P2 "cbuiltins\ngetattr\n.", "builtins.getattr"),
    ROW("named and never called", P2 "csubprocess\nPopen\n.", "subprocess.Popen"),
    ROW("by STACK_GLOBAL", "\x80\x04\x8c\2os\x8c\6system\x93\x8c\4echo\x85R.", "os.system"),
    ROW("a name that is not a text", "\x80\x04K\1\x8c\6system\x93.", "no text"),
    ROW("a dotted name", "\x80\x04\x8c\x10torch.nn.modules\x8c\7os.path\x93.", "os.path"),
    ROW("a module that only begins alike", P2 "ctorch.nn.modules_of_mine\nEvil\n.", "Evil"),
    ROW("by NEWOBJ", P2 "csubprocess\nPopen\n)\x81.", "subprocess.Popen"),
    ROW("by NEWOBJ_EX", "\x80\x04\x8c\nsubprocess\x8c\5Popen\x93)}\x92.", "subprocess.Popen"),
    ROW("NEWOBJ of what makes tensors", P2 "ctorch._utils\n_rebuild_tensor_v2\n)\x81.", "refused"),
    ROW("by INST", P2 "(ios\nsystem\n.", "INST"),
    ROW("by OBJ", P2 "(cos\nsystem\no.", "os.system"),
    ROW("by OBJ of a harmless class", P2 "(ccollections\nOrderedDict\no.", "OBJ"),
    ROW("BUILD of a text", P2 "X\1\0\0\0a}b.", "state"),
    ROW("BUILD of a class", P2 "ccollections\nOrderedDict\n}b.", "state"),
    ROW("BUILD of a list, __setstate__",
        P2 "]X\x0c\0\0\0__setstate__K\1\x86"
           "b.",
        "state"),
    ROW("call of a text", P2 "X\6\0\0\0system)R.", "call a value"),
    ROW("call of a storage type", P2 "ctorch\nFloatStorage\n)R.", "torch.FloatStorage"),
    ROW("call of a type", P2 "ctorch\nfloat32\n)R.", "torch.float32"),
    ROW("call of a callback's class", P2 "cpytorch_lightning.callbacks\nModelCheckpoint\n)R.", "pytorch_lightning.callbacks"),
    ROW("arguments that are no tuple", P2 "ccollections\nOrderedDict\n]R.", "tuple"),
    ROW("a dict of a list", P2 "ccollections\nOrderedDict\n]\x85R.", "dict"),
    ROW("EXT1", P2 "\x82\1.", "EXT"),
    ROW("EXT2", P2 "\x83\1\1.", "EXT"),
    ROW("EXT4", P2 "\x84\1\1\1\1.", "EXT"),
    ROW("PERSID", P2 "P1\n.", "protocol older"),
    ROW("protocol 0", P2 "I1\n.", "protocol older"),
    ROW("no protocol", "cos\nsystem\n.", "no protocol"),
    ROW("protocol 6", "\x80\x06N.", "protocol 6"),
    ROW("an out-of-band buffer", "\x80\x05\x97.", "no instruction"),
    ROW("a persistent id that is no tuple", P2 "K\1Q.", "torch does not"),
    ROW("a persistent id of another kind", P2 "(X\6\0\0\0moduleK\1K\1K\1K\1tQ.", "torch does not"),
    ROW("a storage of a class that is none",
        P2 "(X\7\0\0\0storageccollections\nOrderedDict\nX\1\0\0\0"
           "0X\3\0\0\0cpuK\1tQ.",
        "collections.OrderedDict"),
    ROW("a storage of a negative size",
        P2 "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
           "0X\3\0\0\0cpuJ\xff\xff\xff\xfftQ.",
        "-1 elements"),
    ROW("a storage of 2^62 elements",
        P2 "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
           "0X\3\0\0\0cpu\x8a\x08\0\0\0\0\0\0\0\x40tQ.",
        "elements"),
    ROW("a tensor longer than its storage", P2 "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("\2") "K\0K\3\x85K\1\x85\x89NtR.", "passes the end"),
    ROW("a tensor behind its storage", P2 "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("\2") "K\1K\2\x85K\1\x85\x89NtR.", "passes the end"),
    ROW("a stride beyond its storage", P2 "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("\2") "K\0K\2\x85K\2\x85\x89NtR.", "passes the end"),
    ROW("a negative offset", P2 "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("\2") "J\xff\xff\xff\xffK\2\x85K\1\x85\x89NtR.", "passes the end"),
    ROW("a negative stride", P2 "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("\2") "K\0K\2\x85J\xff\xff\xff\xff\x85\x89NtR.", "wrong sizes"),
    ROW("one element many times", P2 "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("\2") "K\0J\xff\xff\xff\x7f\x85K\0\x85\x89NtR.",
        "passes the end"),
    ROW("sizes whose product passes 2^63",
        P2 "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("\2") "K\0\x8a\x08\0\0\0\0\0\0\0\x40\x8a\x08\0\0\0\0\0\0\0\x40\x86K\0K\0\x86\x89NtR.",
        "passes the end"),
    ROW("a stride whose reach passes 2^63",
        P2 "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("\2") "K\0K\2\x85\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85\x89NtR.", "passes the end"),
    ROW("more strides than sizes", P2 "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("\2") "K\0K\2\x85K\1K\1\x86\x89NtR.", "wrong sizes"),
    ROW("nine dimensions",
        P2 "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("\2") "K\0(K\1K\1K\1K\1K\1K\1K\1K\1K\1t(K\1K\1K\1K\1K\1K\1K\1K\1K\1t\x89NtR.",
        "8 dimensions"),
    ROW("a tensor of no storage", P2 "ctorch._utils\n_rebuild_tensor_v2\n(K\1" EMPTY_TENSOR_ARGUMENTS "tR.", "torch does not"),
    ROW("a tensor of too few arguments", P2 "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("\2") "tR.", "torch does not"),
    ROW("a parameter of no tensor", P2 "ctorch._utils\n_rebuild_parameter\n(K\1tR.", "something else"),
    ROW("a subclass whose maker is another", P2 "ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nSize\nctorch\nTensor\n)NtR.", "torch.Size"),
    ROW("an untyped storage without a type",
        P2 "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch.storage\nUntypedStorage\nX\1\0\0\0"
           "0X\3\0\0\0cpuK\x08tQK\0K\2\x85K\1\x85\x89NtR.",
        "torch does not"),
    ROW("a huge LONG", P2 "\x8b\xff\xff\xff\x7f.", "passes its end"),
    ROW("a LONG of a negative length", P2 "\x8b\xff\xff\xff\xff.", "passes its end"),
    ROW("a text of 4 GiB",
        P2 "X\xff\xff\xff\xff"
           "a.",
        "passes its end"),
    ROW("a text of 2^64 bytes",
        "\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
        "a.",
        "passes its end"),
    ROW("a memo of 2^32 values", P2 "Nr\xff\xff\xff\xff.", "memo"),
    ROW("a memo's value that is not there", P2 "h\1.", "memo"),
    ROW("a memo's value that was skipped", P2 "Nq\3h\1.", "memo"),
    ROW("a memo of nothing", P2 "q\0.", "missing"),
    ROW("an empty stack", P2 ".", "missing"),
    ROW("too many values at the end", P2 "NN.", "does not end"),
    ROW("bytes behind its end", P2 "N.N", "does not end"),
    ROW("no end", P2 "N", "cut off"),
    ROW("a mark in the place of a value", P2 "(.", "missing"),
    ROW("a tuple without a mark", P2 "t.", "mark"),
    ROW("a tuple over a mark", P2 "N(N\x86.", "missing"),
    ROW("items of a number", P2 "K\1(NNu.", "no dict"),
    ROW("an odd number of items", P2 "}(Nu.", "no dict"),
    ROW("elements of a dict", P2 "}Na.", "no list"),
    ROW("an unknown instruction", P2 "\xff.", "no instruction"),
    ROW("POP of nothing", P2 "0.", "missing"),
    ROW("nothing", "", "protocol"),
};

static void check_pickles(void)
{
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++) {
        ac_pickle p;
        uint8_t *exact = malloc(pickles[i].n + 1); /* its end is the end of the block */
        memcpy(exact, pickles[i].bytes, pickles[i].n);
        ac_error_clear();
        const ac_status status = ac_pickle_read(exact, pickles[i].n, &p);
        TAP_OK(status == AC_ERR_DATA && strstr(ac_error_text(), pickles[i].text), "%s: %s", pickles[i].name, ac_error_text());
        ac_pickle_release(&p);
        free(exact);
    }
}

/* What such a pickle may do. */
static void check_accepted(void)
{
    static const struct {
        const char *name, *bytes;
        size_t n;
    } good[] = {
#define GOOD(name, bytes) {name, bytes, sizeof bytes - 1}
        GOOD("a tensor", P2 "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("\2") "K\0K\2\x85K\1\x85\x89NtR."),
        GOOD("a tensor without elements", P2 "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("\0") "K\0K\0\x85K\1\x85\x89NtR."),
        GOOD("a number of no bytes", P2 "\x8a\0."),
        GOOD("a frame", "\x80\x04\x95\0\0\0\0\0\0\0\0N."),
        GOOD("a defaultdict", P2 "ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R."),
        GOOD("POP_MARK", P2 "N(NN1."),
        GOOD("DUP", P2 "]2a."),
        GOOD("a set", "\x80\x04\x8f(K\1K\2\x90."),
        GOOD("a frozenset", "\x80\x04(K\1K\2\x91."),
        GOOD("bytes", "\x80\x04"
                      "C\2ab."),
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ac_pickle p;
        TAP_OK(ac_pickle_read((const uint8_t *)good[i].bytes, good[i].n, &p) == AC_OK, "read: %s", good[i].name);
        ac_pickle_release(&p);
    }
}

/* A list in a list in a list, and the same with tuples. */
static void check_depth(void)
{
    static const char *const wrap[] = {"\x85", "]"};
    for (int kind = 0; kind < 2; kind++)
        for (int depth = 60; depth <= 100000; depth = depth == 60 ? 70 : depth == 70 ? 100000 : depth + 1) {
            bytes b = {0};
            ac_pickle p;
            add_bytes(&b, P2, 2);
            for (int i = 0; i < depth && kind == 1; i++)
                add_bytes(&b, wrap[1], 1);
            add_bytes(&b, "N", 1);
            for (int i = 0; i < depth; i++)
                add_bytes(&b, kind ? "a" : wrap[0], 1);
            add_bytes(&b, ".", 1);
            const ac_status status = ac_pickle_read(b.at, b.n, &p);
            TAP_OK(depth == 60 ? status == AC_OK : status == AC_ERR_DATA && strstr(ac_error_text(), "deep"), "%d %s in each other", depth,
                   kind ? "lists" : "tuples");
            ac_pickle_release(&p);
            free(b.at);
            if (depth == 100000)
                break;
        }
}

/* Ten lists, each of ten times the one before: 10^10 values when walked. And lists that hold themselves. */
static void check_bombs(void)
{
    static const char again[] = P2 "]q\0h\0a.", each_other[] = P2 "]q\0]q\1h\0aa.";
    bytes b = {0};
    ac_pickle p;
    ac_json *json;
    const char *text;
    size_t n = 0;
    add_bytes(&b,
              P2 "Nq\0"
                 "0",
              6);
    for (int level = 0; level < 30; level++) {
        const uint8_t get[] = {'h', (uint8_t)level}, put[] = {'e', 'q', (uint8_t)(level + 1), '0'};
        add_bytes(&b, "](", 2);
        for (int i = 0; i < 10; i++)
            add_bytes(&b, get, 2);
        add_bytes(&b, put, 4);
    }
    add_bytes(&b, "h\x1e.", 3);
    TAP_CALL(ac_pickle_read(b.at, b.n, &p));
    TAP_OK(p.n_values < 100 && p.n_cells == 300, "lists of lists are read once");
    TAP_CALL(ac_json_create(&json));
    TAP_OK(ac_pickle_print(&p, &p.value[p.top], NULL, json) == AC_OK && ac_json_text(json, &text, &n) == AC_OK && n < 1 << 20,
           "and printed with an end");
    ac_json_destroy(json);
    ac_pickle_release(&p);
    free(b.at);
    const char *const cycles[] = {again, each_other};
    const size_t n_cycle[] = {sizeof again - 1, sizeof each_other - 1};
    for (int i = 0; i < 2; i++) {
        TAP_CALL(ac_json_create(&json));
        const ac_status status = ac_pickle_read((const uint8_t *)cycles[i], n_cycle[i], &p);
        TAP_OK(status == AC_OK && ac_pickle_print(&p, &p.value[p.top], NULL, json) == AC_OK && ac_json_text(json, &text, &n) == AC_OK && n < 1 << 20,
               "a list that holds itself, %d", i);
        ac_json_destroy(json);
        ac_pickle_release(&p);
    }
}

/* Memory of the cheapest instructions, per byte. */
static void check_memory(void)
{
    static const char *const cheap[] = {"N", "]", "]2a", "K\1", ")\x85", "Nq\xff", "(", "N\x94", "}NNs"};
    for (size_t i = 0; i < sizeof cheap / sizeof *cheap; i++) {
        bytes b = {0};
        ac_pickle p;
        add_bytes(&b, P2, 2);
        while (b.n < 1 << 20)
            add_bytes(&b, cheap[i], strlen(cheap[i]));
        add_bytes(&b, ".", 1);
        const uint64_t before = ac_alloc_get_stats().live_bytes;
        const ac_status status = ac_pickle_read(b.at, b.n, &p);
        const double factor = (double)(ac_alloc_get_stats().live_bytes - before) / (double)b.n;
        TAP_OK(status != AC_OK && factor < 80, "1 MiB of instruction %zu: %.1f bytes each", i, factor);
        ac_pickle_release(&p);
        free(b.at);
    }
}

/* ---- archives ---- */

#define GOOD_PICKLE P2 "}X\1\0\0\0actorch._utils\n_rebuild_tensor_v2\n(" STORAGE("\2") "K\0K\2\x85K\1\x85\x89NtRs."

static ac_status open_bytes(const void *content, size_t n, ac_weights **w)
{
    char path[AC_PATH_BYTES];
    if (ac_path_join(path, folder, "file") != AC_OK)
        abort();
    write_all(path, content, n);
    ac_error_clear();
    return ac_weights_open(path, w);
}

/* A '?' in an entry's name is a zero in the file. */
static void check_zip(const char *name, const zip_part *part, size_t n_parts, const char *text)
{
    bytes zip;
    ac_weights *w;
    make_zip(part, n_parts, &zip);
    for (size_t i = 0; i + 2 < zip.n; i++)
        zip.at[i] = memcmp(zip.at + i, "?/d", 3) == 0 ? 0 : zip.at[i];
    const ac_status status = open_bytes(zip.at, zip.n, &w);
    TAP_OK(text ? status == AC_ERR_DATA && strstr(ac_error_text(), text) : status == AC_OK, "archive: %s: %s", name, ac_error_text());
    ac_weights_close(w);
    free(zip.at);
}

static void check_archives(void)
{
    const float two[2] = {1, 2};
    const zip_part pickle = {"a/data.pkl", GOOD_PICKLE, sizeof GOOD_PICKLE - 1}, data = {"a/data/0", two, sizeof two};
    const zip_part big = {"a/byteorder", "big", 3}, little = {"a/byteorder", "little", 6}, program = {"a/constants.pkl", "", 0};
    const zip_part evil = {"a/data.pkl", pickles[0].bytes, pickles[0].n}, text = {"a/data.pkl", P2 "X\1\0\0\0a.", 9};
    check_zip("good", (zip_part[]){pickle, data}, 2, NULL);
    check_zip("good, with a byte order", (zip_part[]){pickle, data, little}, 3, NULL);
    check_zip("big-endian", (zip_part[]){pickle, data, big}, 3, "little-endian");
    check_zip("TorchScript", (zip_part[]){pickle, data, program}, 3, "TorchScript");
    check_zip("no storage", (zip_part[]){pickle}, 1, "storage 0 is missing");
    check_zip("a storage that is too short", (zip_part[]){pickle, {"a/data/0", two, 4}}, 2, "4 bytes for 2 elements");
    check_zip("a storage that is too long", (zip_part[]){pickle, {"a/data/0", pickles, 12}}, 2, "12 bytes for 2 elements");
    check_zip("a storage elsewhere", (zip_part[]){pickle, {"b/data/0", two, sizeof two}}, 2, "storage 0 is missing");
    check_zip("an entry twice", (zip_part[]){pickle, data, data}, 3, "two entries");
    check_zip("two pickles", (zip_part[]){pickle, data, {"b/data.pkl", GOOD_PICKLE, sizeof GOOD_PICKLE - 1}}, 3, "more than one");
    check_zip("a folder with a zero in its name", (zip_part[]){{"a?/data.pkl", GOOD_PICKLE, sizeof GOOD_PICKLE - 1}, data}, 2, "cannot be used");
    check_zip("no pickle", (zip_part[]){data}, 1, "no data.pkl");
    check_zip("nothing", NULL, 0, "no file of weights");
    check_zip("a pickle that calls", (zip_part[]){evil, data}, 2, "os.system");
    check_zip("no dict", (zip_part[]){text, data}, 2, "no dict");
}

/* The same two entries as a file of more than 4 GiB would have them: sizes and places in 64 bits, in extra fields and a second end. */
static void make_zip64(bytes *out, size_t n_extra, uint64_t end_shift)
{
    const float two[2] = {1, 2};
    const zip_part part[] = {{"a/data.pkl", GOOD_PICKLE, sizeof GOOD_PICKLE - 1}, {"a/data/0", two, sizeof two}};
    bytes directory = {0};
    *out = (bytes){0};
    for (size_t k = 0; k < 2; k++) {
        const size_t at = out->n, n_name = strlen(part[k].name);
        add_number(out, 0x04034b50, 4);
        add_number(out, 0, 14);
        add_number(out, UINT64_MAX, 8);
        add_number(out, n_name, 2);
        add_number(out, 0, 2);
        add_bytes(out, part[k].name, n_name);
        add_bytes(out, part[k].bytes, part[k].n);
        add_number(&directory, 0x02014b50, 4);
        add_number(&directory, 0, 16);
        add_number(&directory, UINT64_MAX, 8);
        add_number(&directory, n_name, 2);
        add_number(&directory, 6 + 4 + n_extra, 2);
        add_number(&directory, 0, 10);
        add_number(&directory, UINT32_MAX, 4);
        add_bytes(&directory, part[k].name, n_name);
        add_number(&directory, 0x4246, 2); /* another block in front */
        add_number(&directory, 2, 2);
        add_number(&directory, 0, 2);
        add_number(&directory, 1, 2);
        add_number(&directory, n_extra, 2);
        add_number(&directory, part[k].n, 8);
        add_number(&directory, part[k].n, 8);
        if (n_extra == 24)
            add_number(&directory, at, 8);
    }
    const size_t at = out->n;
    add_bytes(out, directory.at, directory.n);
    const size_t end_at = out->n;
    add_number(out, 0x06064b50, 4);
    add_number(out, 44, 8);
    add_number(out, 0, 12);
    add_number(out, 2, 8);
    add_number(out, 2, 8);
    add_number(out, directory.n, 8);
    add_number(out, at, 8);
    add_number(out, 0x07064b50, 4);
    add_number(out, 0, 4);
    add_number(out, end_at + end_shift, 8);
    add_number(out, 1, 4);
    add_number(out, 0x06054b50, 4);
    add_number(out, 0, 4);
    add_number(out, UINT64_MAX, 8);
    add_number(out, UINT32_MAX, 4);
    add_number(out, 0, 2);
    free(directory.at);
}

static void check_zip64(void)
{
    static const struct {
        const char *name;
        size_t n_extra;
        uint64_t end_shift;
        const char *text;
    } cases[] = {{"good", 24, 0, NULL},
                 {"an extra field that is too short", 16, 0, "is damaged"},
                 {"an end elsewhere", 24, 1, "directory"},
                 {"an end beyond the file", 24, (uint64_t)1 << 62, "outside"},
                 {"an end that wraps around", 24, UINT64_MAX - 20, "directory"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes zip;
        ac_weights *w;
        float out[2] = {0};
        make_zip64(&zip, cases[i].n_extra, cases[i].end_shift);
        const ac_status status = open_bytes(zip.at, zip.n, &w);
        TAP_OK(cases[i].text ? status == AC_ERR_DATA && strstr(ac_error_text(), cases[i].text)
                             : status == AC_OK && ac_weights_read(w, 0, out) == AC_OK && out[1] == 2,
               "zip of 64 bits: %s: %s", cases[i].name, ac_error_text());
        ac_weights_close(w);
        free(zip.at);
    }
}

/* Every field of the zip file set to 0xff, byte by byte and four at a time: never more than a refusal. */
static void check_edited_zip(void)
{
    const float two[2] = {1, 2};
    const zip_part part[] = {{"a/data.pkl", GOOD_PICKLE, sizeof GOOD_PICKLE - 1}, {"a/data/0", two, sizeof two}};
    bytes zip;
    int n_refused = 0, n_wrong = 0;
    float out[2];
    make_zip(part, 2, &zip);
    uint8_t *edited = malloc(zip.n);
    for (size_t width = 1; width <= 4; width += 3)
        for (size_t at = 0; at + width <= zip.n; at++) {
            ac_weights *w;
            memcpy(edited, zip.at, zip.n);
            memset(edited + at, 0xff, width);
            const ac_status status = open_bytes(edited, zip.n, &w);
            n_refused += status == AC_ERR_DATA;
            const ac_status read = status == AC_OK ? ac_weights_read(w, 0, out) : AC_OK; /* the checksum is compared only here */
            n_wrong += (status != AC_ERR_DATA && status != AC_OK) || (read != AC_OK && read != AC_ERR_DATA);
            ac_weights_close(w);
        }
    TAP_OK(n_wrong == 0 && n_refused > 200, "archives with bytes of 0xff: %d refused, %d neither refused nor good", n_refused, n_wrong);
    free(edited);
    free(zip.at);
}

/* ---- .safetensors ---- */

static const struct {
    const char *name, *header;
    size_t n_data;
    const char *text;
} headers[] = {
    {"good", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, NULL},
    {"good, with spaces behind", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}   ", 8, NULL},
    {"good, an empty tensor",
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}", 8, NULL},
    {"too few bytes", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, "not in the file"},
    {"too many bytes", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9, "belong to no tensor"},
    {"a gap", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, "gap"},
    {"an overlap", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
     12, "overlap"},
    {"the same bytes",
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "overlap"},
    {"offsets backwards", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "not in the file"},
    {"negative offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, "not in the file"},
    {"a size that is not the shape's", "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "need 12"},
    {"a shape whose product passes 2^64", "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,2],\"data_offsets\":[0,8]}}", 8, "dimension"},
    {"a negative shape", "{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "dimension"},
    {"nine dimensions", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", 8, "too long"},
    {"a shape that is an object", "{\"a\":{\"dtype\":\"F32\",\"shape\":{\"x\":2},\"data_offsets\":[0,8]}}", 8, "shape"},
    {"a type that is not known", "{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[8],\"data_offsets\":[0,8]}}", 8, "F8_E4M3"},
    {"no type", "{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "dtype"},
    {"no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "shape"},
    {"no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "data_offsets"},
    {"a tensor twice",
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8,
     "two of its tensors"},
    {"no tensor", "{}", 0, "no tensor"},
    {"only metadata", "{\"__metadata__\":{\"a\":\"b\"}}", 0, "no tensor"},
    {"metadata of numbers", "{\"__metadata__\":{\"a\":1},\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "__metadata__"},
    {"no JSON", "{\"a\":", 8, "header"},
    {"deep JSON", "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 8, "header"},
};

static void check_headers(void)
{
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        bytes b = {0};
        ac_weights *w;
        add_number(&b, strlen(headers[i].header), 8);
        add_bytes(&b, headers[i].header, strlen(headers[i].header));
        for (size_t k = 0; k < headers[i].n_data; k++)
            add_number(&b, 0, 1);
        const ac_status status = open_bytes(b.at, b.n, &w);
        TAP_OK(headers[i].text ? status == AC_ERR_DATA && strstr(ac_error_text(), headers[i].text) : status == AC_OK, ".safetensors: %s: %s",
               headers[i].name, ac_error_text());
        ac_weights_close(w);
        for (int k = 0; k < 2 && i == 0; k++) { /* lengths that lie */
            const uint64_t length[] = {UINT64_MAX, 100};
            memset(b.at, 0, 8);
            for (int byte = 0; byte < 8; byte++)
                b.at[byte] = (uint8_t)(length[k] >> 8 * byte);
            TAP_OK(open_bytes(b.at, b.n, &w) == AC_ERR_DATA, ".safetensors: a length that lies: %s", ac_error_text());
            ac_weights_close(w);
        }
        free(b.at);
    }
}

int main(void)
{
    if (!tap_folder(folder))
        return tap_done();
    check_pickles();
    check_accepted();
    check_depth();
    check_bombs();
    check_memory();
    check_archives();
    check_zip64();
    check_edited_zip();
    check_headers();
    TAP_OK(ac_alloc_get_stats().n_live == 0, "all memory is released");
    tap_remove(folder);
    return tap_done();
}
