/* SPDX-License-Identifier: BSD-3-Clause */
/* What the broker's files share. */
#ifndef PINFOLD_BROKER_PRIVATE_H
#define PINFOLD_BROKER_PRIVATE_H

#include <sys/types.h>

#include "base/event.h"
#include "base/list.h"
#include "base/loop.h"
#include "broker/broker.h"
#include "mm/mm.h"
#include "proto/channel.h"
#include "uapi/ucall.h"

struct session;
struct shadow;
struct vfio;

/* ---- object.c: descriptors that clients hold ---- */
#define OBJECT_BUCKETS 256

/* One ufile with a socket pair: the client's end is what programs hold, ours tells when the last copy is closed. */
struct object {
	struct list node; /* in objects.bucket */
	uint64_t id;	  /* random: naming it is the right to use it */
	struct ufile *file;
	int fd; /* our end */
};

struct objects {
	uint64_t broker_id;
	int hangups; /* an epoll set of every object's fd */
	struct loop_fd watch;
	struct list bucket[OBJECT_BUCKETS];
	unsigned int count;
};

int objects_init(struct objects *os, struct loop *l);
void objects_fini(struct objects *os, struct loop *l); /* releases what is left */
/* Gives file (its first reference) a descriptor: *client_fd is the end for the client, to be sent and closed. 0 or
 * -errno. */
int object_new(struct objects *os, struct ufile *file, int *client_fd);
struct object *object_find(struct objects *os, uint64_t id);
/* The object behind an open socket, or NULL. */
struct object *object_of_fd(struct objects *os, int fd);
/*
 * Releases every object whose last descriptor has been closed. A close that returned before a call was made must have
 * had its effect when the call is served: this runs before each.
 */
void objects_reap(struct objects *os);

/* ---- call.c: an ioctl in progress ---- */
struct call;
struct call *call_new(struct session *s, unsigned int slot);
void call_free(struct call *c);
/* Takes in the request's parts. 0 or -errno. */
int call_receive(struct call *c, const uint8_t *payload, size_t len);
/* Runs the handler, or goes on with a long answer. Fills in the payload; returns the reply's ret. */
long call_run(struct call *c, struct ufile *f, unsigned int cmd, uint64_t arg, uint8_t *payload, uint32_t *len,
	      bool *has_fd);

/* ---- session.c: one client process ---- */
#define SESSION_FDS_MAX 512

struct session_fd {
	uint32_t slot;
	int fd;
};

struct session {
	struct list node;
	struct broker *b;
	pid_t pid;
	struct loop_fd watch; /* the socket */
	struct loop_poll poll;
	struct channel *ch;
	uint32_t tail; /* of the ring: ours, not the client's copy of it */
	unsigned int hold; /* turns for which clients are asked to hold */
	struct mm_owner *owner;
	bool may_lock;	     /* CAP_IPC_LOCK */
	struct object *last; /* the last object that a posted write went to */
	struct call *call[CHANNEL_SLOTS];
	struct session_fd fds[SESSION_FDS_MAX]; /* arrived, not yet asked for */
	unsigned int nfds;
	struct list mappings, known;
	unsigned int nknown;
};

int session_accept(struct broker *b, int sock); /* takes the socket */
void session_free(struct session *s);
/* The next descriptor that came for this slot, the caller's; -1: none. */
int session_take_fd(struct session *s, unsigned int slot);
int session_send_fd(struct session *s, unsigned int slot, int fd);
/* Files that this client has shown us: its right to name them. */
bool session_knows(struct session *s, uint64_t dev, uint64_t ino);
int session_learn(struct session *s, int fd, uint64_t *dev, uint64_t *ino);

/* Shared anonymous memory whose only descriptor is here: known for as long as the client maps it. */
int session_hold(struct session *s, int fd);
void session_drop(struct session *s, uint64_t dev, uint64_t ino);
void session_receive(struct session *s); /* takes in what waits on the socket */
void session_discard_fds(struct session *s, unsigned int slot);

/* ---- rpc.c ---- */
void rpc_serve(struct session *s, unsigned int slot);
void rpc_drop_mappings(struct session *s);
/* A posted write. The entry is a private copy. A mapping outlives the descriptor it was made with. */
void rpc_mmio_write(struct session *s, const struct ring_entry *e);

/* ---- summary.c ---- */
struct summary {
	struct event_listener listener;
	uint64_t maps, unmaps, mapped_now, mapped_peak;
	uint64_t pinned_now, pinned_peak;
	uint64_t faults, clients, interrupts, faults_printed;
	bool verbose;
};
void summary_init(struct summary *sum, struct events *evs, bool count);
void summary_print(const struct summary *sum, struct vfio *v);

struct broker {
	struct broker_options opt;
	struct loop *loop;
	struct events events;
	struct summary summary;
	struct vfio *vfio;
	struct shadow *shadow;
	struct backing_cache *backings;
	struct objects objects;
	struct list sessions;
	struct loop_fd listener, stopper;
	char address[128];
	bool unlink_socket;
};

#endif
