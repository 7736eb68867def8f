/*
 * RPCs to slurmctld over Slurm's public API, from threads of ours only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "burst_shim.h"
#include "burst_slurm.h"

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

/* Slurm's calls answer -1 and leave the reason in errno, some answer the number itself. */
static int failed(int rc)
{
	if (rc == SLURM_SUCCESS)
		return 0;
	if (rc > 0)
		return rc;
	return errno ? errno : SLURM_ERROR;
}

/*
 * Slurm's name of a reason. The function is in every slurmctld but in no public header, and has changed its name
 * (slurm-22.05 src/common/slurm_protocol_defs.c job_reason_string, slurm-23.11 job_state_reason_string): looked up, so
 * that a Slurm without it only costs the name.
 */
static const char *reason_name(uint32_t reason)
{
	typedef char *(*name_fn)(unsigned int);
	static name_fn known;
	static int looked;

	if (!__atomic_load_n(&looked, __ATOMIC_ACQUIRE)) {
		void *f = dlsym(RTLD_DEFAULT, "slurm_job_state_reason_string");

		if (!f)
			f = dlsym(RTLD_DEFAULT, "slurm_job_reason_string");
		__atomic_store_n(&known, (name_fn)f, __ATOMIC_RELEASE);
		__atomic_store_n(&looked, 1, __ATOMIC_RELEASE);
	}
	return known ? known(reason) : NULL;
}

static void emit_job(const slurm_job_info_t *j, burst_job_fn fn, void *ctx)
{
	burst_job_record_t r;

	memset(&r, 0, sizeof(r));
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(25, 11, 0)
	r.job_id = j->step_id.job_id;
#else
	r.job_id = j->job_id;
#endif
	r.array_job_id = j->array_job_id;
	r.array_task_id = j->array_task_id;
	r.array_max_tasks = j->array_max_tasks;
	r.is_array_meta = j->array_task_str != NULL;
	r.user_id = j->user_id;
	r.state = j->job_state & JOB_STATE_BASE;
	r.completing = (j->job_state & JOB_COMPLETING) != 0;
	r.requeued = (j->job_state & (JOB_REQUEUE | JOB_REQUEUE_HOLD | JOB_SPECIAL_EXIT)) != 0;
	r.restarts = j->restart_cnt;
	r.priority = j->priority;
	r.held_by_admin = j->priority == 0 && j->state_reason == WAIT_HELD;
	r.held_by_user = j->priority == 0 && j->state_reason == WAIT_HELD_USER;
	r.batch = j->batch_flag != 0;
	r.min_nodes = j->num_nodes;
	r.max_nodes = j->max_nodes;
	r.num_tasks = j->num_tasks;
	r.num_cpus = j->num_cpus;
	r.cpus_per_task = wide(j->cpus_per_task);
	r.ntasks_per_node = wide(j->ntasks_per_node);
	r.time_limit = j->time_limit;
	r.exit_code = j->exit_code;
	r.derived_exit = j->derived_ec;
	r.submit = (int64_t)j->submit_time;
	r.eligible = (int64_t)j->eligible_time;
	r.start = (int64_t)j->start_time;
	r.end = (int64_t)j->end_time;
	r.mem_per_node = BURST_UNSET64;
	r.mem_per_cpu = BURST_UNSET64;
	if (j->pn_min_memory & MEM_PER_CPU)
		r.mem_per_cpu = j->pn_min_memory & ~MEM_PER_CPU;
	else if (j->pn_min_memory)
		r.mem_per_node = j->pn_min_memory;
	r.admin_comment = str(j->admin_comment);
	r.array_tasks = str(j->array_task_str);
	r.nodes = str(j->nodes);
	r.req_nodes = str(j->req_nodes);
	r.dependency = str(j->dependency);
	r.partition = str(j->partition);
	r.account = str(j->account);
	r.qos = str(j->qos);
	r.name = str(j->name);
	r.features = str(j->features);
	r.user_name = str(j->user_name);
	r.state_reason = str(j->state_reason == WAIT_NO_REASON ? NULL : reason_name(j->state_reason));
	r.licences = str(j->licenses);
	r.tres_per_node = str(j->tres_per_node);
	r.tres_alloc = str(j->tres_alloc_str);
	fn(ctx, &r);
}

static int emit_jobs(int rc, job_info_msg_t *msg, int64_t *since, burst_job_fn fn, void *ctx)
{
	if (rc != SLURM_SUCCESS || !msg)
		return failed(rc);
	for (uint32_t i = 0; i < msg->record_count; i++)
		emit_job(&msg->job_array[i], fn, ctx);
	if (since)
		*since = (int64_t)msg->last_update;
	slurm_free_job_info_msg(msg);
	return 0;
}

int burst_load_jobs(int64_t *since, burst_job_fn fn, void *ctx)
{
	job_info_msg_t *msg = NULL;
	int rc;

	errno = 0;
	rc = slurm_load_jobs((time_t)*since, &msg, SHOW_ALL);
	return emit_jobs(rc, msg, since, fn, ctx);
}

