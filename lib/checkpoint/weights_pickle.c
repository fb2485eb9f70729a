/* A pickle machine that can build tensors, dicts, lists, tuples, numbers, texts, None and booleans, and calls nothing: what
 * Python would call is looked up in a list (weights_globals.c) and stands for one of these values, or for one that is
 * parsed and dropped; anything else refuses the file. It has no recursion, and needs memory in proportion to the pickle. */
#include "checkpoint/weights_pickle.h"
#include "anyclass/alloc.h"
#include "checkpoint/weights_pickle_tensor.h"
#include <inttypes.h>
#include <string.h>

enum { SHARED_NONE, SHARED_FALSE, SHARED_TRUE, SHARED_TUPLE, N_SHARED, MARK = AC_PICKLE_END };

typedef struct machine {
    ac_pickle *p;
    size_t at; /* next byte */
    uint32_t *stack, *memo;
    size_t n_stack, stack_capacity, n_memo, memo_capacity;
    bool stopped;
} machine;

static ac_status damaged(const machine *m, const char *what)
{
    return ac_error(AC_ERR_DATA, "its pickle is damaged at byte %zu: %s", m->at, what);
}

static ac_pickle_value *value_of(const machine *m, uint32_t v)
{
    return &m->p->value[v];
}

static ac_status push(machine *m, uint32_t v)
{
    ac_status status = ac_reserve(&m->stack, &m->stack_capacity, m->n_stack + 1, sizeof *m->stack);
    if (status == AC_OK)
        m->stack[m->n_stack++] = v;
    return status;
}

static ac_status push_value(machine *m, ac_pickle_value value)
{
    ac_status status = AC_OK;
    AC_TRY(ac_pickle_add_value(m->p, value));
    AC_TRY(push(m, (uint32_t)m->p->n_values - 1));
out:
    return status;
}

/* The top of the stack, which must be no mark. */
static ac_status pop(machine *m, uint32_t *v)
{
    if (m->n_stack == 0 || m->stack[m->n_stack - 1] == MARK)
        return damaged(m, "a value is missing");
    *v = m->stack[--m->n_stack];
    return AC_OK;
}

static ac_status peek(const machine *m, uint32_t *v)
{
    if (m->n_stack == 0 || m->stack[m->n_stack - 1] == MARK)
        return damaged(m, "a value is missing");
    *v = m->stack[m->n_stack - 1];
    return AC_OK;
}

/* Everything above the last mark is taken off, the mark too, and stays readable at stack + *first. */
static ac_status pop_to_mark(machine *m, size_t *first, size_t *n)
{
    size_t at = m->n_stack;
    while (at > 0 && m->stack[at - 1] != MARK)
        at--;
    if (at == 0)
        return damaged(m, "a mark is missing");
    *first = at;
    *n = m->n_stack - at;
    m->n_stack = at - 1;
    return AC_OK;
}

/* n_bytes of an argument, little endian. */
static ac_status read_number(machine *m, int n_bytes, uint64_t *out)
{
    *out = 0;
    if (m->p->n_bytes - m->at < (size_t)n_bytes)
        return damaged(m, "it ends amid an instruction");
    for (int i = 0; i < n_bytes; i++)
        *out |= (uint64_t)m->p->bytes[m->at++] << 8 * i;
    return AC_OK;
}

/* A length of n_bytes, then so many bytes. */
static ac_status read_block(machine *m, int n_bytes, uint32_t *at, uint32_t *n)
{
    ac_status status = AC_OK;
    uint64_t length;
    AC_TRY(read_number(m, n_bytes, &length));
    if (length > m->p->n_bytes - m->at)
        return damaged(m, "a text or number passes its end");
    *at = (uint32_t)m->at;
    *n = (uint32_t)length;
    m->at += (size_t)length;
out:
    return status;
}

/* ---- plain values ---- */

static ac_status push_integer(machine *m, int n_bytes, bool is_signed)
{
    ac_status status = AC_OK;
    uint64_t bits;
    AC_TRY(read_number(m, n_bytes, &bits));
    const int64_t value = is_signed ? (int32_t)(uint32_t)bits : (int64_t)bits;
    AC_TRY(push_value(m, (ac_pickle_value){.kind = AC_PICKLE_INT, .is.integer = value}));
out:
    return status;
}

