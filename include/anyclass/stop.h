/* Signals that ask a program to stop: SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 (schedulers send them before a time limit or a
 * preemption) set a flag that the program looks at where it can stop without loss. One process-wide state. Not collective:
 * a signal may reach one rank alone, so ranks agree on what they found. */
#ifndef ANYCLASS_STOP_H
#define ANYCLASS_STOP_H

/** From now on these signals are remembered instead of ending the process; system calls they interrupt go on. A second
 * SIGINT ends the process as usual. Called again it does nothing: what was remembered stays. */
void ac_stop_catch(void);
/** What the signals did before ac_stop_catch() is in force again. */
void ac_stop_release(void);
/** Number of the last such signal; 0: none. */
int ac_stop_signal(void);
/** Seconds since the first one; 0: none. */
double ac_stop_since_s(void);

#endif