int burst_load_user_jobs(uint32_t uid, burst_job_fn fn, void *ctx)
{
	job_info_msg_t *msg = NULL;
	int rc;

	errno = 0;
	/* SHOW_LOCAL: without it the federation is asked for first. */
	rc = slurm_load_job_user(&msg, uid, SHOW_ALL | SHOW_LOCAL);
	return emit_jobs(rc, msg, NULL, fn, ctx);
}

int burst_load_nodes(int64_t *since, burst_node_fn fn, void *ctx)
{
	node_info_msg_t *msg = NULL;
	int rc;

	errno = 0;
	rc = slurm_load_node((time_t)*since, &msg, SHOW_ALL);
	if (rc != SLURM_SUCCESS)
		return failed(rc);
	for (uint32_t i = 0; i < msg->record_count; i++) {
		const node_info_t *n = &msg->node_array[i];
		burst_node_record_t r;
		uint32_t base = n->node_state & NODE_STATE_BASE;

		if (!n->name)
			continue;
		memset(&r, 0, sizeof(r));
		r.name = str(n->name);
		r.address = str(n->node_addr);
		r.hostname = str(n->node_hostname);
		r.reason = str(n->reason);
		r.cloud = (n->node_state & NODE_STATE_CLOUD) != 0;
		r.idle = base == NODE_STATE_IDLE;
		r.allocated = base == NODE_STATE_ALLOCATED || base == NODE_STATE_MIXED;
		r.down = base == NODE_STATE_DOWN || base == NODE_STATE_ERROR;
		r.drain = (n->node_state & (NODE_STATE_DRAIN | NODE_STATE_FAIL)) != 0;
		r.no_respond = (n->node_state & NODE_STATE_NO_RESPOND) != 0;
		r.powered_down = (n->node_state & NODE_STATE_POWERED_DOWN) != 0;
		r.powering_up = (n->node_state & NODE_STATE_POWERING_UP) != 0;
		r.power_up_asked = (n->node_state & NODE_STATE_POWER_UP) != 0;
		r.powering_down = (n->node_state & NODE_STATE_POWERING_DOWN) != 0;
		r.power_down_asked = (n->node_state & (NODE_STATE_POWER_DOWN | NODE_STATE_POWER_DRAIN)) != 0;
		r.completing = (n->node_state & NODE_STATE_COMPLETING) != 0;
		r.cpus = n->cpus;
		r.memory = n->real_memory;
		r.boot = (int64_t)n->boot_time;
		r.slurmd_start = (int64_t)n->slurmd_start_time;
		fn(ctx, &r);
	}
	*since = (int64_t)msg->last_update;
	slurm_free_node_info_msg(msg);
	return 0;
}

int burst_load_partitions(burst_partition_fn fn, void *ctx)
{
	partition_info_msg_t *msg = NULL;
	int rc;

	errno = 0;
	rc = slurm_load_partitions((time_t)0, &msg, SHOW_ALL);
	if (rc != SLURM_SUCCESS)
		return failed(rc);
	for (uint32_t i = 0; i < msg->record_count; i++) {
		const partition_info_t *p = &msg->partition_array[i];
		burst_partition_record_t r;

		memset(&r, 0, sizeof(r));
		r.name = str(p->name);
		r.nodes = str(p->nodes);
		r.default_time = p->default_time;
		r.max_time = p->max_time;
		r.is_default = (p->flags & PART_FLAG_DEFAULT) != 0;
		fn(ctx, &r);
	}
	slurm_free_partition_info_msg(msg);
	return 0;
}

int burst_load_licences(burst_licence_fn fn, void *ctx)
{
	license_info_msg_t *msg = NULL;
	int rc;

	errno = 0;
	rc = slurm_load_licenses((time_t)0, &msg, SHOW_ALL);
	if (rc != SLURM_SUCCESS)
		return failed(rc);
	for (uint32_t i = 0; i < msg->num_lic; i++) {
		burst_licence_record_t r = {str(msg->lic_array[i].name), msg->lic_array[i].available};

		fn(ctx, &r);
	}
	slurm_free_license_info_msg(msg);
	return 0;
}

/* Full names and short ones both occur in SlurmctldHost. */
static int same_host(const char *a, const char *b)
{
	size_t la, lb;

	if (!a || !b)
		return 0;
	la = strcspn(a, ".");
	lb = strcspn(b, ".");
	return la == lb && strncmp(a, b, la) == 0;
}

