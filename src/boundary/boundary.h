/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The boundary: a small library preloaded into the program. It stands where the syscall instruction stands: it
 * recognises the few system calls and memory accesses that concern VFIO, forwards them to the broker, and knows no
 * device and no policy.
 *
 * Rules for code in here, because it runs inside someone else's process, in a signal handler, at any instruction:
 *   - freestanding: no libc, no thread-local storage (errno, stack protector), no malloc, no lock that a thread of the
 * program can hold while it is interrupted by us (handlers run with every asynchronous signal blocked);
 *   - the program's stack may be small: big buffers come from scratch_get();
 *   - a pointer of the program is touched with guard_copy alone;
 *   - the program sees the return value and the memory that Linux would have left, and no other trace;
 *   - a call that is let through may block and be interrupted: it runs after the handler has returned (trap_resume),
 * never within; what only looks at a path (stat) does not count as such.
 */
#ifndef PINFOLD_BOUNDARY_BOUNDARY_H
#define PINFOLD_BOUNDARY_BOUNDARY_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#include "base/guard.h"
#include "base/lock.h"
#include "base/util.h"
#include "boundary/path.h"
#include "boundary/sys.h"
#include "proto/channel.h"

/* ---- string.c ---- */
void *memcpy(void *restrict d, const void *restrict s, size_t n);
void *memset(void *d, int c, size_t n);
void *memmove(void *d, const void *s, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
uint64_t parse_number(const char **p, unsigned int base);
char *format_number(char *p, uint64_t v, unsigned int base, unsigned int digits); /* returns the end */

/* ---- init.c: facts of this process image ---- */
struct image {
	const char *preload; /* absolute path of this library */
	char socket[108];    /* value of ENV_SOCKET: copied, programs write their title over their environment */
	const char *exe;     /* what /proc/self/exe shall say, if not what the kernel says */
	char shadow[224];    /* root of the tree, "" until known */
	uint32_t keep_first; /* keep.c */
	bool host_devices;
	bool tasks;	    /* the broker asks which thread calls */
	bool stacks;	    /* and from where */
	bool fsgsbase;	    /* user code may read its segment bases */
	struct text_range { /* code whose system calls are ours to see */
		uint64_t start, end;
	} text[8];
	unsigned int ntext;
};
extern struct image image;

/* ---- filter.c ---- */
#define FILTER_TRAP_DATA 0x7066 /* arrives as si_errno: tells our traps from those of a filter of the program's */
enum filter_kind {
	FILTER_ALL,    /* what is always of interest */
	FILTER_FOLLOW, /* what changes mappings beside that, for every thread */
	FILTER_WATCH,  /* what takes memory away beside that, likewise */
	FILTER_WRITE,  /* write(), once there is a descriptor for which WRITE has answers, likewise */
};
int filter_install(enum filter_kind kind); /* 0 or -errno */

/* ---- trap.c: SIGSYS ---- */
void trap_handler(int sig, siginfo_t *si, void *uc);
/* Leaves the handler so that the trapped call runs as it is (arguments in the frame may have been changed). */
void trap_resume(ucontext_t *uc);
/* The same, with n bytes reserved below the red zone of the program's stack; returns their address. Arguments 1, 4, 5
 * and 6 may be changed afterwards: the program finds them as they were. */
void *trap_resume_with(ucontext_t *uc, size_t n);
#define UC_ARG1(uc) ((uc)->uc_mcontext.gregs[REG_RDI])
#define UC_ARG2(uc) ((uc)->uc_mcontext.gregs[REG_RSI])
#define UC_ARG3(uc) ((uc)->uc_mcontext.gregs[REG_RDX])
#define UC_ARG4(uc) ((uc)->uc_mcontext.gregs[REG_R10])
#define UC_ARG5(uc) ((uc)->uc_mcontext.gregs[REG_R8])
#define UC_ARG6(uc) ((uc)->uc_mcontext.gregs[REG_R9])
#define UC_RET(uc)  ((uc)->uc_mcontext.gregs[REG_RAX])
#define UC_SP(uc)   ((uc)->uc_mcontext.gregs[REG_RSP])
#define UC_IP(uc)   ((uc)->uc_mcontext.gregs[REG_RIP])

/* ---- scratch.c: buffers too big for a program's stack ---- */
struct scratch {
	_Atomic uint32_t taken;	 /* 0 = free; the kernel may clear it (exec.c) */
	uint64_t room, room_len; /* a mapping that goes with it, unmapped by the next to take it */
	struct path_result path;
	char buf[8192];
	_Alignas(16) uint8_t stack[16384];
};
struct scratch *scratch_get(void); /* waits for one, never fails; the caller holds none, and no slot of the channel */
/* One more: who holds one of these and waits for another must hold describe_lock, so that it cannot wait for itself. */
struct scratch *scratch_get_nested(void);
void scratch_put(struct scratch *s);
void scratch_after_fork(void);

/* ---- process.c: state that a fork must not inherit ---- */
/*
 * Where threads wait for one of several things to become free. Waiting: gate_enter; look; if there is nothing,
 * gate_wait and look again; gate_leave. Who gives one back opens the gate. Nobody waits for long: a child that shares
 * this memory may be killed with what it took, and the kernel gives it back without a word.
 */
struct gate {
	_Atomic uint32_t event, waiting;
};
uint32_t gate_enter(struct gate *g);
void gate_wait(struct gate *g, uint32_t seen);
void gate_leave(struct gate *g);
void gate_open(struct gate *g);

struct process {
	uint32_t pid; /* 0 in a child that fork has just made */
	_Atomic uint32_t lock;
	struct channel *channel;
	int sock;
	uint64_t sock_ino;
	uint64_t broker_id;
	_Atomic uint32_t fd_lock;
	uint32_t hold_skip;	  /* posts that do not wait; a lost update does no harm */
	uint32_t holds;		  /* likewise */
	uint64_t last_offset;	  /* of the last posted write; likewise */
	struct gate slots;	  /* free ones of the channel */
	int stash[CHANNEL_SLOTS]; /* descriptors that arrived for another thread's slot, + 1 */
};
extern struct process *process; /* a page that fork wipes */
int process_init(void);
bool process_is_vfork_child(void);
void wait_turn(unsigned int *turns); /* in a loop that waits for another thread; *turns starts as 0 */
void spin_lock(_Atomic uint32_t *l, enum lock_class c);
void spin_unlock(_Atomic uint32_t *l, enum lock_class c);
void process_fork(ucontext_t *uc);    /* fork and clone without CLONE_VM */
void process_traceme(ucontext_t *uc); /* ptrace(PTRACE_TRACEME) */
void process_traceme_now(void);	      /* before an execve that is likely to succeed */

/* ---- order.c: is the order of locks kept? ---- */
#ifdef LOCK_CHECK
uint32_t order_self(void); /* the calling thread */
void order_take(enum lock_class c);
void order_drop(enum lock_class c);
void order_after_fork(uint32_t parent); /* in the child, which holds what that thread of its parent's held */
#else
static inline uint32_t order_self(void)
{
	return 0;
}
static inline void order_take(enum lock_class c)
{
}
static inline void order_drop(enum lock_class c)
{
}
static inline void order_after_fork(uint32_t parent)
{
}
#endif

/* ---- rpc.c: calls to the broker ---- */
struct rpc {
	struct channel *ch;
	struct slot *slot;
	unsigned int n;
	uint8_t *payload;
};
int rpc_begin(struct rpc *r, enum rpc_op op, uint64_t object); /* 0 or -EIO: no broker */
int rpc_send_fd(struct rpc *r, int fd);			       /* counts it in the request. 0 or -errno */
long rpc_call(struct rpc *r);				       /* the reply's ret */
int rpc_recv_fd(struct rpc *r); /* when the reply has SLOT_HAS_FD: descriptor (O_CLOEXEC) or -errno */
void rpc_end(struct rpc *r);
int rpc_connect(void);							  /* 0 or -EIO; learns image.shadow */
void rpc_origin(struct rpc *r, const ucontext_t *uc);			  /* says where the program is that calls */
void rpc_origin_at(struct rpc *r, uint64_t ip, uint64_t sp, uint64_t bp); /* likewise; with image.stacks alone */
void rpc_crash(int sig, uint64_t addr, const ucontext_t *uc); /* the last words; if there is somebody who wants them */
/* ip: of the program's instruction. */
void rpc_post_write(uint64_t object, uint64_t offset, unsigned int size, uint64_t value, uint64_t ip);
/* 0, or -EIO: nothing answers there now: SIGBUS. */
int rpc_mmio_read(uint64_t object, uint64_t offset, unsigned int size, uint64_t *v, uint64_t ip);
bool rpc_mmio_refused(uint64_t object, uint64_t offset, uint64_t generation, uint64_t ip); /* likewise */
struct insn;
int rpc_decode(const uint8_t *code, size_t n, struct insn *out);

/* ---- object.c: descriptors of ours ---- */
bool object_of_fd(int fd, uint64_t *object);
void object_ioctl(ucontext_t *uc);
void object_pread(ucontext_t *uc);
void object_iov(ucontext_t *uc, bool write, bool has_flags); /* preadv and its kin */
void object_write(ucontext_t *uc);
void object_watch_writes(void); /* there is a descriptor whose writes the broker answers */
bool object_is(int fd);
void object_read(ucontext_t *uc); /* of a descriptor that EMPTY answers for */
void object_pwrite(ucontext_t *uc);
/* What it is, as /proc/self/fd shows it: the length, not ended by a NUL. -1: not ours. */
long object_name(int fd, char *out, size_t size);

/* ---- keep.c: our own descriptor ---- */
/* Where it lives: KEEP_FD_COUNT numbers from image.keep_first on, in which closing and replacing is looked at. */
#define KEEP_FD_FIRST 900 /* lower where the limit on descriptors is */
#define KEEP_FD_COUNT 64
#define ASK_FD_COUNT  32 /* behind them: the program's, whose read() is seen */
void keep_init(void);
int keep_move_asking(int fd); /* one of the program's, to the range behind it, likewise */
int keep_move(int fd);	      /* to that range if the limit on descriptors allows; the new number */
bool keep_holds(void);	      /* process->sock is still ours */
void keep_syscall(ucontext_t *uc, long nr);

/* ---- files.c: system calls with paths ---- */
void file_syscall(ucontext_t *uc, long nr);

/* ---- node.c: what stat says of devices ---- */
long node_dress(long nr, uint64_t out); /* the answer of stat call nr about a node in the tree. 0 or -EFAULT */
/* Descriptors of ours. False: it is not, nothing done. */
bool node_fstat(ucontext_t *uc, int fd, uint64_t out, struct scratch *s);
bool node_statx(ucontext_t *uc, int fd, uint64_t flags, uint64_t mask, uint64_t out, struct scratch *s);
void node_fstat_syscall(ucontext_t *uc);

/* ---- look.c: does a path lead to a place of ours, whatever its text? ---- */
enum look {
	LOOK_ELSEWHERE, /* certainly not */
	LOOK_MISSING,	/* the kernel finds nothing there */
	LOOK_MAYBE,
};
enum look look(int dirfd, const char *path, bool follow);
struct stat;
enum look look_found(const struct stat *st); /* for who has asked already */
/* The error of a way without links; -ELOOP: there is one, or another error; 0: something is there. */
long look_missing(int dirfd, const char *path, bool follow);

/* ---- window.c: mapped BARs ---- */
bool window_mmap(ucontext_t *uc);		  /* false: not a descriptor of ours, nothing done */
void window_forget(uint64_t start, uint64_t len); /* the program unmaps or replaces this range */
bool window_fault(ucontext_t *uc, siginfo_t *si); /* true: handled; else si may say another signal */
/* Is it in a mapping of ours? Then of which object, at what file offset, and how many bytes of it are from here on. */
bool window_locate(uint64_t addr, uint64_t *object, uint64_t *offset, uint64_t *left);
bool window_overlaps(uint64_t start, uint64_t len);
void window_move(uint64_t from, uint64_t len, uint64_t to); /* the program has moved it */
void window_lock(void);
void window_unlock(void);
void window_after_fork(void);

/* ---- memory.c: the program's memory, as pages that the broker can reach ---- */
/*
 * Describes [va, va + len) as PART_PAGES (with the PART_BACKINGs it needs) appended to the request in r. Private
 * anonymous memory is moved into a memfd in place. Returns 0 (the part itself carries an error if memory cannot be had)
 * or -ENOSPC (no room).
 */
int memory_describe(struct rpc *r, uint64_t va, uint64_t len, bool fresh); /* fresh: what was adopted before, again */
int memory_send_backing(struct rpc *r, uint64_t dev, uint64_t ino);
bool memory_fault(uint64_t addr); /* was a write to a range that is being moved: true, after it is over */
long stack_call(long (*fn)(void *), void *arg, void *stack_top); /* stub.S */
void memory_mmap(ucontext_t *uc);
void memory_munmap(ucontext_t *uc);
void memory_mremap(ucontext_t *uc);
void memory_madvise(ucontext_t *uc);
void memory_forget(uint64_t start, uint64_t len); /* this range is being unmapped or replaced */
bool memory_has_adopted(void);
struct vma;
bool memory_is_adopted(const struct vma *v);
/* Around fork: no other thread is half way through a change that the child would inherit. */
void memory_lock(void);
void memory_unlock(void);
void memory_unshare_in_child(void); /* after fork, in the child: private copies of what was adopted */

/* ---- shared.c: shared memory whose file only the broker can still open ---- */
long shared_map(ucontext_t *uc); /* an mmap of shared anonymous memory: its result */
void shared_sent(void);		 /* the broker has been shown a file of the program's */
bool shared_overlaps(uint64_t start, uint64_t len);
void shared_forget(uint64_t start, uint64_t len); /* this range is being unmapped or replaced */
void shared_move(uint64_t from, uint64_t from_len, uint64_t to, uint64_t to_len);
void shared_copied(uint64_t from, uint64_t to, uint64_t len); /* what is at from has been mapped at to, too */
/* First of all before a fork: false if the child has nothing to inherit. Until shared_unlock nothing new comes. */
bool shared_before_fork(uint64_t ticket[2]);
void shared_lock(void);
void shared_unlock(void);
void shared_in_child(const uint64_t *ticket); /* NULL: it has none */

/* ---- follow.c: memory that devices reach at its own address ---- */
/*
 * Before the program changes what is at [start, start + len); len 0: at all that follows. held: what an earlier call
 * for the same change returned, else false. The result is for follow_changed(), when the change has been made.
 */
bool follow_change(bool held, uint64_t start, uint64_t len);
bool follow_change_all(void); /* the same, before all of it goes */
void follow_changed(bool held);
/* Around the ioctl that describes memory to be followed, all of which goes through follow_add(). 0 or -errno. */
int follow_begin(void);
void follow_add(uint64_t start, uint64_t len);
void follow_end(void);
void follow_lock(void);
void follow_unlock(void);
void follow_after_fork(void);
void follow_syscall(ucontext_t *uc, long nr);

/* ---- watch.c: what a checker wants to hear of memory that devices reach ---- */
void watch_arm(void);			      /* a device is about to be used; holds nothing */
void watch_add(uint64_t start, uint64_t len); /* it is being described for DMA */
/* Before the program does so to [start, start + len), which the kernel will not refuse; and if it did refuse. */
void watch_gone(const ucontext_t *uc, enum memory_change kind, uint64_t start, uint64_t len);
void watch_failed(const ucontext_t *uc, enum memory_change kind, uint64_t start, uint64_t len);
void watch_removed(const ucontext_t *uc, uint64_t start, uint64_t len);		   /* MADV_REMOVE */
void watch_moved(const ucontext_t *uc, uint64_t start, uint64_t len, uint64_t to); /* after it */
uint64_t watch_before_fork(const ucontext_t *uc);				   /* for watch_in_child() */
void watch_in_child(uint64_t parent);
void watch_syscall(ucontext_t *uc, long nr);

/* ---- signals.c ---- */
int signals_init(void);
void signals_lock(void);
void signals_unlock(void);
void signals_sigaction(ucontext_t *uc);
void signals_sigprocmask(ucontext_t *uc);
void signals_mask_argument(ucontext_t *uc, long nr);
long signals_execve(ucontext_t *uc, long nr); /* returns if it fails */

/* ---- exec.c ---- */
void exec_syscall(ucontext_t *uc, long nr);

/* ---- part helpers (rpc payloads of ioctls) ---- */
struct ucall_part *part_append(struct rpc *r, uint32_t kind, uint64_t addr, uint64_t len,
			       size_t data); /* NULL: no room */

#endif
