/*
 * Views and edits inside job_submit/job_modify.
 *
 * This folder is the only place that knows Slurm's structs; version differences are #if SLURM_VERSION_NUMBER here
 * and nowhere else.
 */
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <string.h>

#include "burst_shim.h"
#include "burst_slurm.h"

/* The loader calls these through our Rust exports: the compiler checks here that the types agree with the headers'. */
#define SCRIPT_MAX (64 * 1024)

static burst_str_t str(const char *s)
{
	burst_str_t v = {s, s ? strlen(s) : 0};
	return v;
}

static uint32_t wide(uint16_t v)
{
	if (v == NO_VAL16)
		return BURST_UNSET;
	return v == INFINITE16 ? BURST_INFINITE : v;
}

uint32_t burst_record_job_id(const void *job_desc)
{
	const job_desc_msg_t *d = job_desc;
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(25, 11, 0)
	return d->step_id.job_id;
#else
	return d->job_id;
#endif
}

static int begins(const char *text, const char *prefix)
{
	while (*prefix)
		if (*text++ != *prefix++)
			return 0;
	return 1;
}

/* Whether the first name of a list is among the names. */
static int among(const char *list, const char *names, size_t len)
{
	size_t i = 0, at = 0;

	while (i < len) {
		if (names[i] == '\n') {
			if (at && (!list[at] || list[at] == ','))
				return 1;
			at = 0;
			i++;
		} else if (names[i] == list[at]) {
			at++;
			i++;
		} else {
			while (i < len && names[i] != '\n')
				i++;
			i++;
			at = 0;
		}
	}
	return at && (!list[at] || list[at] == ',');
}

int burst_is_ours(const void *job_desc, const char *names, size_t len, int default_is_ours)
{
	const job_desc_msg_t *d = job_desc;
	const char *p = d->partition;

	if (!p || !*p) {
		if (default_is_ours)
			return 1;
	} else {
		for (;;) {
			if (among(p, names, len))
				return 1;
			while (*p && *p != ',')
				p++;
			if (!*p++)
				break;
		}
	}
	for (uint32_t i = 0; d->spank_job_env && i < d->spank_job_env_size; i++) {
		const char *e = d->spank_job_env[i];

		if (e && (begins(e, "BURST_") || begins(e, "_SLURM_SPANK_OPTION_burst_")))
			return 1;
	}
	return 0;
}

const char *burst_env_next(char *const *env, uint32_t size, uint32_t *at, const char *prefix, size_t len)
{
	for (uint32_t i = *at; i < size; i++) {
		/* a hundred strings, each a cache miss: several are waited for at once */
		if (size - i > 8 && env[i + 8])
			__builtin_prefetch(env[i + 8]);
		if (env[i] && !strncmp(env[i], prefix, len)) {
			*at = i + 1;
			return env[i];
		}
	}
	*at = size;
	return NULL;
}

void burst_view(const void *job_desc, burst_job_view_t *out)
{
	const job_desc_msg_t *d = job_desc;

	memset(out, 0, sizeof(*out));
	out->account = str(d->account);
	out->partition = str(d->partition);
	out->qos = str(d->qos);
	out->name = str(d->name);
	out->comment = str(d->comment);
	out->features = str(d->features);
	out->array = str(d->array_inx);
	out->dependency = str(d->dependency);
	out->req_nodes = str(d->req_nodes);
	out->exc_nodes = str(d->exc_nodes);
	out->tres_per_node = str(d->tres_per_node);
	out->tres_per_task = str(d->tres_per_task);
	out->tres_per_job = str(d->tres_per_job);
	out->tres_per_socket = str(d->tres_per_socket);
	out->job_id_str = str(d->job_id_str);
	out->admin_comment = str(d->admin_comment);
	/* a script can be megabytes: only its leading comment block is ever read */
	out->script.ptr = d->script;
	out->script.len = d->script ? strnlen(d->script, SCRIPT_MAX) : 0;
	out->has_script = d->script != NULL;
	out->env = d->environment;
	out->env_size = d->environment ? d->env_size : 0;
	out->spank_env = d->spank_job_env;
	out->spank_env_size = d->spank_job_env ? d->spank_job_env_size : 0;
	out->job_id = burst_record_job_id(d);
	out->user_id = d->user_id;
	out->min_nodes = d->min_nodes;
	out->max_nodes = d->max_nodes;
	out->num_tasks = d->num_tasks;
	out->min_cpus = d->min_cpus;
	out->cpus_per_task = wide(d->cpus_per_task);
	out->ntasks_per_node = wide(d->ntasks_per_node);
	out->time_limit = d->time_limit;
	out->het_offset = d->het_job_offset;
	out->priority = d->priority;
	out->nice = d->nice;
	out->shared = wide(d->shared);
	out->mem_per_node = BURST_UNSET64;
	out->mem_per_cpu = BURST_UNSET64;
	if (d->pn_min_memory != NO_VAL64) {
		if (d->pn_min_memory & MEM_PER_CPU)
			out->mem_per_cpu = d->pn_min_memory & ~MEM_PER_CPU;
		else
			out->mem_per_node = d->pn_min_memory;
	}
	out->begin_time = (int64_t)d->begin_time;
	out->resizes = d->min_nodes != NO_VAL || d->max_nodes != NO_VAL || d->num_tasks != NO_VAL ||
		       d->min_cpus != NO_VAL || d->cpus_per_task != NO_VAL16 || d->ntasks_per_node != NO_VAL16 ||
		       d->pn_min_memory != NO_VAL64 || d->pn_min_cpus != NO_VAL16 || d->pn_min_tmp_disk != NO_VAL;
}

static void replace(char **field, const char *text)
{
	if (*field)
		slurm_xfree((void **)field);
	*field = slurm_xstrdup(text);
}

void burst_hold(void *job_desc, const char *admin_comment)
{
	job_desc_msg_t *d = job_desc;

	d->priority = 0;
	replace(&d->admin_comment, admin_comment);
}

void burst_set_partition(void *job_desc, const char *partition)
{
	replace(&((job_desc_msg_t *)job_desc)->partition, partition);
}

void burst_drop_priority(void *job_desc)
{
	((job_desc_msg_t *)job_desc)->priority = NO_VAL;
}

void burst_set_message(char **err_msg, const char *text)
{
	if (!err_msg)
		return;
	replace(err_msg, text);
}

int burst_refused(void)
{
	return ESLURM_NOT_SUPPORTED;
}

uint32_t burst_slurm_version(void)
{
	return SLURM_VERSION_NUMBER;
}