int burst_load_conf(burst_conf_fn fn, void *ctx)
{
	slurm_conf_t *c = NULL;
	burst_conf_record_t r;
	char host[256] = "";
	char all[4096] = "";
	size_t used = 0;
	int rc;

	errno = 0;
	rc = slurm_load_ctl_conf((time_t)0, &c);
	if (rc != SLURM_SUCCESS)
		return failed(rc);
	memset(&r, 0, sizeof(r));
	r.cluster = str(c->cluster_name);
	r.state_save = str(c->state_save_location);
	r.resume_program = str(c->resume_program);
	r.suspend_program = str(c->suspend_program);
	r.auth_info = str(c->authinfo);
	r.version = str(c->version);
	r.suspend_timeout = c->suspend_timeout;
	r.suspend_time = c->suspend_time;
	r.suspend_rate = c->suspend_rate;
	r.return_to_service = c->ret2service;
	r.kill_wait = c->kill_wait;
	r.over_time_limit = wide(c->over_time_limit);
	r.slurm_uid = c->slurm_user_id;
	r.min_job_age = c->min_job_age;
	for (uint32_t i = 0; c->control_machine && i < c->control_cnt; i++) {
		const char *name = c->control_machine[i] ? c->control_machine[i] : "";
		int more = snprintf(all + used, sizeof(all) - used, "%s%s", used ? "," : "", name);

		if (more < 0 || (size_t)more >= sizeof(all) - used) {
			all[used] = '\0';
			break;
		}
		used += (size_t)more;
	}
	r.controllers = str(all);
	if (c->control_cnt > 0 && c->control_machine) {
		r.controller = str(c->control_machine[0]);
		if (gethostname(host, sizeof(host) - 1) == 0)
			r.this_host_is_primary = same_host(host, c->control_machine[0]) ||
						 same_host("localhost", c->control_machine[0]);
	}
	fn(ctx, &r);
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(26, 5, 0)
	slurm_free_conf(c);
#else
	slurm_free_ctl_conf(c);
#endif
	return 0;
}

int burst_update_job(const burst_job_update_t *u)
{
	job_desc_msg_t d;
	job_array_resp_msg_t *resp = NULL;
	int rc;

	slurm_init_job_desc_msg(&d);
	d.job_id_str = (char *)u->job;
	d.admin_comment = (char *)u->admin_comment;
	d.req_nodes = (char *)u->req_nodes;
	d.partition = (char *)u->partition;
	d.min_nodes = u->min_nodes;
	d.max_nodes = u->max_nodes;
	d.priority = u->priority;
	errno = 0;
	rc = failed(slurm_update_job2(&d, &resp));
	if (resp) {
		for (uint32_t i = 0; rc == 0 && i < resp->job_array_count; i++)
			rc = (int)resp->error_code[i];
		slurm_free_job_array_resp(resp);
	}
	return rc;
}

int burst_update_node(const burst_node_update_t *u)
{
	update_node_msg_t m;

	slurm_init_update_node_msg(&m);
	m.node_names = (char *)u->names;
	m.node_addr = (char *)u->addresses;
	m.node_hostname = (char *)u->hostnames;
	if (u->power_down_force) /* source: slurm-22.05 src/scontrol/update_node.c, POWER_DOWN_FORCE */
		m.node_state = NODE_STATE_POWER_DOWN | NODE_STATE_POWERED_DOWN;
	errno = 0;
	return failed(slurm_update_node(&m));
}

int burst_cancel_job(const char *job)
{
	errno = 0;
	return failed(slurm_kill_job2(job, SIGKILL, 0, NULL));
}

/*
 * control_time is when this slurmctld became the active controller: set once it has read slurm.conf, just before it
 * serves (slurm-22.05 src/slurmctld/controller.c main). A call of the API before that meets a slurm_conf that is being
 * read anew, and Slurm before 23.11.2 then divides by its port count of 0 (src/common/slurm_protocol_api.c
 * slurm_open_controller_conn). Looked up, so that a Slurm without it only loses the wait.
 */
int burst_serves(void)
{
	const volatile time_t *since = dlsym(RTLD_DEFAULT, "control_time");

	return !since || *since != 0;
}

int burst_ping_primary(void)
{
	errno = 0;
	return failed(slurm_ping(0));
}

void burst_user_name(uint32_t uid, char *out, size_t size)
{
	struct passwd entry, *found = NULL;
	char buf[16384];

	out[0] = '\0';
	if (getpwuid_r(uid, &entry, buf, sizeof(buf), &found) == 0 && found)
		snprintf(out, size, "%s", found->pw_name);
}

int burst_no_change(void)
{
	return SLURM_NO_CHANGE_IN_DATA;
}

int burst_is_passing(int e)
{
	return e == EAGAIN || e == EINTR || e == ETIMEDOUT || e == ECONNREFUSED || e == ECONNRESET ||
	       e == SLURM_COMMUNICATIONS_CONNECTION_ERROR || e == SLURM_COMMUNICATIONS_SEND_ERROR ||
	       e == SLURM_COMMUNICATIONS_RECEIVE_ERROR || e == SLURM_PROTOCOL_SOCKET_IMPL_TIMEOUT;
}

const char *burst_strerror(int error)
{
	return slurm_strerror(error);
}

void burst_log(int level, const char *text)
{
	if (level == 0)
		slurm_error("burst: %s", text);
	else if (level == 1)
		slurm_info("burst: %s", text);
	else if (level == 2)
		slurm_verbose("burst: %s", text);
	else
		slurm_debug("burst: %s", text);
}

void burst_block_signals(void)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
}