/* Two's complement of any length; more than 64 bits are read and dropped. */
static ac_status push_long(machine *m, int n_bytes)
{
    ac_status status = AC_OK;
    uint32_t at = 0, n = 0;
    AC_TRY(read_block(m, n_bytes, &at, &n));
    if (n > 8)
        return push_value(m, (ac_pickle_value){.kind = AC_PICKLE_OPAQUE});
    uint64_t bits = n && m->p->bytes[at + n - 1] & 0x80 ? UINT64_MAX : 0;
    for (uint32_t i = n; i-- > 0;)
        bits = bits << 8 | m->p->bytes[at + i];
    AC_TRY(push_value(m, (ac_pickle_value){.kind = AC_PICKLE_INT, .is.integer = (int64_t)bits}));
out:
    return status;
}

static ac_status push_float(machine *m)
{
    ac_status status = AC_OK;
    uint64_t little, big = 0;
    double number;
    AC_TRY(read_number(m, 8, &little));
    for (int i = 0; i < 8; i++)
        big = big << 8 | (little >> 8 * i & 255);
    memcpy(&number, &big, sizeof number);
    AC_TRY(push_value(m, (ac_pickle_value){.kind = AC_PICKLE_FLOAT, .is.number = number}));
out:
    return status;
}

static ac_status push_text(machine *m, int n_bytes)
{
    ac_status status = AC_OK;
    uint32_t at = 0, n = 0;
    AC_TRY(read_block(m, n_bytes, &at, &n));
    AC_TRY(push_value(m, (ac_pickle_value){.kind = AC_PICKLE_TEXT, .is.text = {at, n}}));
out:
    return status;
}

/* Bytes are nothing that is asked for. */
static ac_status push_bytes(machine *m, int n_bytes)
{
    ac_status status = AC_OK;
    uint32_t at = 0, n = 0;
    AC_TRY(read_block(m, n_bytes, &at, &n));
    AC_TRY(push_value(m, (ac_pickle_value){.kind = AC_PICKLE_OPAQUE}));
out:
    return status;
}

/* ---- containers ---- */

static ac_status push_container(machine *m, ac_pickle_kind kind)
{
    return push_value(m, (ac_pickle_value){.kind = (uint8_t)kind, .is.items = {AC_PICKLE_END, AC_PICKLE_END, 0}});
}

/* Append to a container. What is inside was complete before in every pickle that Python writes, so depths are right; those that
 * lie are caught where values are walked. */
static ac_status add_item(machine *m, uint32_t container, uint32_t key, uint32_t v)
{
    ac_status status = AC_OK;
    ac_pickle *p = m->p;
    ac_pickle_value *to = value_of(m, container);
    const int depth = 1 + value_of(m, v)->depth;
    if (depth > AC_PICKLE_MOST_DEPTH)
        return ac_error(AC_ERR_DATA, "its pickle holds values in values in values more than %d deep", AC_PICKLE_MOST_DEPTH);
    AC_TRY(ac_reserve(&p->cell, &p->cell_capacity, p->n_cells + 1, sizeof *p->cell));
    const uint32_t cell = (uint32_t)p->n_cells++;
    p->cell[cell] = (ac_pickle_cell){key, v, AC_PICKLE_END};
    if (to->is.items.n == 0)
        to->is.items.first = cell;
    else
        p->cell[to->is.items.last].next = cell;
    to->is.items.last = cell;
    to->is.items.n++;
    to->depth = depth > to->depth ? (uint8_t)depth : to->depth;
out:
    return status;
}

