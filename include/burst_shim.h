/*
 * The flat face of Slurm that Rust sees; the only header bindgen reads.
 *
 * No type of Slurm appears here. Strings are sized; a NULL pointer means "not given". Numbers keep Slurm's own
 * sentinels widened to their field: BURST_UNSET (NO_VAL) and BURST_INFINITE. Nothing handed to a callback or filled
 * into a view outlives the call.
 */
#ifndef BURST_SHIM_H
#define BURST_SHIM_H

#include <stddef.h>
#include <stdint.h>

#define BURST_UNSET 0xfffffffeu
#define BURST_INFINITE 0xffffffffu
#define BURST_UNSET64 0xfffffffffffffffeull

typedef struct burst_str {
	const char *ptr;
	size_t len;
} burst_str_t;

/* A job description in job_submit/job_modify. Slurm owns everything pointed to. */
typedef struct burst_job_view {
	burst_str_t account, partition, qos, name, comment, features, array, dependency, req_nodes, exc_nodes;
	burst_str_t tres_per_node, tres_per_task, tres_per_job, tres_per_socket, job_id_str, script, admin_comment;
	char *const *env;
	uint32_t env_size;
	char *const *spank_env;
	uint32_t spank_env_size;
	uint32_t job_id, user_id, min_nodes, max_nodes, num_tasks, min_cpus, cpus_per_task, ntasks_per_node;
	uint32_t time_limit; /* minutes */
	uint32_t het_offset, priority, shared, nice;
	uint64_t mem_per_node, mem_per_cpu; /* MiB */
	int64_t begin_time;
	uint8_t has_script, resizes;
} burst_job_view_t;

/* A record of the job table. */
typedef struct burst_job_record {
	uint32_t job_id, array_job_id, array_task_id, array_max_tasks, user_id, state, restarts, priority;
	uint32_t min_nodes, max_nodes, num_tasks, num_cpus, cpus_per_task, ntasks_per_node, time_limit;
	uint32_t exit_code, derived_exit;
	uint8_t is_array_meta, completing, held_by_admin, held_by_user, requeued, batch;
	int64_t submit, eligible, start, end;
	uint64_t mem_per_node, mem_per_cpu;
	burst_str_t admin_comment, array_tasks, nodes, req_nodes, dependency, partition, account, qos, name, features;
	burst_str_t user_name, state_reason, tres_per_node, licences, tres_alloc;
} burst_job_record_t;

/* base states, as Slurm numbers them */
#define BURST_JOB_PENDING 0
#define BURST_JOB_RUNNING 1
#define BURST_JOB_SUSPENDED 2

/* A record of the node table. */
typedef struct burst_node_record {
	burst_str_t name, address, hostname, reason;
	uint8_t cloud, idle, allocated, down, drain, no_respond, powered_down, powering_up, power_up_asked;
	uint8_t powering_down, power_down_asked, completing;
	uint32_t cpus;
	uint64_t memory;
	int64_t boot, slurmd_start;
} burst_node_record_t;

typedef struct burst_partition_record {
	burst_str_t name, nodes;
	uint32_t default_time, max_time; /* minutes */
	uint8_t is_default;
} burst_partition_record_t;

typedef struct burst_conf_record {
	burst_str_t cluster, state_save, resume_program, suspend_program, auth_info, version, controller;
	burst_str_t controllers; /* every SlurmctldHost, joined by commas */
	uint32_t suspend_timeout, suspend_time, suspend_rate, return_to_service;
	uint32_t kill_wait, over_time_limit, slurm_uid, min_job_age, node_prefix_ok;
	uint8_t this_host_is_primary;
} burst_conf_record_t;

typedef struct burst_licence_record {
	burst_str_t name;
	uint32_t available;
} burst_licence_record_t;

typedef void (*burst_job_fn)(void *ctx, const burst_job_record_t *record);
typedef void (*burst_node_fn)(void *ctx, const burst_node_record_t *record);
typedef void (*burst_partition_fn)(void *ctx, const burst_partition_record_t *record);
typedef void (*burst_licence_fn)(void *ctx, const burst_licence_record_t *record);
typedef void (*burst_conf_fn)(void *ctx, const burst_conf_record_t *record);

/* What an update of a job carries; NULL and BURST_UNSET leave a field alone. */
typedef struct burst_job_update {
	const char *job;
	const char *admin_comment;
	const char *req_nodes;
	const char *partition;
	uint32_t min_nodes, max_nodes, priority;
} burst_job_update_t;

typedef struct burst_node_update {
	const char *names;
	const char *addresses;
	const char *hostnames;
	uint8_t power_down_force;
} burst_node_update_t;

/* In job_submit/job_modify only. No RPC, no I/O. */
/* Whether one of its partitions is among the names (a line each), or a burst option came with it. No libc: every
 * submission of the cluster passes here, with cold caches. */
int burst_is_ours(const void *job_desc, const char *names, size_t len, int default_is_ours);
/* The next entry of an environment from *at on that begins so, or NULL. */
const char *burst_env_next(char *const *env, uint32_t size, uint32_t *at, const char *prefix, size_t len);
void burst_view(const void *job_desc, burst_job_view_t *out);
void burst_hold(void *job_desc, const char *admin_comment);
void burst_set_partition(void *job_desc, const char *partition);
void burst_drop_priority(void *job_desc);
void burst_set_message(char **err_msg, const char *text);
uint32_t burst_record_job_id(const void *job_desc);

/* RPCs to slurmctld; never from job_submit/job_modify. 0, or Slurm's error number. */
int burst_load_jobs(int64_t *since, burst_job_fn fn, void *ctx);
int burst_load_user_jobs(uint32_t uid, burst_job_fn fn, void *ctx);
int burst_load_nodes(int64_t *since, burst_node_fn fn, void *ctx);
int burst_load_partitions(burst_partition_fn fn, void *ctx);
int burst_load_licences(burst_licence_fn fn, void *ctx);
int burst_load_conf(burst_conf_fn fn, void *ctx);
int burst_update_job(const burst_job_update_t *update);
int burst_update_node(const burst_node_update_t *update);
int burst_cancel_job(const char *job);
/* A user's name, as the host's name services tell; may block. Empty where there is none. */
void burst_user_name(uint32_t uid, char *out, size_t size);
/* Whether slurmctld has read its configuration and serves as the active controller. */
int burst_serves(void);
int burst_ping_primary(void);
/* The number meaning "nothing changed since". */
int burst_no_change(void);
/* Whether the number means that trying again later can help. */
int burst_is_passing(int error);
const char *burst_strerror(int error);

/* Into Slurm's own log: 0 error, 1 info, 2 verbose, 3 debug. */
void burst_log(int level, const char *text);

/* munge, looked up in the process at run time. 0, or a munge error number; -1: no libmunge. */
int burst_munge_decode(const char *socket, const char *credential, char *out, size_t out_size, size_t *out_len,
		       uint32_t *uid, uint32_t *gid);
const char *burst_munge_strerror(int error);

/* What job_submit answers for a job it refuses: ESLURM_NOT_SUPPORTED, whose number differs between versions. */
int burst_refused(void);

uint32_t burst_slurm_version(void);
/* Blocks every signal in the calling thread. */
void burst_block_signals(void);

#endif
