/* SPDX-License-Identifier: BSD-3-Clause */
/* What the broker's files share. */
#ifndef PINFOLD_BROKER_PRIVATE_H
#define PINFOLD_BROKER_PRIVATE_H

#include <string.h>
#include <sys/types.h>

#include "base/event.h"
#include "base/list.h"
#include "base/loop.h"
#include "broker/aside.h"
#include "broker/broker.h"
#include "mm/mm.h"
#include "pci/inject.h"
#include "pci/p2p.h"
#include "proto/channel.h"
#include "uapi/ucall.h"

struct session;
struct iommufd_unit;
struct shadow;
struct iommufd;
struct vfio;

/* Copies what a client shares with us. The barrier keeps the compiler from reading a word there a second time, which it
 * may do with memory that it thinks nobody else writes. */
static inline void copy_shared(void *dst, const void *src, size_t n)
{
	memcpy(dst, src, n);
	__asm__ volatile("" : : "r"(dst) : "memory");
}

/* ---- object.c: descriptors that clients hold ---- */
#define OBJECT_BUCKETS 256

/* What one client has made us keep: outlives its session in the objects that were passed on. */
struct quota {
	unsigned int refs;
	unsigned int objects; /* descriptors given out and not closed yet */
	unsigned int fds;     /* descriptors received and not closed yet */
};
struct quota *quota_new(void);
struct quota *quota_get(struct quota *q);
void quota_put(struct quota *q);

/* Something in objects.hangups. ready() must not free another one that is there. */
struct hangup {
	void (*ready)(struct hangup *h, uint32_t events);
};

/* One ufile with two connected sockets: the client's end is what programs hold, ours tells when the last copy is
 * closed. */
struct object {
	struct list node; /* in objects.bucket */
	struct hangup hangup;
	uint64_t id;	 /* random: naming it is the right to use it */
	uint64_t cookie; /* the kernel's number of the client's end, which nobody can forge */
	struct ufile *file;
	struct quota *quota;	 /* of the client that it was made for */
	int fd;			 /* our end */
	struct objects *objects; /* that it is one of */
	uint32_t events;	 /* EPOLL* that are asked for there */
	int weight;		 /* what the system counts for one send that is not read yet; 0: not known yet */
};

struct objects {
	uint64_t broker_id;
	int hangups; /* an epoll set of struct hangup: every object's fd, every session's process */
	struct loop_fd watch;
	struct list bucket[OBJECT_BUCKETS];
	unsigned int count;
	unsigned int per_client;
};

int objects_init(struct objects *os, struct loop *l);
void objects_fini(struct objects *os, struct loop *l); /* releases what is left */
/*
 * Gives file (its first reference) a descriptor: *client_fd is the end for the client, to be sent and closed. 0,
 * -EMFILE (also when q has its share), -ENOMEM, -EIO.
 */
int object_new(struct objects *os, struct ufile *file, struct quota *q, int *client_fd);
struct object *object_find(struct objects *os, uint64_t id);
/* The object behind an open socket, or NULL. */
struct object *object_of_fd(struct objects *os, int fd);
/* Releases every object whose last descriptor has been closed. */
void objects_reap(struct objects *os);

/* ---- call.c: an ioctl in progress ---- */
struct call;
struct call *call_new(struct session *s, unsigned int slot);
void call_free(struct call *c);
/* Takes in the request's parts (a private copy). 0 or -errno. */
int call_receive(struct call *c, const uint8_t *payload, size_t len);
/* Runs the handler, or goes on with a long answer. Fills in the payload; returns the reply's ret. */
long call_run(struct call *c, struct ufile *f, unsigned int cmd, uint64_t arg, uint8_t *payload, uint32_t *len,
	      bool *has_fd, bool *fd_asks, uint64_t *fd_at);

/* ---- closer.c ---- */
struct closer;
struct closer *closer_new(void);    /* NULL: out of memory or descriptors, errno set */
void closer_free(struct closer *c); /* does not wait for what hangs */
/* Closes fd sooner or later, never waiting for it. */
void closer_close(struct closer *c, int fd);
/*
 * One descriptor is kept in reserve, for when there is none left to accept with. After closer_lend (false: it is not
 * back yet) it is free to be taken, and the next to be called gives it back: with what has taken it, or without.
 */