static ac_status make_tuple(machine *m, size_t first, size_t n)
{
    ac_status status = AC_OK;
    if (n == 0)
        return push(m, SHARED_TUPLE);
    /* pushed only when filled: its elements still stand on the stack */
    AC_TRY(ac_pickle_add_value(m->p, (ac_pickle_value){.kind = AC_PICKLE_TUPLE, .is.items = {AC_PICKLE_END, AC_PICKLE_END, 0}}));
    const uint32_t tuple = (uint32_t)m->p->n_values - 1;
    for (size_t i = 0; i < n; i++)
        AC_TRY(add_item(m, tuple, AC_PICKLE_END, m->stack[first + i]));
    AC_TRY(push(m, tuple));
out:
    return status;
}

static ac_status push_tuple(machine *m, size_t n)
{
    for (size_t i = 1; i <= n; i++)
        if (m->n_stack < i || m->stack[m->n_stack - i] == MARK)
            return damaged(m, "a value is missing");
    m->n_stack -= n;
    return make_tuple(m, m->n_stack, n);
}

static ac_status push_marked_tuple(machine *m)
{
    ac_status status = AC_OK;
    size_t first = 0, n = 0;
    AC_TRY(pop_to_mark(m, &first, &n));
    AC_TRY(make_tuple(m, first, n));
out:
    return status;
}

/* stack[first .. first + n) into the container below them; what a class of its own would do with them is dropped. */
static ac_status add_items(machine *m, size_t first, size_t n, bool pairs)
{
    ac_status status = AC_OK;
    uint32_t to = 0;
    AC_TRY(peek(m, &to));
    const int kind = value_of(m, to)->kind;
    if (kind == AC_PICKLE_OPAQUE)
        return AC_OK;
    if (kind != (pairs ? AC_PICKLE_DICT : AC_PICKLE_LIST) || (pairs && n % 2))
        return damaged(m, pairs ? "it sets items of something that is no dict" : "it appends to something that is no list");
    for (size_t i = 0; i < n; i += pairs ? 2 : 1)
        AC_TRY(add_item(m, to, pairs ? m->stack[first + i] : AC_PICKLE_END, m->stack[first + i + (pairs ? 1 : 0)]));
out:
    return status;
}

static ac_status add_marked(machine *m, bool pairs)
{
    ac_status status = AC_OK;
    size_t first = 0, n = 0;
    AC_TRY(pop_to_mark(m, &first, &n));
    AC_TRY(add_items(m, first, n, pairs));
out:
    return status;
}

static ac_status add_one(machine *m, bool pair)
{
    ac_status status = AC_OK;
    uint32_t v = 0;
    const size_t n = pair ? 2 : 1;
    for (size_t i = 0; i < n; i++)
        AC_TRY(pop(m, &v));
    AC_TRY(add_items(m, m->n_stack, n, pair));
out:
    return status;
}

/* ---- names, and what would be called ---- */

static ac_status push_global(machine *m, uint32_t module_at, uint32_t n_module, uint32_t name_at, uint32_t n_name)
{
    const char *module = (const char *)m->p->bytes + module_at, *name = (const char *)m->p->bytes + name_at;
    const ac_pickle_global *global = ac_pickle_find_global(module, n_module, name, n_name);
    if (!global)
        return ac_error(AC_ERR_DATA,
                        "its pickle wants %.*s.%.*s, which is refused: of a pickle only tensors, dicts, lists, numbers and texts are read, and a few "
                        "classes whose content is dropped (docs/weights.md says how to save such a file without)",
                        n_module > 100 ? 100 : (int)n_module, module, n_name > 100 ? 100 : (int)n_name, name);
    return push_value(m, (ac_pickle_value){.kind = AC_PICKLE_GLOBAL, .is.global = global});
}

/* Two lines. */
static ac_status read_global(machine *m)
{
    uint32_t at[2], n[2];
    for (int i = 0; i < 2; i++) {
        const uint8_t *line = m->p->bytes + m->at;
        const uint8_t *end = m->at < m->p->n_bytes ? memchr(line, '\n', m->p->n_bytes - m->at) : NULL;
        if (!end)
            return damaged(m, "it ends amid a name");
        at[i] = (uint32_t)m->at;
        n[i] = (uint32_t)(end - line);
        m->at += n[i] + 1;
    }
    return push_global(m, at[0], n[0], at[1], n[1]);
}

