/* Time of a step on paper: what the kernels of the CUDA backend move and compute (paper/traffic.c) for a plan that is made but never run, against the rates of a
 * GPU that need not be there. Beside a file with measured times of operators (bench/results) it shows where kernels lose.
 * usage: estimate [MODEL [BATCH [train|infer [32|tf32|bf16|f16 [h100|h200 [IMAGE_SIZE [MEASURED]]]]]]]
 * Needs a build with CUDA, CUDA=emulated is enough: the plan, and so the memory, is that backend's. */
#include "anyclass/alloc.h"
#include "anyclass/model.h"
#include "anyclass/optimizer.h"
#include "bench/paper/traffic.h"
#include "bench/label.h"
#include <stdlib.h>
#include <string.h>

enum { M = 17, MOST_LINES = 128, LABEL_BYTES = 224 };

typedef enum precision { P_32, P_TF32, P_BF16, P_F16, N_PRECISIONS } precision;

static const struct {
    const char *name;
    ac_dtype activations;
} precisions[N_PRECISIONS] = {{"32", AC_F32}, {"tf32", AC_F32}, {"bf16", AC_BF16}, {"f16", AC_F16}};

/* Rates that were reached on such a card: a large bf16 product on random numbers, a copy from device memory to device memory; those of float and tf32 are the data
 * sheet's, less what bf16 lacks to its own. launch_s, the time between two kernels of a recorded step with their beginning and end, is an assumption. */
typedef struct gpu {
    const char *name;
    double tensor[N_PRECISIONS], vector, bandwidth, launch_s;
    double peak[N_PRECISIONS]; /* data sheet, for MFU */
} gpu;

static const gpu gpus[] = {
    {"h100", {54e12, 400e12, 798e12, 798e12}, 54e12, 3.0e12, 2e-6, {67e12, 495e12, 989e12, 989e12}},
    {"h200", {54e12, 400e12, 788e12, 788e12}, 54e12, 4.3e12, 2e-6, {67e12, 495e12, 989e12, 989e12}},
};

/* Images per second to be reached, and what PyTorch did in the fastest mode that was measured on an H100 (bf16, batch 256, maxvit_s 128). 0: not known. */
static const struct mark {
    const char *model;
    double ratio, h200;                    /* to PyTorch; img/s */
    double torch_train, torch_infer;       /* img/s, H100 */
    const char *mode;
    double torch_mib;                      /* peak of training, at that batch */
    int torch_batch;
} marks[] = {
    {"resnet50", 0, 0, 3961.9, 12497.1, "channels_last", 11220, 256},
    {"tresnet_l", 1.5, 5100, 1915.5, 6251.2, "channels_last", 14252, 256},
    {"vit_b_16", 1.15, 3750, 3163.5, 9400.2, "compile", 17905, 256},
    {"maxvit_s", 1.5, 2600, 660.8, 2074.1, "channels_last", 32190, 128},
};

typedef struct line { /* nodes that look alike, or all of an operator: both passes */
    char label[LABEL_BYTES];
    int n_nodes, n_launches[2];
    double flops[2], bytes[2], seconds[2], measured[2]; /* measured < 0: not */
} line;

typedef struct table {
    line line[MOST_LINES];
    int n;
} table;

typedef struct estimate {
    const char *model;
    int batch, side;
    bool training;
    precision precision;
    const gpu *gpu;
    ac_network net;
    ac_device *device;
    ac_params *params;
    ac_plan *plan;
    table shapes, operators;
} estimate;

static line *line_for(table *t, const char *label)
{
    for (int i = 0; i < t->n; i++)
        if (strcmp(t->line[i].label, label) == 0)
            return &t->line[i];
    line *l = &t->line[t->n < MOST_LINES ? t->n++ : MOST_LINES - 1];
    snprintf(l->label, sizeof l->label, "%s", label);
    l->measured[0] = l->measured[1] = -1;
    return l;
}

