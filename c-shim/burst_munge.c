/*
 * munge credentials. libmunge is in the process wherever auth/munge is; it is looked up at run time so that the plugin
 * also loads where it is not. Prototypes and numbers: munge(3), munge_ctx(3).
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "burst_shim.h"

#define MUNGE_OPT_SOCKET 8

static struct {
	void *lib;
	void *(*create)(void);
	void (*destroy)(void *);
	int (*set)(void *, int, ...);
	int (*decode)(const char *, void *, void **, int *, uid_t *, gid_t *);
	const char *(*text)(int);
} munge;

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void look_up(void)
{
	munge.lib = dlopen("libmunge.so.2", RTLD_NOW | RTLD_LOCAL);
	if (!munge.lib)
		return;
	munge.create = (void *(*)(void))dlsym(munge.lib, "munge_ctx_create");
	munge.destroy = (void (*)(void *))dlsym(munge.lib, "munge_ctx_destroy");
	munge.set = (int (*)(void *, int, ...))dlsym(munge.lib, "munge_ctx_set");
	munge.decode = (int (*)(const char *, void *, void **, int *, uid_t *, gid_t *))dlsym(munge.lib, "munge_decode");
	munge.text = (const char *(*)(int))dlsym(munge.lib, "munge_strerror");
	if (!munge.create || !munge.destroy || !munge.set || !munge.decode || !munge.text)
		munge.lib = NULL;
}

int burst_munge_decode(const char *socket, const char *credential, char *out, size_t out_size, size_t *out_len,
		       uint32_t *uid, uint32_t *gid)
{
	void *ctx, *payload = NULL;
	int rc, len = 0;
	uid_t u = (uid_t)-1;
	gid_t g = (gid_t)-1;

	pthread_once(&once, look_up);
	if (!munge.lib)
		return -1;
	ctx = munge.create();
	if (!ctx)
		return -1;
	rc = socket ? munge.set(ctx, MUNGE_OPT_SOCKET, socket) : 0;
	if (rc == 0)
		rc = munge.decode(credential, ctx, &payload, &len, &u, &g);
	if (rc == 0 && (len < 0 || (size_t)len > out_size))
		rc = -1;
	if (rc == 0) {
		if (len)
			memcpy(out, payload, (size_t)len);
		*out_len = (size_t)len;
		*uid = u;
		*gid = g;
	}
	free(payload);
	munge.destroy(ctx);
	return rc;
}

const char *burst_munge_strerror(int error)
{
	if (error < 0 || !munge.lib)
		return "libmunge.so.2 cannot be used";
	return munge.text(error);
}