static ac_status pop_global(machine *m)
{
    ac_status status = AC_OK;
    uint32_t name = 0, module = 0;
    AC_TRY(pop(m, &name));
    AC_TRY(pop(m, &module));
    if (value_of(m, name)->kind != AC_PICKLE_TEXT || value_of(m, module)->kind != AC_PICKLE_TEXT)
        return damaged(m, "a name is no text");
    AC_TRY(
        push_global(m, value_of(m, module)->is.text.at, value_of(m, module)->is.text.n, value_of(m, name)->is.text.at, value_of(m, name)->is.text.n));
out:
    return status;
}

/* A dict from what its class is called with: nothing, or what it counts or begins with. */
static ac_status call_dict(machine *m, const ac_pickle_value *arguments)
{
    const ac_pickle_cell *cell = arguments->is.items.n ? &m->p->cell[arguments->is.items.first] : NULL;
    for (uint32_t i = 0; cell && i < arguments->is.items.n; i++) {
        const int kind = value_of(m, cell->value)->kind;
        if (kind == AC_PICKLE_DICT)
            return push(m, cell->value);
        if (kind != AC_PICKLE_GLOBAL && kind != AC_PICKLE_NONE) /* a defaultdict's maker of values */
            return ac_error(AC_ERR_DATA, "its pickle makes a dict of something that is none");
        cell = cell->next == AC_PICKLE_END ? NULL : &m->p->cell[cell->next];
    }
    return push_container(m, AC_PICKLE_DICT);
}

static ac_status call(machine *m, uint32_t callable, uint32_t arguments, bool new_object)
{
    ac_status status = AC_OK;
    uint32_t made = 0;
    if (value_of(m, arguments)->kind != AC_PICKLE_TUPLE)
        return damaged(m, "arguments are no tuple");
    if (value_of(m, callable)->kind != AC_PICKLE_GLOBAL)
        return ac_error(AC_ERR_DATA, "its pickle wants to call a value, which is refused");
    const ac_pickle_global *global = value_of(m, callable)->is.global;
    const ac_pickle_value given = *value_of(m, arguments);
    switch (global->meaning) {
    case AC_MEANS_DICT: return call_dict(m, &given);
    case AC_MEANS_OPAQUE: return push_value(m, (ac_pickle_value){.kind = AC_PICKLE_OPAQUE, .is.global = global});
    case AC_MEANS_TENSOR:
    case AC_MEANS_TENSOR_V3:
    case AC_MEANS_PARAMETER:
    case AC_MEANS_SUBCLASS:
    case AC_MEANS_SIZE:
        if (!new_object) {
            AC_TRY(ac_pickle_make_tensor(m->p, global, arguments, &made));
            return push(m, made);
        }
        break;
    default: break;
    }
    return ac_error(AC_ERR_DATA, "its pickle wants to call %s.%s, which is refused", global->module, global->name);
out:
    return status;
}

static ac_status reduce(machine *m, bool new_object, bool with_keywords)
{
    ac_status status = AC_OK;
    uint32_t arguments = 0, callable = 0, keywords = 0;
    if (with_keywords)
        AC_TRY(pop(m, &keywords));
    AC_TRY(pop(m, &arguments));
    AC_TRY(pop(m, &callable));
    AC_TRY(call(m, callable, arguments, new_object));
out:
    return status;
}

/* The state of an object. A Namespace's dict is what it is asked for; an OrderedDict's attributes (_metadata) are not. */
static ac_status build(machine *m)
{
    ac_status status = AC_OK;
    uint32_t state = 0, object = 0;
    AC_TRY(pop(m, &state));
    AC_TRY(peek(m, &object));
    ac_pickle_value *o = value_of(m, object);
    const ac_pickle_value *s = value_of(m, state);
    if (o->kind == AC_PICKLE_OPAQUE)
        return AC_OK;
    if (o->kind != AC_PICKLE_DICT)
        return ac_error(AC_ERR_DATA, "its pickle wants to set the state of something that has none, which is refused");
    if (o->is.items.n == 0 && s->kind == AC_PICKLE_DICT && !ac_pickle_get(m->p, s, "_metadata")) {
        o->is.items = s->is.items;
        o->depth = s->depth;
    }
out:
    return status;
}

