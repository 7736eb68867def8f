/* Symbols slurmctld exports but slurm.h does not declare (source: slurm-22.05 src/common/xstring.h, xmalloc.h, log.h). */
#ifndef BURST_SLURM_H
#define BURST_SLURM_H

#include <stddef.h>

extern char *slurm_xstrdup(const char *str);
extern void slurm_xfree(void **item);
extern void slurm_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern void slurm_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern void slurm_verbose(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern void slurm_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