bool closer_lend(struct closer *c);
void closer_close_borrowed(struct closer *c, int fd);
void closer_regain(struct closer *c);
/* The same for any descriptor that a client has sent: at once if it is of a kind that closes without asking anybody. */
void client_fd_close(struct broker *b, int fd);
bool client_fd_closes_at_once(struct broker *b, int fd);

/* ---- known.c: files that a client has shown us: its right to name them ---- */
#define KNOWN_MAX     65536 /* the oldest is forgotten, and asked for again */
#define KNOWN_BUCKETS 1024
#define HELD_MAX      1024

struct known_files {
	struct vfio *vfio; /* whose devices have memory that is not to be shown */
	uint64_t seed;
	struct list bucket[KNOWN_BUCKETS];
	struct list age;   /* of those that are not held: least recently used first */
	struct list holds; /* the others */
	unsigned int count, held;
};
void known_init(struct known_files *k, struct vfio *v, uint64_t seed);
void known_fini(struct known_files *k);
/* The backing of a file that has been shown, with the access it was shown with; a new reference. NULL: not shown, or
 * let go of since. */
struct backing *known_backing(struct known_files *k, struct backing_cache *c, uint64_t dev, uint64_t ino);
/* Takes note of an open file: its backing, a new reference. Errors are backing_get_fd()'s. fd stays the caller's. */
int known_show(struct known_files *k, struct backing_cache *c, int fd, struct backing **b);
/* Shared anonymous memory whose only descriptor is here: kept for as long as the client maps it. */
int known_hold(struct known_files *k, struct backing_cache *c, int fd);
void known_drop(struct known_files *k, uint64_t dev, uint64_t ino);
/* What is known now: all that is held, and of the rest what was used last. NULL: out of memory. */
#define KNOWN_COPY_MAX 4096
_Static_assert(KNOWN_COPY_MAX > HELD_MAX, "a copy has room for all that is held");
struct known_list;
struct known_list *known_copy(const struct known_files *k, struct backing_cache *c);
void known_list_free(struct known_list *l);
/* Adds a copy to what is known; frees the copy. 0, or -errno and some of it is missing. */
int known_inherit(struct known_files *k, struct known_list *l);

/* ---- ticket.c: what a child of fork inherits of its parent's session ---- */
#define TICKETS_MAX    64 /* of one session: more threads than that do not fork at once. The oldest is forgotten */
#define TICKET_BUCKETS 64

struct tickets {
	struct list bucket[TICKET_BUCKETS];
};
void tickets_init(struct tickets *t);
/* A copy of what the client has shown, for who presents this number first while the session lasts. 0, -ENOENT (nothing
 * has been shown), -ENOMEM, -EIO. */
int ticket_new(struct session *s, uint64_t number[2]);
/* Its files are this session's from now on; the number is nobody's any more. 0, -ENOENT, -ENOMEM, -EMFILE. */
int ticket_use(struct session *s, const uint64_t number[2]);
void tickets_drop(struct session *s);

/* For hashes and trees of keys that clients choose: without the seed nobody finds keys that collide. */
static inline uint64_t seeded_hash(uint64_t seed, uint64_t a, uint64_t b)
{
	uint64_t h = seed;

	for (unsigned int i = 0; i < 2; i++) {
		h ^= i ? b : a;
		h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9ull;
		h = (h ^ h >> 27) * 0x94d049bb133111ebull;
		h ^= h >> 31;
		h += seed;
	}
	return h;
}

/* ---- failnth.c: allocations that fail on demand, under --iommufd-test alone ---- */
struct failnth;
struct failnth *failnth_new(struct shadow *s);
void failnth_free(struct failnth *f);
/* A client opens this path below /proc. 0: the file is in the tree now. -ENOENT: no such file; -errno. */
int failnth_open(struct failnth *f, const char *path);
/* Around what is done because the thread asked for it. */
void failnth_begin(struct failnth *f, unsigned int tid);
void failnth_end(struct failnth *f);
uint64_t failnth_injected(const struct failnth *f); /* so far */