/* ("storage", type, name of its entry, device, number of elements) */
static ac_status push_persistent(machine *m)
{
    ac_status status = AC_OK;
    uint32_t id = 0, made = 0;
    AC_TRY(pop(m, &id));
    AC_TRY(ac_pickle_make_storage(m->p, id, &made));
    AC_TRY(push(m, made));
out:
    return status;
}

/* ---- memo ---- */

static ac_status put(machine *m, uint64_t k)
{
    ac_status status = AC_OK;
    uint32_t v = 0;
    AC_TRY(peek(m, &v));
    if (k >= m->p->n_bytes) /* a pickle cannot have so many values */
        return damaged(m, "a number in its memo is too large");
    AC_TRY(ac_reserve(&m->memo, &m->memo_capacity, (size_t)k + 1, sizeof *m->memo));
    while (m->n_memo <= k)
        m->memo[m->n_memo++] = MARK;
    m->memo[k] = v;
out:
    return status;
}

static ac_status get(machine *m, int n_bytes)
{
    ac_status status = AC_OK;
    uint64_t k;
    AC_TRY(read_number(m, n_bytes, &k));
    if (k >= m->n_memo || m->memo[k] == MARK)
        return damaged(m, "its memo does not have what it asks for");
    AC_TRY(push(m, m->memo[k]));
out:
    return status;
}

static ac_status put_numbered(machine *m, int n_bytes)
{
    ac_status status = AC_OK;
    uint64_t k;
    AC_TRY(read_number(m, n_bytes, &k));
    AC_TRY(put(m, k));
out:
    return status;
}

/* ---- the rest ---- */

static ac_status check_protocol(machine *m)
{
    ac_status status = AC_OK;
    uint64_t version;
    AC_TRY(read_number(m, 1, &version));
    if (version < 2 || version > 5)
        status = ac_error(AC_ERR_DATA, "its pickle has protocol %" PRIu64 ", read are 2 to 5", version);
out:
    return status;
}

static ac_status stop(machine *m)
{
    ac_status status = AC_OK;
    AC_TRY(pop(m, &m->p->top));
    if (m->n_stack > 0 || m->at != m->p->n_bytes)
        return damaged(m, "it does not end where it says");
    m->stopped = true;
out:
    return status;
}

static ac_status drop(machine *m)
{
    if (m->n_stack == 0)
        return damaged(m, "a value is missing");
    m->n_stack--;
    return AC_OK;
}

static ac_status duplicate(machine *m)
{
    uint32_t v = 0;
    ac_status status = peek(m, &v);
    return status == AC_OK ? push(m, v) : status;
}

static ac_status drop_marked(machine *m)
{
    size_t first = 0, n = 0;
    return pop_to_mark(m, &first, &n);
}

static ac_status refuse(const machine *m, unsigned code)
{
    switch (code) {
    case 'i':
    case 'o': return ac_error(AC_ERR_DATA, "its pickle wants to call a class (%s), which is refused", code == 'i' ? "INST" : "OBJ");
    case 0x82:
    case 0x83:
    case 0x84: return ac_error(AC_ERR_DATA, "its pickle wants something by a number that only its writer knows (EXT), which is refused");
    case 'P':
    case 'I':
    case 'L':
    case 'F':
    case 'S':
    case 'V':
    case 'p':
    case 'g': return ac_error(AC_ERR_DATA, "its pickle is in a protocol older than 2, which torch.save() does not write");
    }
    return ac_error(AC_ERR_DATA, "its pickle is damaged at byte %zu: 0x%02x is no instruction", m->at - 1, code);
}

