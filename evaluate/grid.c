/* Cells of a grid and how each format lays them out. Leaves files to grid_file.c. */
#include "evaluate/grid.h"
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NUMBER_WIDTH = 8, COUNT_BYTES = 24 };

void grid_put(grid_text *out, const char *text)
{
    size_t n = strlen(text);
    if (out->status == AC_OK)
        out->status = ac_reserve(&out->text, &out->capacity, out->n + n + 1, 1);
    if (out->status != AC_OK)
        return;
    memcpy(out->text + out->n, text, n + 1);
    out->n += n;
}

ac_status grid_print(const grid_text *of, FILE *stream)
{
    if (fputs(of->text, stream) < 0 || fflush(stream) != 0 || ferror(stream))
        return ac_error_errno("cannot write the table to stdout");
    return AC_OK;
}

void grid_release_text(grid_text *of)
{
    ac_free(of->text);
    memset(of, 0, sizeof *of);
}

/* The character at *text, which moves behind it; a byte that begins none counts as one. */
static uint32_t next_character(const unsigned char **text)
{
    const unsigned char *at = (*text)++;
    int n = *at >= 0xF0 ? 3 : *at >= 0xE0 ? 2 : *at >= 0xC0 ? 1 : 0;
    uint32_t character = n ? *at & (0x3Fu >> n) : *at;
    for (; n > 0 && (**text & 0xC0) == 0x80; n--)
        character = character << 6 | (*(*text)++ & 0x3Fu);
    return character;
}

