/* Writes a folder of event files as a run does that is resumed twice, for event_files.t: sessions from step 0, from 6
 * (killed in a record, steps 0 to 9 made), and from 8. usage: write_events FOLDER */
#include "anyclass/event_file.h"
#include <stdio.h>
#include <unistd.h>

static ac_status session(const char *folder, int first, int end, double add, int cut_bytes)
{
    ac_status status = AC_OK;
    ac_event_file *file = NULL;
    AC_TRY(ac_event_file_open(folder, first, &file));
    AC_TRY(ac_event_file_text(file, "options", first, first == 0 ? "--model resnet50\n--batch_size <8> *2*" : "resumed"));
    for (int step = first; step < end; step++) {
        AC_TRY(ac_event_file_scalar(file, "train/loss", step, add + .5 * step));
        AC_TRY(ac_event_file_scalar(file, "learning_rate", step, 1e-3));
    }
    AC_TRY(ac_event_file_flush(file));
    FILE *written = fopen(ac_event_file_path(file), "rb+");
    if (!written)
        return ac_error_errno("%s", ac_event_file_path(file));
    if (fseek(written, 0, SEEK_END) != 0 || ftruncate(fileno(written), ftell(written) - cut_bytes) != 0)
        status = ac_error_errno("%s", ac_event_file_path(file));
    fclose(written);
out:
    if (status == AC_OK)
        return ac_event_file_close(&file);
    ac_event_file_close(&file);
    return status;
}

int main(int argc, char **argv)
{
    ac_status status = argc == 2 ? AC_OK : ac_error(AC_ERR_USAGE, "one argument: a folder");
    AC_TRY(status);
    AC_TRY(session(argv[1], 0, 10, 0, 0));
    AC_TRY(session(argv[1], 6, 12, 100, 21));
    AC_TRY(session(argv[1], 8, 11, 200, 0));
out:
    if (status != AC_OK)
        fprintf(stderr, "write_events: %s\n", ac_error_text());
    return ac_status_exit_code(status);
}