static ac_status step(machine *m)
{
    uint64_t ignored;
    const unsigned code = m->p->bytes[m->at++];
    switch (code) {
    case 0x80: return check_protocol(m);
    case 0x95: return read_number(m, 8, &ignored); /* FRAME: how much is read at a time */
    case '.': return stop(m);
    case '(': return push(m, MARK);
    case '0': return drop(m);
    case '1': return drop_marked(m);
    case '2': return duplicate(m);
    case 'N': return push(m, SHARED_NONE);
    case 0x88: return push(m, SHARED_TRUE);
    case 0x89: return push(m, SHARED_FALSE);
    case 'J': return push_integer(m, 4, true);
    case 'K': return push_integer(m, 1, false);
    case 'M': return push_integer(m, 2, false);
    case 0x8a: return push_long(m, 1);
    case 0x8b: return push_long(m, 4);
    case 'G': return push_float(m);
    case 0x8c:
    case 'U': return push_text(m, 1);
    case 'X':
    case 'T': return push_text(m, 4);
    case 0x8d: return push_text(m, 8);
    case 'C': return push_bytes(m, 1);
    case 'B': return push_bytes(m, 4);
    case 0x8e:
    case 0x96: return push_bytes(m, 8);
    case ')': return push(m, SHARED_TUPLE);
    case ']':
    case 0x8f: return push_container(m, AC_PICKLE_LIST); /* a set is read as a list */
    case '}': return push_container(m, AC_PICKLE_DICT);
    case 0x85: return push_tuple(m, 1);
    case 0x86: return push_tuple(m, 2);
    case 0x87: return push_tuple(m, 3);
    case 't':
    case 0x91: return push_marked_tuple(m);
    case 'a': return add_one(m, false);
    case 'e':
    case 0x90: return add_marked(m, false);
    case 's': return add_one(m, true);
    case 'u': return add_marked(m, true);
    case 'q': return put_numbered(m, 1);
    case 'r': return put_numbered(m, 4);
    case 0x94: return put(m, m->n_memo);
    case 'h': return get(m, 1);
    case 'j': return get(m, 4);
    case 'c': return read_global(m);
    case 0x93: return pop_global(m);
    case 'R': return reduce(m, false, false);
    case 0x81: return reduce(m, true, false);
    case 0x92: return reduce(m, true, true);
    case 'b': return build(m);
    case 'Q': return push_persistent(m);
    }
    return refuse(m, code);
}

static ac_status add_shared(ac_pickle *p)
{
    ac_status status = AC_OK;
    const ac_pickle_value shared[N_SHARED] = {
        [SHARED_NONE] = {.kind = AC_PICKLE_NONE},
        [SHARED_FALSE] = {.kind = AC_PICKLE_BOOL, .is.integer = 0},
        [SHARED_TRUE] = {.kind = AC_PICKLE_BOOL, .is.integer = 1},
        [SHARED_TUPLE] = {.kind = AC_PICKLE_TUPLE, .is.items = {AC_PICKLE_END, AC_PICKLE_END, 0}},
    };
    for (int i = 0; i < N_SHARED; i++)
        AC_TRY(ac_pickle_add_value(p, shared[i]));
out:
    return status;
}

ac_status ac_pickle_read(const uint8_t *bytes, size_t n_bytes, ac_pickle *out)
{
    ac_status status = AC_OK;
    machine m = {.p = out};
    memset(out, 0, sizeof *out);
    out->bytes = bytes;
    out->n_bytes = n_bytes;
    if (n_bytes > AC_PICKLE_MOST_BYTES)
        return ac_error(AC_ERR_DATA, "its pickle has %zu bytes, more than the %d that are read", n_bytes, AC_PICKLE_MOST_BYTES);
    if (n_bytes < 2 || bytes[0] != 0x80)
        return ac_error(AC_ERR_DATA, "its pickle has no protocol number, as only those older than 2 have none");
    AC_TRY(add_shared(out));
    while (!m.stopped && m.at < n_bytes)
        AC_TRY(step(&m));
    if (!m.stopped)
        status = damaged(&m, "it was cut off");
out:
    ac_free(m.stack);
    ac_free(m.memo);
    return status;
}

void ac_pickle_release(ac_pickle *p)
{
    ac_free(p->value);
    ac_free(p->cell);
    ac_free(p->storage);
    ac_free(p->tensor);
    memset(p, 0, sizeof *p);
}