static double seconds_of(const estimate *e, const traffic_launch *k)
{
    double rate = k->unit == TRAFFIC_TENSOR ? e->gpu->tensor[e->precision] : e->gpu->vector;
    double arithmetic = k->flops / rate, memory = k->bytes / e->gpu->bandwidth;
    return (arithmetic > memory ? arithmetic : memory) + k->n_launches * e->gpu->launch_s;
}

static void count(const estimate *e, line *l, int pass, const traffic *t)
{
    for (int k = 0; k < t->n; k++) {
        l->flops[pass] += t->launch[k].flops;
        l->bytes[pass] += t->launch[k].bytes;
        l->n_launches[pass] += t->launch[k].n_launches;
        l->seconds[pass] += seconds_of(e, &t->launch[k]);
    }
}

static void count_nodes(estimate *e)
{
    const ac_graph *g = e->net.graph;
    char label[LABEL_BYTES];
    traffic t;
    for (int i = 0; i < (int)g->n_nodes; i++) {
        if (!e->plan->node[i].kernel)
            continue;
        label_node(g, &g->node[i], label, sizeof label);
        line *lines[2] = {line_for(&e->shapes, label), line_for(&e->operators, g->node[i].op->name)};
        for (int k = 0; k < 2; k++) {
            lines[k]->n_nodes++;
            for (int pass = 0; pass <= (e->training ? 1 : 0); pass++) {
                traffic_of_node(e->plan, i, (traffic_pass)pass, &t);
                count(e, lines[k], pass, &t);
            }
        }
    }
}

/* Milliseconds behind the pass's name. */
static double read_ms(const char *text, const char *pass)
{
    const char *at = strstr(text, pass);
    return at ? atof(at + strlen(pass)) * 1e-3 : -1;
}

/* Lines of bench/ops behind "--- MODEL": "12 x LABEL  forward N ms .. backward N ms", and "  OPERATOR  forward .." */
static ac_status read_measured(estimate *e, const char *path)
{
    FILE *file = fopen(path, "r");
    char text[1024], wanted[64];
    bool mine = false;
    if (!file)
        return ac_error(AC_ERR_IO, "%s cannot be read", path);
    snprintf(wanted, sizeof wanted, "--- %s\n", e->model);
    while (fgets(text, sizeof text, file)) {
        if (strncmp(text, "--- ", 4) == 0 || strncmp(text, "== ", 3) == 0)
            mine = strcmp(text, wanted) == 0;
        char *forward = mine ? strstr(text, "forward ") : NULL, *label = text + strspn(text, " 0123456789");
        if (!forward || strncmp(text, "sum", 3) == 0)
            continue;
        if (strncmp(label, "x ", 2) == 0)
            label += 2;
        double ms[2] = {read_ms(text, "forward "), read_ms(text, "backward ")};
        for (char *end = forward; end > label && end[-1] == ' ';)
            *--end = '\0';
        table *tables[2] = {&e->shapes, &e->operators};
        for (int k = 0; k < 2; k++)
            for (int i = 0; i < tables[k]->n; i++)
                if (strcmp(tables[k]->line[i].label, label) == 0)
                    memcpy(tables[k]->line[i].measured, ms, sizeof ms);
    }
    fclose(file);
    return AC_OK;
}

static void print_pass(const line *l, int pass, double total)
{
    printf(" %8.1f %7.2f %5d %7.2f %4.0f%%", l->flops[pass] * 1e-9, l->bytes[pass] * 1e-9, l->n_launches[pass], 1e3 * l->seconds[pass],
           total > 0 ? 100 * l->seconds[pass] / total : 0);
    if (l->measured[pass] >= 0)
        printf(" %7.2f %5.1f", 1e3 * l->measured[pass], l->seconds[pass] > 0 ? l->measured[pass] / l->seconds[pass] : 0);
    else
        printf(" %7s %5s", "", "");
}

static double loss_of(const line *l) /* measured seconds beyond the estimate */
{
    double sum = 0;
    for (int pass = 0; pass < 2; pass++)
        sum += l->measured[pass] >= 0 ? l->measured[pass] - l->seconds[pass] : 0;
    return sum;
}

