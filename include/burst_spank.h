/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the Rust side of spank_burst.so and spank_burst_node.so needs of SPANK, in plain C types.
 *
 * Only c-shim/spank_shim.c includes Slurm's headers; src/spank and src/spank/measure declare the same functions by hand.
 * Strings are NUL-terminated, borrowed for the call only, and never kept.
 */
#ifndef BURST_SPANK_H
#define BURST_SPANK_H

/* In which program the plugin was loaded. */
#define BURST_SPANK_OTHER 0  /* slurmd, prolog, epilog: no options there */
#define BURST_SPANK_SUBMIT 1 /* sbatch, salloc (and scrontab) */
#define BURST_SPANK_SRUN 2
#define BURST_SPANK_STEP 3 /* slurmstepd on a node */

/* How a line reaches the user. */
#define BURST_SPANK_SAY_ERROR 0   /* "sbatch: error: ..." */
#define BURST_SPANK_SAY_MORE 1    /* continues an error, without the word */
#define BURST_SPANK_SAY_INFO 2    /* silenced by --quiet */
#define BURST_SPANK_SAY_VERBOSE 3 /* shown with -v */

/* SPANK's has_arg, as getopt_long knows it. */
#define BURST_SPANK_ARG_REQUIRED 1
#define BURST_SPANK_ARG_OPTIONAL 2

/* optarg is NULL for an option given without its optional argument. */
typedef int (*burst_spank_option_fn)(int val, const char *optarg, int remote);

int burst_spank_where(void);
void burst_spank_say(int how, const char *text);

/* The three below return 0, or a code for burst_spank_strerror. `spank` is the handle of the running callback. */
int burst_spank_register(void *spank, const char *name, const char *arginfo, const char *usage, int has_arg,
			 int val, burst_spank_option_fn callback);
int burst_spank_job_setenv(void *spank, const char *name, const char *value);
int burst_spank_job_unsetenv(void *spank, const char *name);
const char *burst_spank_strerror(int code);

/* Takes a variable out of this process's own environment. */
void burst_spank_forget_env(const char *name);

/* What burst_spank_number answers. */
#define BURST_SPANK_JOB 0
#define BURST_SPANK_STEP_ID 1
#define BURST_SPANK_NODES 2
#define BURST_SPANK_TASKS_HERE 3
#define BURST_SPANK_TASKS 4
#define BURST_SPANK_TASK 5 /* global id of the callback's task */
#define BURST_SPANK_PID 6  /* its process */

/* The two below return 0, or a code for burst_spank_strerror, and leave `out` alone then. */
int burst_spank_number(void *spank, int what, unsigned int *out);
/* Wait status of the callback's task, as waitpid(2) gives it. */
int burst_spank_status(void *spank, int *out);

/* The step's environment, NULL-terminated and borrowed for the callback; NULL where there is none. */
const char *const *burst_spank_environment(void *spank);

#endif
