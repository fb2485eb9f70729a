/* Model names and the rows behind them; the list is AC_MODELS (model.h). */
#include "model/models.h"
#include <string.h>

#define ROW(name) &ac_model_##name,
static const ac_model *const rows[] = {AC_MODELS(ROW)};
#undef ROW
#define ROW(name) "|" #name
static const char names[] = AC_MODELS(ROW);
#undef ROW

const ac_model *ac_model_at(size_t i)
{
    return i < sizeof rows / sizeof *rows ? rows[i] : NULL;
}

const ac_model *ac_model_find(const char *name)
{
    for (size_t i = 0; ac_model_at(i); i++)
        if (strcmp(ac_model_at(i)->name, name) == 0)
            return ac_model_at(i);
    return NULL;
}

const char *ac_model_names(void)
{
    return names + 1;
}