static int by_loss(const void *a, const void *b)
{
    double x = loss_of(a), y = loss_of(b);
    return x != y ? (x < y ? 1 : -1) : strcmp(((const line *)a)->label, ((const line *)b)->label);
}

/* Lines that lose less than `least` seconds are left out. */
static void print_table(const estimate *e, const table *t, const char *title, double total, double least)
{
    int n_left_out = 0;
    static const char *const head = "   GFLOP      GB  runs      ms share     was ratio";
    printf("%-75s|%s |%s | lost ms\n", title, head, e->training ? head : "");
    for (int i = 0; i < t->n; i++) {
        const line *l = &t->line[i];
        if (loss_of(l) < least) {
            n_left_out++;
            continue;
        }
        printf("%3d x %-69s|", l->n_nodes, l->label);
        print_pass(l, 0, total);
        printf(" |");
        if (e->training)
            print_pass(l, 1, total);
        printf(" |");
        if (l->measured[0] >= 0)
            printf(" %7.2f", 1e3 * loss_of(l));
        printf("\n");
    }
    if (n_left_out)
        printf("%d lines that lose less than %.1f ms\n", n_left_out, 1e3 * least);
}

static void print_marks(const estimate *e, double total, size_t bytes)
{
    double rate = e->batch / total;
    for (size_t k = 0; k < sizeof marks / sizeof *marks; k++) {
        const struct mark *m = &marks[k];
        double torch = e->training ? m->torch_train : m->torch_infer, wanted = e->training ? m->ratio : 1.2;
        if (strcmp(m->model, e->model) != 0 || (e->precision != P_BF16 && e->precision != P_F16))
            continue;
        if (strcmp(e->gpu->name, "h100") == 0 && wanted > 0)
            printf("mark: %.0f img/s of PyTorch (%s, H100, measured) x %.2f = %.0f: the bound is %.2f times that\n", torch, m->mode, wanted, torch * wanted,
                   rate / (torch * wanted));
        else if (e->training && m->h200 > 0)
            printf("mark: %.0f img/s: the bound is %.2f times that\n", m->h200, rate / m->h200);
        if (e->training && e->batch == m->torch_batch)
            printf("mark: memory %.2f of PyTorch's %.0f MiB (to be 0.7 at most)\n", (double)bytes / (1 << 20) / m->torch_mib, m->torch_mib);
    }
}

static void print_all(estimate *e, bool compared)
{
    traffic t;
    line update = {.label = "parameters in two bytes | optimiser (AdamW)", .n_nodes = 1, .measured = {-1, -1}};
    int n_launches = 0;
    double total = 0, bytes = 0, flops = 0, sums[2] = {0, 0};
    ac_plan_memory memory = ac_plan_get_memory(e->plan);
    size_t held = memory.arena_bytes + memory.param_bytes + (e->training ? 2 * e->params->n_values * sizeof(float) : 0);
    if (e->training) {
        traffic_of_update(e->params, 2, &t);
        count(e, &update, 1, &t);
        traffic_of_mirror(e->params, &t);
        count(e, &update, 0, &t);
        e->operators.line[e->operators.n++] = update;
    }
    for (int i = 0; i < e->operators.n; i++)
        for (int pass = 0; pass < 2; pass++) {
            const line *l = &e->operators.line[i];
            sums[pass] += l->seconds[pass];
            total += l->seconds[pass];
            bytes += l->bytes[pass];
            flops += l->flops[pass];
            n_launches += l->n_launches[pass];
        }
    printf("=== %s, %s, batch %d, %d px, %s, on paper for one %s: %.0f TFLOP/s, %.1f TB/s, %.0f us a launch\n", e->model, e->training ? "training" : "inference", e->batch,
           e->side, precisions[e->precision].name, e->gpu->name, e->gpu->tensor[e->precision] * 1e-12, e->gpu->bandwidth * 1e-12, e->gpu->launch_s * 1e6);
    qsort(e->shapes.line, (size_t)e->shapes.n, sizeof *e->shapes.line, by_loss);
    if (compared)
        print_table(e, &e->shapes, "by shape, the largest loss first: forward | backward", total, 0.2e-3);
    print_table(e, &e->operators, "by operator: forward | backward", total, -1);
    double model_flops = ac_graph_flops(e->net.graph) * (e->training ? 3 : 1);
    printf("bound: %.2f ms (forward %.2f, backward and update %.2f), %.0f img/s; %.0f GFLOP, %.2f GB, %d launches of which %.2f ms; MFU %.0f%%\n", 1e3 * total, 1e3 * sums[0],
           1e3 * sums[1], e->batch / total, flops * 1e-9, bytes * 1e-9, n_launches, 1e3 * n_launches * e->gpu->launch_s,
           100 * model_flops / total / e->gpu->peak[e->precision]);
    printf("memory: arena %zu MiB (workspace %zu), parameters%s %zu MiB\n", memory.arena_bytes >> 20, memory.workspace_bytes >> 20,
           e->training ? ", gradients and moments" : "", (held - memory.arena_bytes) >> 20);
    print_marks(e, total, held);
    printf("\n");
}