/* ---- session.c: one client process ---- */
#define SESSION_FDS_MAX	     512 /* waiting to be asked for */
#define SESSIONS_PER_PROCESS 64
#define MAPPINGS_MAX	     4096 /* objects that a client has mapped */

struct session_fd {
	uint32_t slot;
	int fd;
};

struct session {
	struct list node;
	struct broker *b;
	pid_t pid;
	uint64_t limit;	      /* what it might pin when that was last asked for, in bytes */
	uint64_t id;	      /* counts sessions */
	struct loop_fd watch; /* the socket */
	int pidfd;	      /* -1: none was to be had */
	struct hangup death;  /* of the process */
	struct list dead;     /* in broker.dead */
	struct loop_poll poll;
	struct channel *ch;
	uint32_t tail;	       /* of the ring: ours, not the client's copy of it */
	unsigned int hold;     /* turns for which clients are asked to hold */
	uint32_t calls, walks; /* that brought a stack; of stacks, as far as they are counted */
	uint32_t deepest;      /* bytes that a walk has taken */
	struct mm_owner *owner;
	struct quota *quota;
	uint64_t opened;     /* descriptors that it was given */
	struct object *last; /* the object that the last posted write went to; good for one walk over the ring */
	struct call *call[CHANNEL_SLOTS];
	/* Bits of slots whose call, or whose answer, waits until the file is not busy any more. */
	uint32_t held_calls, held_answers;
	uint64_t held_object[CHANNEL_SLOTS];	/* of an answer */
	size_t call_bytes;			/* that the calls keep */
	struct session_fd fds[SESSION_FDS_MAX]; /* arrived, not yet asked for */
	unsigned int nfds;
	struct list mappings;
	unsigned int nmappings;
	struct known_files known;
	struct list tickets; /* that were given to it and not used yet; the oldest first */
	unsigned int ntickets;
};

int session_accept(struct broker *b, int sock); /* takes the socket */
void session_drain_all(void *broker);		/* carries out what all clients have posted */
void session_free(struct session *s);
/*
 * Releases what has been closed, and ends the sessions whose processes have ended, but for the one that is served. A
 * close that returned, or a wait for a process, before a call was made must have had its effect when the call is
 * served: this runs before each.
 */
void sessions_reap(struct broker *b);
/* The next descriptor that came for this slot, the caller's, to be closed with session_close_fd; -1: none. */
int session_take_fd(struct session *s, unsigned int slot);
void session_close_fd(struct session *s, int fd);
int session_send_fd(struct session *s, unsigned int slot, int fd);
void session_receive(struct session *s); /* takes in what waits on the socket */
void session_discard_fds(struct session *s, unsigned int slot);
void session_hold(struct session *s); /* something is held, and shall be looked at in a while */
void sessions_held(struct loop_timer *t);

/* ---- rpc.c ---- */
bool rpc_serve(struct session *s, unsigned int slot); /* false: there was no request, or it is held */
void rpc_serve_held(struct session *s);
void rpc_drop_mappings(struct session *s);
/* The file of an object that the client has mapped; NULL: it has not. */
struct ufile *rpc_mapped_file(struct session *s, uint64_t object);
/* A posted write. The entry is a private copy. A mapping outlives the descriptor it was made with. */
void rpc_mmio_write(struct session *s, const struct ring_entry *e);

/* ---- listen.c ---- */
/*
 * A listening socket at path, or of an abstract name that nobody guesses and that begins with prefix. A descriptor, and
 * its name as ENV_SOCKET has it; or -errno, perhaps with a line in err. EINVAL: the path's fault.
 */
int listen_at(const char *path, const char *prefix, char *address, size_t size, char *err, size_t errlen);

