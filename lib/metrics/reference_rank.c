/* Average precision as the paper's own code has it: the running precision at each positive of a list whose equal scores
 * stand as NumPy's argsort leaves them, read backwards. That order is a property of one algorithm, so the algorithm is
 * here: quicksort of indices with the median of three, insertion sort for short parts, heapsort for parts that are cut
 * too often (introsort, Musser 1997), with NumPy's choices in each. Leaves whatever does not depend on the order of
 * equal scores to ranking.c and profile.c. */
#include "lib/metrics/sort.h"

enum { SHORT_PART = 16, MOST_PARTS = 64 }; /* the longer part waits, so at most log2 n parts do */

typedef struct part { /* order[first .. last] is still to sort */
    size_t first, last;
    int cuts_left;
} part;

static void swap(uint32_t *a, uint32_t *b)
{
    uint32_t kept = *a;
    *a = *b;
    *b = kept;
}

static void order_pair(const double *score, uint32_t *low, uint32_t *high)
{
    if (score[*high] < score[*low])
        swap(low, high);
}

/* Bring the three ends in order and split between them. Returns the place of the middle score: nothing before it is
 * higher, nothing behind it lower. */
static size_t split(const double *score, uint32_t *order, size_t first, size_t last)
{
    size_t middle = first + (last - first) / 2, up = first, down = last - 1;
    order_pair(score, &order[first], &order[middle]);
    order_pair(score, &order[middle], &order[last]);
    order_pair(score, &order[first], &order[middle]);
    double pivot = score[order[middle]];
    swap(&order[middle], &order[down]);
    for (;;) {
        do
            up++;
        while (score[order[up]] < pivot);
        do
            down--;
        while (pivot < score[order[down]]);
        if (up >= down)
            break;
        swap(&order[up], &order[down]);
    }
    swap(&order[up], &order[last - 1]);
    return up;
}

static void insert_all(const double *score, uint32_t *order, size_t first, size_t last)
{
    for (size_t i = first + 1; i <= last; i++) {
        uint32_t moved = order[i];
        size_t hole = i;
        for (; hole > first && score[moved] < score[order[hole - 1]]; hole--)
            order[hole] = order[hole - 1];
        order[hole] = moved;
    }
}

/* Let `moved` sink from `hole` (counted from 1) in a heap of n. */
static void sink(const double *score, uint32_t *heap, size_t n, size_t hole, uint32_t moved)
{
    for (size_t child = 2 * hole; child <= n; child = 2 * hole) {
        if (child < n && score[heap[child - 1]] < score[heap[child]])
            child++;
        if (!(score[moved] < score[heap[child - 1]]))
            break;
        heap[hole - 1] = heap[child - 1];
        hole = child;
    }
    heap[hole - 1] = moved;
}

static void heap_sort(const double *score, uint32_t *order, size_t n)
{
    for (size_t at = n / 2; at > 0; at--)
        sink(score, order, n, at, order[at - 1]);
    for (size_t left = n; left > 1; left--) {
        uint32_t moved = order[left - 1];
        order[left - 1] = order[0];
        sink(score, order, left - 1, 1, moved);
    }
}

void ac_reference_argsort(const double *score, uint32_t *order, size_t n)
{
    part waiting[MOST_PARTS], now = {.last = n - 1};
    size_t n_waiting = 0;
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    if (n < 2)
        return;
    for (size_t rest = n; rest > 1; rest /= 2)
        now.cuts_left += 2;
    for (;;) {
        if (now.cuts_left < 0)
            heap_sort(score, order + now.first, now.last - now.first + 1);
        else {
            while (now.first + SHORT_PART <= now.last) {
                size_t middle = split(score, order, now.first, now.last);
                now.cuts_left--;
                part longer = now;
                if (middle - now.first < now.last - middle) {
                    longer.first = middle + 1;
                    now.last = middle - 1;
                } else {
                    longer.last = middle - 1;
                    now.first = middle + 1;
                }
                waiting[n_waiting++] = longer;
            }
            insert_all(score, order, now.first, now.last);
        }
        if (n_waiting == 0)
            break;
        now = waiting[--n_waiting];
    }
}

double ac_reference_rank(const ac_column *column, size_t n_positive, uint32_t *order)
{
    double sum = 0;
    size_t found = 0;
    ac_reference_argsort(column->score, order, column->n);
    for (size_t seen = 1; found < n_positive; seen++) {
        if (column->label[order[column->n - seen] * column->label_stride]) {
            found++;
            sum += (double)found / (double)seen;
        }
    }
    return n_positive > 0 ? sum / (double)n_positive : 0;
}
