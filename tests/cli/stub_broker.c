/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stands in for the broker, so that the command line and the supervision can be tested alone. STUB tells how to behave:
 * a comma separated list of
 *   invalid, fail, crash     broker_new: the user's mistake, a failure of ours, a crash
 *   die, error               broker_serve: killed at once, an error at once
 *   error-end                broker_serve fails when it is told to stop
 *   hang                     never ends
 * STUB_LOG names a file to which each step appends a line.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/broker.h"
#include "devices/device.h"
#include "devices/fault.h"
#include "proto/channel.h"

struct broker {
	int listener;
	bool summary;
	char path[108];
};

static bool told(const char *word)
{
	char list[256], *save = NULL;

	snprintf(list, sizeof(list), "%s", getenv("STUB") ?: "");
	for (char *w = strtok_r(list, ",", &save); w; w = strtok_r(NULL, ",", &save))
		if (!strcmp(w, word))
			return true;
	return false;
}

static void note(const char *fmt, ...)
{
	const char *path = getenv("STUB_LOG");
	FILE *f = path ? fopen(path, "a") : NULL;
	va_list ap;

	if (!f)
		return;
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fputc('\n', f);
	fclose(f);
}

void broker_iommu_help(char *text, size_t size)
{
	snprintf(text, size, "stub IOMMUs\n");
}

struct broker *broker_new(const struct broker_options *o, char *err, size_t errlen)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct broker *b;

	note("new memlock=%llu strict=%d host=%d test=%d summary=%d verbose=%d", (unsigned long long)o->memlock,
	     o->strict, o->host_devices, o->iommufd_test, o->summary, o->verbose);
	for (size_t i = 0; i < o->ndevices; i++)
		note("device %s", o->devices[i]);
	for (size_t i = 0; i < o->nfaults; i++)
		note("fault %s", o->faults[i]);
	if (o->iommu)
		note("iommu %s", o->iommu);
	if (o->control)
		note("control %s", o->control);
	if (told("crash"))
		raise(SIGKILL);
	if (told("invalid") || told("fail")) {
		snprintf(err, errlen, "the stub was told to refuse");
		errno = told("invalid") ? EINVAL : EIO;
		return NULL;
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	b->summary = o->summary;
	b->listener = -1;
	snprintf(b->path, sizeof(b->path), "%s", o->socket ?: "@stub");
	if (o->socket) {
		b->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		strcpy(sun.sun_path, b->path);
		if (bind(b->listener, (struct sockaddr *)&sun, sizeof(sun)) || listen(b->listener, 5)) {
			snprintf(err, errlen, "%s: %s", b->path, strerror(errno));
			close(b->listener);
			free(b);
			errno = EINVAL;
			return NULL;
		}
	}
	return b;
}

const char *broker_address(const struct broker *b)
{
	return b->path;
}

const char *broker_control(const struct broker *b)
{
	return "@stub-control";
}

/* Greets whoever comes; nobody stays. */
static void greet(struct broker *b)
{
	struct hello hello = {.magic = CHANNEL_MAGIC, .version = told("version") ? 99 : CHANNEL_VERSION};
	int fd = accept(b->listener, NULL, NULL);

	note("greet");
	if (send(fd, &hello, sizeof(hello), MSG_NOSIGNAL) < 0)
		note("greet failed");
	close(fd);
}

int broker_serve(struct broker *b, int stop_fd)
{
	struct pollfd p[2] = {{.fd = stop_fd, .events = POLLIN}, {.fd = b->listener, .events = POLLIN}};

	note("serve sid=%d pid=%d", (int)getsid(0), (int)getpid());
	for (int fd = 3; fd < 64; fd++)
		if (fd != stop_fd && fd != b->listener && fcntl(fd, F_GETFD) >= 0)
			note("leaked fd %d", fd);
	if (told("die"))
		raise(SIGKILL);
	if (told("error"))
		return -EIO;
	while (told("hang"))
		pause();
	for (;;) {
		if (poll(p, 2, -1) < 0)
			return -errno;
		if (p[1].revents)
			greet(b);
		if (p[0].revents)
			return told("error-end") ? -EIO : 0;
	}
}

void broker_stop(struct broker *b)
{
}

void broker_program_ended(struct broker *b, uint32_t pid, int status)
{
}

uint64_t broker_free(struct broker *b)
{
	if (b->summary)
		fprintf(stderr, "pinfold: stub summary\n");
	if (b->listener >= 0) {
		close(b->listener);
		unlink(b->path);
	}
	note("free");
	free(b);
	return 0;
}

size_t fault_help(char *buf, size_t len)
{
	return snprintf(buf, len, "stub faults\n");
}

int device_help(const char *spec, char *err, size_t errlen)
{
	if (!strcmp(spec, "help")) {
		puts("stub device types");
		return 0;
	}
	if (!strcmp(spec, "stub,help")) {
		puts("stub keys");
		return 0;
	}
	snprintf(err, errlen, "no such type");
	return -EINVAL;
}