/* ---- topology.c ---- */
struct placed {
	struct pci_func *f;
	struct pci_func *parent; /* the bridge above, or NULL */
	int group;		 /* -1: not known yet */
	int vfio;		 /* its number there; -1: VFIO does not have it, and it is ours to free */
	int asked;		 /* the group that group= names; -1: none */
	char driver[32];	 /* "": none */
};
struct topology {
	struct placed *v;
	size_t n;
};
int topology_build(struct broker *b, char *err, size_t errlen); /* every -d */
void topology_free(struct broker *b);
int topology_show(struct broker *b, struct pci_func *f);	      /* in the tree. 0 or -errno */
bool topology_has_driver(struct broker *b, const struct pci_func *f); /* from the start */
/* Virtual function i of pf, which the host has just enabled: made, if need be, shown, and bound as autoprobe says. */
int topology_add_vf(struct broker *b, struct pci_func *pf, unsigned int i);
const char *topology_driver(struct broker *b, const struct pci_func *f); /* "": none */
/* What is in the slot above f, or its link, has changed. */
void topology_update(struct broker *b, const struct pci_func *f);

/* ---- fault.c ---- */
void faults_init(struct broker *b);
/* As `--fault` has it. 0; -EINVAL or -ENOMEM with one line in err. */
int fault_add(struct broker *b, const char *text, unsigned int *id, char *err, size_t errlen);
bool fault_drop(struct broker *b, unsigned int id); /* 0: all. False: there is none of that number */
/* The function at an address; NULL: none, or pulled out. */
struct pci_func *func_at(struct broker *b, int domain, int bdf);
/* A function that was pulled out is back. 0, -EBUSY (it is there, or still leaving), -errno. */
int func_insert(struct broker *b, struct pci_func *f);

/* ---- sriov.c: virtual functions come and go ---- */
/*
 * A client opens a file of sysfs for writing, and may. True if what is written there acts: *f, or *err instead.
 */
bool sriov_open(struct broker *b, const char *path, struct ufile **f, int *err);
void sriov_unbound(struct broker *b, struct pci_func *f); /* nobody has it any more */

/* ---- ctl.c: orders from outside ---- */
struct ctl {
	struct loop_fd listener;
	struct list peers;
	unsigned int npeers;
	char address[128];
	const char *unlink; /* NULL: nothing */
	char path[128];
};
int ctl_init(struct broker *b, char *err, size_t errlen);
void ctl_fini(struct broker *b);
void ctl_unbound(struct broker *b, const struct pci_func *f); /* whoever waits for it hears of it */

/* ---- summary.c ---- */
struct check;

struct summary {
	struct event_listener listener;
	uint64_t maps, unmaps, mapped_now, mapped_peak;
	uint64_t pinned_now, pinned_peak;
	uint64_t limit; /* bytes that the least of the programs may pin; UINT64_MAX: none is known */
	uint64_t faults, clients, interrupts, faults_printed;
	uint64_t revoked, refused, taints;
	bool verbose;
};
void summary_init(struct summary *sum, struct events *evs, bool count, bool faults);
void summary_print(const struct summary *sum, struct vfio *v, struct check *c); /* c: or NULL */

struct broker {
	struct broker_options opt;
	struct loop *loop;
	struct events events;
	struct summary summary;
	struct p2p_policy p2p;
	struct aside aside;
	struct check *check; /* NULL: nothing is checked */
	struct iommufd *iommufd;
	struct vfio *vfio;
	struct shadow *shadow;
	const struct iommufd_unit *unit; /* before the functions */
	struct failnth *failnth;	 /* NULL: not under test */
	struct backing_cache *backings;
	struct objects objects;
	struct list sessions;
	struct list dead;	/* sessions that are about to be ended */
	struct loop_timer held; /* for what they hold */
	struct tickets tickets;
	uint64_t sessions_made;
	struct session *serving; /* whose call is being carried out; NULL: nobody's */
	struct mm_user *user;	 /* all clients are one: ours */
	struct closer *closer;
	uint64_t seed;		  /* of seeded_hash */
	unsigned int client_fds;  /* each client's share of our descriptors */
	uint64_t refused_printed; /* when a refusal was last reported */
	struct loop_fd listener, stopper;
	struct topology topo;
	struct ctl ctl;
	struct inject_host inject;
	unsigned int nfaults; /* numbers given to faults so far */
	char address[128];
	bool unlink_socket;
	bool memory_off; /* as announced in the channels */
};

#endif
