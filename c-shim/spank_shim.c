/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The only file of spank_burst.so and spank_burst_node.so that knows slurm/spank.h.
 *
 * Every reference to a symbol of Slurm is made here and not in Rust: calls from this object go through lazily
 * bound PLT entries, so the plugin loads even into a program that lacks one of them.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>

#include <slurm/slurm_errno.h>
#include <slurm/spank.h>

#include "burst_spank.h"

/* src/spank/lib.rs exports the entry points and the option callback with these types. */
_Static_assert(__builtin_types_compatible_p(spank_f, int(spank_t, int, char **)),
	       "this Slurm declares SPANK entry points differently");
_Static_assert(__builtin_types_compatible_p(spank_opt_cb_f, burst_spank_option_fn),
	       "this Slurm declares SPANK option callbacks differently");
_Static_assert(sizeof(spank_t) == sizeof(void *), "a SPANK handle is expected to be a pointer");
_Static_assert(ESPANK_SUCCESS == 0, "zero is expected to mean success");

int burst_spank_where(void)
{
	switch (spank_context()) {
	case S_CTX_ALLOCATOR:
		return BURST_SPANK_SUBMIT;
	case S_CTX_LOCAL:
		return BURST_SPANK_SRUN;
	case S_CTX_REMOTE:
		return BURST_SPANK_STEP;
	default:
		return BURST_SPANK_OTHER;
	}
}

void burst_spank_say(int how, const char *text)
{
	if (!text)
		return;
	/* The text is data, never a format. */
	switch (how) {
	case BURST_SPANK_SAY_ERROR:
		slurm_error("%s", text);
		break;
	case BURST_SPANK_SAY_MORE:
		slurm_spank_log("%s", text);
		break;
	case BURST_SPANK_SAY_INFO:
		slurm_info("%s", text);
		break;
	default:
		slurm_verbose("%s", text);
		break;
	}
}

int burst_spank_register(void *spank, const char *name, const char *arginfo, const char *usage, int has_arg,
			 int val, burst_spank_option_fn callback)
{
	/* Slurm copies the strings (plugstack.c, _spank_option_copy) and writes to none of them. */
	struct spank_option option = {
		.name = (char *)name,
		.arginfo = (char *)arginfo,
		.usage = (char *)usage,
		.has_arg = has_arg,
		.val = val,
		.cb = callback,
	};

	return (int)spank_option_register((spank_t)spank, &option);
}

int burst_spank_job_setenv(void *spank, const char *name, const char *value)
{
	return (int)spank_job_control_setenv((spank_t)spank, name, value, 1);
}

int burst_spank_job_unsetenv(void *spank, const char *name)
{
	return (int)spank_job_control_unsetenv((spank_t)spank, name);
}

const char *burst_spank_strerror(int code)
{
	return spank_strerror((spank_err_t)code);
}

void burst_spank_forget_env(const char *name)
{
	(void)unsetenv(name);
}

int burst_spank_number(void *spank, int what, unsigned int *out)
{
	uint32_t number = 0;
	pid_t pid = 0;
	spank_err_t rc;

	switch (what) {
	case BURST_SPANK_JOB:
		rc = spank_get_item((spank_t)spank, S_JOB_ID, &number);
		break;
	case BURST_SPANK_STEP_ID:
		rc = spank_get_item((spank_t)spank, S_JOB_STEPID, &number);
		break;
	case BURST_SPANK_NODES:
		rc = spank_get_item((spank_t)spank, S_JOB_NNODES, &number);
		break;
	case BURST_SPANK_TASKS_HERE:
		rc = spank_get_item((spank_t)spank, S_JOB_LOCAL_TASK_COUNT, &number);
		break;
	case BURST_SPANK_TASKS:
		rc = spank_get_item((spank_t)spank, S_JOB_TOTAL_TASK_COUNT, &number);
		break;
	case BURST_SPANK_TASK:
		rc = spank_get_item((spank_t)spank, S_TASK_GLOBAL_ID, &number);
		break;
	case BURST_SPANK_PID:
		rc = spank_get_item((spank_t)spank, S_TASK_PID, &pid);
		number = (uint32_t)pid;
		break;
	default:
		return (int)ESPANK_BAD_ARG;
	}
	if (rc == ESPANK_SUCCESS)
		*out = number;
	return (int)rc;
}

int burst_spank_status(void *spank, int *out)
{
	int status = 0;
	spank_err_t rc = spank_get_item((spank_t)spank, S_TASK_EXIT_STATUS, &status);

	if (rc == ESPANK_SUCCESS)
		*out = status;
	return (int)rc;
}

const char *const *burst_spank_environment(void *spank)
{
	char **environment = NULL;

	if (spank_get_item((spank_t)spank, S_JOB_ENV, &environment) != ESPANK_SUCCESS)
		return NULL;
	return (const char *const *)environment;
}