static void release(estimate *e)
{
    ac_plan_destroy(e->plan);
    ac_params_destroy(e->params);
    if (e->device)
        e->device->backend->close(e->device);
    ac_network_release(&e->net);
}

static ac_status make_plan(estimate *e)
{
    ac_status status = AC_OK;
    const ac_backend *backend = ac_backend_find("cuda");
    ac_network_options o = {.model = ac_model_find(e->model), .batch = e->batch, .image_size_px = e->side, .n_classes = M, .mean = {.47f, .447f, .408f},
                            .std = {.233f, .228f, .231f}, .training = e->training, .flip = true, .seed = 1, .loss = {AC_LOSS_BCE, 2, 1, .1},
                            .activation_dtype = precisions[e->precision].activations};
    if (!backend)
        return ac_error(AC_ERR_UNSUPPORTED, "this build has no backend cuda: make CUDA=emulated benches");
    if (!o.model)
        return ac_error(AC_ERR_USAGE, "models %s", ac_model_names());
    AC_TRY(ac_network_build(&o, &e->net));
    AC_TRY(backend->open(0, &e->device));
    AC_TRY(backend->check_precision(e->device, o.activation_dtype));
    AC_TRY(ac_params_create(e->device, e->net.graph, e->training, &e->params));
    AC_TRY(ac_plan_create(e->net.graph, e->params, e->training, &e->plan));
out:
    return status;
}

int main(int argc, char **argv)
{
    static estimate e; /* tables are too large for a stack */
    ac_status status = AC_OK;
    const char *name = argc > 4 ? argv[4] : "bf16", *gpu_name = argc > 5 ? argv[5] : "h100";
    e.model = argc > 1 ? argv[1] : "resnet50";
    e.batch = argc > 2 ? atoi(argv[2]) : 256;
    e.training = !(argc > 3 && strcmp(argv[3], "infer") == 0);
    e.side = argc > 6 ? atoi(argv[6]) : 224;
    e.precision = N_PRECISIONS;
    for (int p = 0; p < N_PRECISIONS; p++)
        if (strcmp(precisions[p].name, name) == 0)
            e.precision = (precision)p;
    for (size_t k = 0; k < sizeof gpus / sizeof *gpus; k++)
        if (strcmp(gpus[k].name, gpu_name) == 0)
            e.gpu = &gpus[k];
    if (e.precision == N_PRECISIONS || !e.gpu || e.batch < 1)
        status = ac_error(AC_ERR_USAGE, "estimate [MODEL [BATCH [train|infer [32|tf32|bf16|f16 [h100|h200 [IMAGE_SIZE [MEASURED]]]]]]]");
    if (status == AC_OK)
        status = make_plan(&e);
    if (status == AC_OK) {
        count_nodes(&e);
        status = argc > 7 ? read_measured(&e, argv[7]) : AC_OK;
    }
    if (status == AC_OK)
        print_all(&e, argc > 7);
    else
        fprintf(stderr, "estimate: %s\n", ac_error_text());
    release(&e);
    return ac_status_exit_code(status);
}
