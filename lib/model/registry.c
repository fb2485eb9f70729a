/* Model names and the families behind them. */
#include "model/models.h"
#include <string.h>

const ac_model *ac_model_at(size_t i)
{
    return i < ac_n_models_resnet ? &ac_models_resnet[i] : NULL;
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
    return "resnet18|resnet34|resnet50|resnet101|resnet152";
}
