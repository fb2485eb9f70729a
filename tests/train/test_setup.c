/* What the options make of the augmentation, for each kind of data set. */
#include "tests/tap.h"
#include "train/train_internal.h"
#include <string.h>

static ac_augment chosen(const char *dataset, int argc, char **argv)
{
    train_config config;
    ac_options *options = NULL;
    ac_augment augment = {.kind = -1};
    ac_option_action action;
    if (TAP_CALL(ac_options_parse(&train_program, argc, argv, &config, NULL, &action, &options)))
        augment = trainer_augment(&config, dataset);
    ac_options_destroy(options);
    return augment;
}

int main(void)
{
    char *plain[] = {"anyclass-train", "--data_root", "x"};
    char *rotation[] = {"anyclass-train", "--data_root", "x", "--augment", "rotation", "--rotation_degrees", "12.5"};
    char *colour[] = {"anyclass-train", "--data_root", "x", "--augment=colour", "--jitter_brightness", ".2", "--jitter_contrast", ".3",
                      "--jitter_saturation", ".4", "--jitter-hue", ".05"};
    char *none[] = {"anyclass-train", "--data_root", "x", "--augment", "none"};
    const ac_augment usual = {AC_AUGMENT_COLOUR, .1f, .1f, .1f, .1f, 5};
    static const char *const others[] = {"sewer", "coco", "csv"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        ac_augment a = chosen(others[i], 3, plain);
        TAP_OK(memcmp(&a, &usual, sizeof a) == 0, "%s: colours, as the reference changes them", others[i]);
    }
    ac_augment a = chosen("chest", 3, plain);
    TAP_OK(a.kind == AC_AUGMENT_ROTATION && a.rotation_degrees == 5, "chest: rotation by 5 degrees");
    TAP_OK(chosen("chest", 5, none).kind == AC_AUGMENT_NONE, "none when asked");
    a = chosen("coco", 7, rotation);
    TAP_OK(a.kind == AC_AUGMENT_ROTATION && a.rotation_degrees == 12.5f, "rotation of another data set");
    a = chosen("chest", 12, colour);
    const ac_augment wanted = {AC_AUGMENT_COLOUR, .2f, .3f, .4f, .05f, 5};
    TAP_OK(memcmp(&a, &wanted, sizeof a) == 0, "colours of chest images, each range its own");
    return tap_done();
}