/* Columns on a terminal: none for marks that stand on the letter before, two for East Asian characters and pictures. */
static int character_width(uint32_t character)
{
    static const struct {
        uint32_t first, last;
        int width;
    } ranges[] = {{0x300, 0x36F, 0},     {0x1100, 0x115F, 2},  {0x1AB0, 0x1AFF, 0}, {0x1DC0, 0x1DFF, 0},
                  {0x200B, 0x200F, 0},   {0x20D0, 0x20FF, 0},  {0x2E80, 0x303E, 2}, {0x3041, 0xA4CF, 2},
                  {0xAC00, 0xD7A3, 2},   {0xF900, 0xFAFF, 2},  {0xFE00, 0xFE0F, 0}, {0xFE20, 0xFE2F, 0},
                  {0xFE30, 0xFE6F, 2},   {0xFF00, 0xFF60, 2},  {0xFFE0, 0xFFE6, 2}, {0x1F300, 0x1F64F, 2},
                  {0x1F900, 0x1F9FF, 2}, {0x20000, 0x3FFFD, 2}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (character >= ranges[i].first && character <= ranges[i].last)
            return ranges[i].width;
    return 1;
}

static int text_width(const char *text)
{
    int width = 0;
    for (const unsigned char *at = (const unsigned char *)text; *at;)
        width += character_width(next_character(&at));
    return width;
}

void grid_begin(grid *of, grid_format format, const char *align)
{
    *of = (grid){.format = format, .align = align, .n_columns = strlen(align)};
}

static void add_cell(grid *of, const char *text, bool best)
{
    size_t n = strlen(text) + 1;
    if (of->status == AC_OK)
        of->status = ac_reserve(&of->pool, &of->pool_capacity, of->n_pool + n, 1);
    if (of->status == AC_OK)
        of->status = ac_reserve(&of->cell, &of->cell_capacity, of->n_cells + 1, sizeof *of->cell);
    if (of->status != AC_OK)
        return;
    char *own = memcpy(of->pool + of->n_pool, text, n);
    for (char *at = own; *at; at++)
        if (((unsigned char)*at < ' ' || *at == 0x7F) && of->format != GRID_CSV)
            *at = '?';
    of->cell[of->n_cells++] =
        (grid_cell){.text = of->n_pool, .width = text_width(own), .best = best, .space_before = of->space};
    of->n_pool += n;
    of->space = false;
}

void grid_add(grid *of, const char *text)
{
    add_cell(of, text, false);
}

void grid_add_number(grid *of, double value, bool best)
{
    char text[AC_NUMBER_BYTES + 8];
    if (of->format == GRID_CSV) {
        text[0] = '\0';
        if (!isnan(value))
            ac_format_double(value, text);
    } else if (isnan(value))
        strcpy(text, "-");
    else {
        double rounded = fabs(value) < 0.00005 ? 0 : value; /* no "-0.0000" */
        snprintf(text, sizeof text, "%.4f", rounded);
    }
    add_cell(of, text, best);
}

void grid_add_count(grid *of, int64_t value)
{
    char text[COUNT_BYTES];
    snprintf(text, sizeof text, "%lld", (long long)value);
    add_cell(of, text, false);
}

void grid_add_space(grid *of)
{
    of->space = true;
}

void grid_release(grid *of)
{
    ac_free(of->cell);
    ac_free(of->pool);
    memset(of, 0, sizeof *of);
}

static const char *text_of(const grid *of, size_t i)
{
    return of->pool + of->cell[i].text;
}

static void put_spaces(grid_text *out, int n)
{
    for (; n > 0; n--)
        grid_put(out, " ");
}

/* Numbers share a width where their headings let them; two blanks before what is longer. */
static int column_width(const grid *of, size_t column)
{
    int width = of->align[column] == 'r' ? NUMBER_WIDTH : 0;
    for (size_t i = column; i < of->n_cells; i += of->n_columns)
        width = of->cell[i].width > width ? of->cell[i].width : width;
    return width;
}

static void render_text(const grid *of, grid_text *out)
{
    for (size_t i = 0; i < of->n_cells; i++) {
        size_t column = i % of->n_columns;
        int width = column_width(of, column), blank = width - of->cell[i].width;
        bool left = of->align[column] == 'l', is_last = column + 1 == of->n_columns;
        if (of->cell[i].space_before)
            grid_put(out, "\n");
        if (left) {
            grid_put(out, column > 0 && of->align[column - 1] == 'r' ? "  " : "");
            grid_put(out, text_of(of, i));
            put_spaces(out, is_last ? 0 : blank + 2);
        } else {
            put_spaces(out, blank + (width > NUMBER_WIDTH ? 2 : 1));
            grid_put(out, text_of(of, i));
        }
        if (is_last)
            grid_put(out, "\n");
    }
}

static void render_csv(const grid *of, grid_text *out)
{
    for (size_t i = 0; i < of->n_cells; i++) {
        size_t n = ac_csv_quote(text_of(of, i), NULL, 0);
        if (out->status == AC_OK)
            out->status = ac_reserve(&out->text, &out->capacity, out->n + n, 1);
        if (out->status != AC_OK)
            return;
        ac_csv_quote(text_of(of, i), out->text + out->n, n);
        out->n += n - 1;
        grid_put(out, i % of->n_columns + 1 == of->n_columns ? "\n" : ",");
    }
}

static bool is_letter(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Every mark is escaped that could be read as Markdown; '_' inside a word could not. */
static void put_markdown(grid_text *out, const char *text)
{
    for (const char *at = text; *at; at++) {
        bool inside = *at == '_' && at > text && is_letter(at[-1]) && is_letter(at[1]);
        if (strchr("\\|*_`<>[]~$&", *at) && !inside)
            grid_put(out, "\\");
        grid_put(out, (char[]){*at, '\0'});
    }
}

static void render_markdown(const grid *of, grid_text *out)
{
    for (size_t i = 0; i < of->n_cells; i++) {
        const char *bold = of->cell[i].best ? "**" : "";
        grid_put(out, i % of->n_columns == 0 ? "| " : " ");
        grid_put(out, bold);
        put_markdown(out, text_of(of, i));
        grid_put(out, bold);
        grid_put(out, " |");
        if ((i + 1) % of->n_columns != 0)
            continue;
        grid_put(out, "\n");
        for (size_t c = 0; i + 1 == of->n_columns && c < of->n_columns; c++) {
            grid_put(out, c == 0 ? "|" : "");
            grid_put(out, of->align[c] == 'l' ? " :--- |" : " ---: |");
            grid_put(out, c + 1 == of->n_columns ? "\n" : "");
        }
    }
}

static void put_latex(grid_text *out, const char *text)
{
    static const struct {
        char mark;
        const char *written;
    } marks[] = {{'\\', "\\textbackslash{}"},
                 {'~', "\\textasciitilde{}"},
                 {'^', "\\textasciicircum{}"},
                 {'|', "\\textbar{}"},
                 {'<', "\\textless{}"},
                 {'>', "\\textgreater{}"},
                 {'"', "\\textquotedbl{}"},
                 {'&', "\\&"},
                 {'%', "\\%"},
                 {'$', "\\$"},
                 {'#', "\\#"},
                 {'_', "\\_"},
                 {'{', "\\{"},
                 {'}', "\\}"}};
    for (const char *at = text; *at; at++) {
        char plain[] = {*at, '\0'};
        const char *written = plain;
        for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
            if (marks[i].mark == *at)
                written = marks[i].written;
        grid_put(out, written);
    }
}

/* A minus is set as one, not as a hyphen. */
static void put_latex_cell(const grid *of, size_t i, grid_text *out)
{
    const char *text = text_of(of, i);
    bool negative = of->align[i % of->n_columns] == 'r' && text[0] == '-' && text[1] != '\0';
    grid_put(out, of->cell[i].best ? "\\textbf{" : "");
    grid_put(out, negative ? "$-$" : "");
    put_latex(out, text + negative);
    grid_put(out, of->cell[i].best ? "}" : "");
}

static void render_latex(const grid *of, grid_text *out)
{
    grid_put(out, "% needs \\usepackage{booktabs}\n\\begin{tabular}{");
    grid_put(out, of->align);
    grid_put(out, "}\n\\toprule\n");
    for (size_t i = 0; i < of->n_cells; i++) {
        if (of->cell[i].space_before)
            grid_put(out, "\\addlinespace\n");
        put_latex_cell(of, i, out);
        if ((i + 1) % of->n_columns != 0)
            grid_put(out, " & ");
        else
            grid_put(out, i + 1 == of->n_columns ? " \\\\\n\\midrule\n" : " \\\\\n");
    }
    grid_put(out, "\\bottomrule\n\\end{tabular}\n");
}

ac_status grid_render(const grid *of, grid_text *out)
{
    static void (*const render[])(const grid *, grid_text *) = {[GRID_TEXT] = render_text,
                                                                [GRID_CSV] = render_csv,
                                                                [GRID_MARKDOWN] = render_markdown,
                                                                [GRID_LATEX] = render_latex};
    if (of->status != AC_OK)
        return of->status;
    render[of->format](of, out);
    return out->status;
}
