/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls to the broker over the shared channel. */
#include "boundary/boundary.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "proto/insn.h"

struct control { /* room for one cmsg with up to 4 descriptors */
	_Alignas(struct cmsghdr) uint8_t bytes[CMSG_SPACE(4 * sizeof(int))];
};

/* Sends one message, with at most one descriptor. */
static long sock_send(int sock, const void *data, size_t len, int fd)
{
	struct iovec iov = {(void *)data, len};
	struct control c;
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		struct cmsghdr *cm = (struct cmsghdr *)c.bytes;

		memset(&c, 0, sizeof(c));
		cm->cmsg_len = CMSG_LEN(sizeof(int));
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(cm), &fd, sizeof(fd));
		m.msg_control = c.bytes;
		m.msg_controllen = CMSG_SPACE(sizeof(int));
	}
	return sys3(__NR_sendmsg, sock, &m, MSG_NOSIGNAL);
}

/* Receives one message; *fd = the descriptor that came with it, or -1. */
static long sock_recv(int sock, void *data, size_t len, int *fd)
{
	struct iovec iov = {data, len};
	struct control c;
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.bytes, .msg_controllen = sizeof(c)};
	struct cmsghdr *cm = (struct cmsghdr *)c.bytes;
	long n;

	*fd = -1;
	do
		n = sys3(__NR_recvmsg, sock, &m, MSG_CMSG_CLOEXEC);
	while (n == -EINTR);
	if (n >= 0 && m.msg_controllen >= CMSG_LEN(sizeof(int)) && cm->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(cm), sizeof(*fd));
	return n;
}

static int sock_open(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	size_t n = strlen(image.socket);
	long fd, ret;

	if (n >= sizeof(sa.sun_path))
		return -EIO;
	memcpy(sa.sun_path, image.socket, n);
	if (sa.sun_path[0] == '@')
		sa.sun_path[0] = 0;
	else
		n++;
	fd = sys3(__NR_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -EIO;
	ret = sys3(__NR_connect, fd, &sa, offsetof(struct sockaddr_un, sun_path) + n);
	if (ret) {
		sys1(__NR_close, fd);
		return -EIO;
	}
	return keep_move(fd);
}

static int connect_locked(void)
{
	struct hello h;
	struct stat st;
	int memfd, sock = sock_open();
	long p;

	if (sock < 0)
		return -EIO;
	if (sock_recv(sock, &h, sizeof(h), &memfd) != sizeof(h) || memfd < 0 || h.magic != CHANNEL_MAGIC ||
	    h.version != CHANNEL_VERSION || h.channel_size != CHANNEL_SIZE) {
		if (memfd >= 0)
			sys1(__NR_close, memfd);
		sys1(__NR_close, sock);
		return -EIO;
	}
	p = sys6(__NR_mmap, 0, CHANNEL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	sys1(__NR_close, memfd);
	if (p < 0) {
		sys1(__NR_close, sock);
		return -EIO;
	}
	sys3(__NR_madvise, p, CHANNEL_SIZE, MADV_DONTFORK);
	h.shadow[sizeof(h.shadow) - 1] = 0;
	memcpy(image.shadow, h.shadow, sizeof(image.shadow));
	image.host_devices = h.flags & HELLO_HOST_DEVICES;
	image.tasks = h.flags & (HELLO_TASKS | HELLO_STACKS);
	image.stacks = h.flags & HELLO_STACKS;
	process->pid = sys0(__NR_getpid);
	process->sock = sock;
	process->sock_ino = sys2(__NR_fstat, sock, &st) ? 0 : st.st_ino;
	process->broker_id = h.broker_id;
	memset(process->stash, 0, sizeof(process->stash));
	__atomic_store_n(&process->channel, (struct channel *)p, __ATOMIC_RELEASE);
	return 0;
}

static bool session_lost(struct channel *ch)
{
	/* A vfork child may have lost its own copy of the socket; its parent goes on. */
	if (unlikely(!keep_holds()) && !process_is_vfork_child())
		return true;
	return atomic_load_explicit(&ch->dead, memory_order_relaxed);
}

/* The mapping of a lost session stays: another thread may be looking at it. It is a megabyte at most, and only after a
 * broker's death or a program that closes descriptors which are not its own. */
int rpc_connect(void)
{
	struct channel *ch = __atomic_load_n(&process->channel, __ATOMIC_ACQUIRE);
	int ret = 0;

	if (likely(ch && !session_lost(ch)))
		return 0;
	spin_lock(&process->lock, LOCK_PROCESS);
	ch = process->channel;
	if (!ch || session_lost(ch)) {
		process->channel = NULL;
		ret = connect_locked();
	}
	spin_unlock(&process->lock, LOCK_PROCESS);
	return ret;
}

static bool claim(struct rpc *r)
{
	for (r->n = 0; r->n < CHANNEL_SLOTS; r->n++) {
		uint32_t free = SLOT_FREE;

		r->slot = &r->ch->slot[r->n];
		if (atomic_load_explicit(&r->slot->state, memory_order_relaxed) == SLOT_FREE &&
		    atomic_compare_exchange_strong(&r->slot->state, &free, SLOT_CLAIMED))
			return true;
	}
	return false;
}

int rpc_begin(struct rpc *r, enum rpc_op op, uint64_t object)
{
	bool claimed;

	if (rpc_connect())
		return -EIO;
	r->ch = process->channel;
	order_take(LOCK_SLOT);
	claimed = claim(r);
	while (unlikely(!claimed)) {
		uint32_t seen = gate_enter(&process->slots);

		claimed = claim(r);
		if (!claimed)
			gate_wait(&process->slots, seen);
		gate_leave(&process->slots);
		if (!claimed && session_lost(r->ch)) {
			order_drop(LOCK_SLOT);
			return -EIO;
		}
	}
	r->payload = channel_payload(r->ch, r->n);
	r->slot->op = op;
	r->slot->object = object;
	memset(r->slot->a, 0, sizeof(r->slot->a));
	r->slot->flags = 0;
	r->slot->nfds = 0;
	r->slot->payload_len = 0;
	r->slot->ip = 0;
	r->slot->stack_len = 0;
	r->slot->task = unlikely(image.tasks) ? sys0(__NR_gettid) : 0;
	return 0;
}

/* The stack as it is now: the thread is within this call until it has been answered. */
static void origin_set(struct rpc *r, uint64_t ip, uint64_t sp, uint64_t bp, uint32_t n)
{
	r->slot->ip = ip;
	r->slot->sp = sp;
	r->slot->bp = bp;
	r->slot->stack_len = n - guard_copy(channel_stack(r->ch, r->n), (const void *)sp, n);
}

void rpc_origin(struct rpc *r, const ucontext_t *uc)
{
	if (unlikely(image.stacks))
		rpc_origin_at(r, UC_IP(uc), UC_SP(uc), uc->uc_mcontext.gregs[REG_RBP]);
}

void rpc_origin_at(struct rpc *r, uint64_t ip, uint64_t sp, uint64_t bp)
{
	uint32_t n = atomic_load_explicit(&r->ch->stack_copy, memory_order_relaxed);

	if (ip)
		origin_set(r, ip, sp, bp, n && n < SLOT_STACK ? n : SLOT_STACK);
}

int rpc_send_fd(struct rpc *r, int fd)
{
	struct fd_note note = {r->n, 1};
	long n = sock_send(process->sock, &note, sizeof(note), fd);

	if (n < 0)
		return n;
	r->slot->nfds++;
	return 0;
}

static void send_bell(void)
{
	uint8_t bell = 0;

	sys6(__NR_sendto, process->sock, (long)&bell, 1, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
}

static void ring_bell(struct channel *ch)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&ch->broker_sleeps, memory_order_relaxed) && atomic_exchange(&ch->broker_sleeps, 0))
		send_bell();
}

static uint64_t tsc(void)
{
	return __builtin_ia32_rdtsc();
}

/* The session ends only with the broker or with our socket; a broker that is merely slow is waited for. */
static bool broker_gone(struct channel *ch)
{
	struct pollfd p = {.fd = process->sock, .events = 0};
	struct {
		long sec, nsec;
	} zero = {0, 0};

	if (session_lost(ch))
		return true;
	return sys5(__NR_ppoll, &p, 1, &zero, NULL, 8) > 0 && p.revents & (POLLHUP | POLLNVAL | POLLERR);
}

static long wait_reply(struct rpc *r)
{
	_Atomic uint32_t *state = &r->slot->state;
	uint64_t start = tsc(), spin = r->ch->spin_ns * 3ull; /* about 3 cycles a nanosecond: only a bound */

	for (;;) {
		uint32_t s = atomic_load_explicit(state, memory_order_acquire);

		if (s == SLOT_REPLY)
			return r->slot->ret;
		if (tsc() - start < spin) {
			__builtin_ia32_pause();
			continue;
		}
		if (s == SLOT_REQUEST && !atomic_compare_exchange_strong(state, &s, SLOT_REQUEST | SLOT_WAITING))
			continue;
		struct {
			long sec, nsec;
		} t = {0, 200 * 1000 * 1000};

		sys4(__NR_futex, state, FUTEX_WAIT, SLOT_REQUEST | SLOT_WAITING, &t);
		s = atomic_load_explicit(state, memory_order_acquire);
		if (s != SLOT_REPLY && broker_gone(r->ch)) {
			/* A vfork child may have closed its own copy of the socket; its parent goes on. */
			if (!process_is_vfork_child())
				atomic_store(&r->ch->dead, 1);
			return -EIO;
		}
		if (s != SLOT_REPLY)
			send_bell(); /* a vfork child may have been killed between taking the bell and ringing it */
	}
}

long rpc_call(struct rpc *r)
{
	atomic_store_explicit(&r->slot->state, SLOT_REQUEST, memory_order_release);
	atomic_fetch_or_explicit(&r->ch->pending, 1u << r->n, memory_order_release);
	ring_bell(r->ch);
	return wait_reply(r);
}

void rpc_end(struct rpc *r)
{
	order_drop(LOCK_SLOT);
	atomic_store(&r->slot->state, SLOT_FREE);
	gate_open(&process->slots);
}

int rpc_recv_fd(struct rpc *r)
{
	struct fd_note note;
	int fd;

	for (;;) {
		spin_lock(&process->fd_lock, LOCK_FDS);
		if (process->stash[r->n]) {
			fd = process->stash[r->n] - 1;
			process->stash[r->n] = 0;
			spin_unlock(&process->fd_lock, LOCK_FDS);
			return fd;
		}
		long n = sock_recv(process->sock, &note, sizeof(note), &fd);
		if (n == sizeof(note) && note.slot < CHANNEL_SLOTS && note.slot != r->n && fd >= 0) {
			process->stash[note.slot] = fd + 1;
			spin_unlock(&process->fd_lock, LOCK_FDS);
			continue;
		}
		spin_unlock(&process->fd_lock, LOCK_FDS);
		if (n != sizeof(note))
			return -EIO;
		/* No room in the table of descriptors: the kernel dropped it. */
		return fd < 0 ? -EMFILE : fd;
	}
}

/*
 * Is a client that writes this register waiting for what it sets off? Not one that writes the same register twice in a
 * row: it fills a queue and has more to do. But held for the first write it may find the answer at once, and look as if
 * it waited, one command at a time. So now and then it is let go, to see what it writes next; the period is odd because
 * many write two registers by turns.
 */
#define HOLD_TRIAL   127
#define HOLD_BURST   64 /* posts that do not wait, after a burst */
#define HOLD_PENALTY 16 /* and after a wait that was in vain: the broker's core is busy with something else */

static bool hold_pays(uint64_t offset)
{
	bool burst = process->last_offset == offset;

	process->last_offset = offset;
	if (burst)
		process->hold_skip = HOLD_BURST;
	if (process->hold_skip) {
		process->hold_skip--;
		return false;
	}
	return ++process->holds % HOLD_TRIAL;
}

/* Until the broker has done what was posted up to entry end, or the time it suggested is over. */
static void hold(struct channel *ch, uint64_t offset, uint32_t end)
{
	uint64_t start, limit = 3ull * atomic_load_explicit(&ch->hold_ns, memory_order_relaxed);

	if (!limit || !hold_pays(offset))
		return;
	start = tsc();
	while ((int32_t)(atomic_load_explicit(&ch->ring_tail, memory_order_acquire) - end) < 0) {
		if (tsc() - start > limit) {
			process->hold_skip = HOLD_PENALTY;
			return;
		}
		__builtin_ia32_pause();
	}
}

/* As the kernel's own vDSO finds out: the limit of a segment that each CPU has. Left as it was if there is none. */
static uint32_t cpu_here(void)
{
	uint32_t cpu = 0xfff;

	__asm__("lsl %1, %0" : "+r"(cpu) : "r"(0x7b) : "cc");
	return cpu & 0xfff;
}

void rpc_post_write(uint64_t object, uint64_t offset, unsigned int size, uint64_t value, uint64_t ip)
{
	unsigned int turns = 0;
	struct channel *ch;
	uint32_t head;

	if (rpc_connect())
		return;
	ch = process->channel;
	spin_lock(&ch->ring_lock, LOCK_RING);
	head = atomic_load_explicit(&ch->ring_head, memory_order_relaxed);
	while (head - atomic_load_explicit(&ch->ring_tail, memory_order_acquire) >= RING_ENTRIES) {
		ring_bell(ch);
		if (broker_gone(ch)) {
			spin_unlock(&ch->ring_lock, LOCK_RING);
			return;
		}
		wait_turn(&turns);
	}
	ch->ring[head % RING_ENTRIES] =
	    (struct ring_entry){object, offset, value, size, unlikely(image.stacks) ? sys0(__NR_gettid) : 0, ip};
	atomic_store_explicit(&ch->cpu, cpu_here(), memory_order_relaxed);
	atomic_store_explicit(&ch->ring_head, head + 1, memory_order_release);
	spin_unlock(&ch->ring_lock, LOCK_RING);
	ring_bell(ch);
	hold(ch, offset, head + 1);
}

/* Not if it is the boundary that has crashed: what it holds just then, it would wait for. */
void rpc_crash(int sig, uint64_t addr, const ucontext_t *uc)
{
	extern const char __ehdr_start[], etext[];
	struct rpc r;

	if (likely(!image.stacks) ||
	    ((uint64_t)UC_IP(uc) >= (uint64_t)__ehdr_start && (uint64_t)UC_IP(uc) < (uint64_t)etext))
		return;
	if (!process->channel || rpc_begin(&r, RPC_CRASH, 0))
		return;
	r.slot->a[0] = sig;
	r.slot->a[1] = addr;
	/* Nowhere is a stack deeper than where it has run full. */
	origin_set(&r, UC_IP(uc), UC_SP(uc), uc->uc_mcontext.gregs[REG_RBP], SLOT_STACK);
	rpc_call(&r);
	rpc_end(&r);
}

/* A read of a register. What is not there reads as ones, as on a bus. */
int rpc_mmio_read(uint64_t object, uint64_t offset, unsigned int size, uint64_t *v, uint64_t ip)
{
	struct rpc r;
	long ret;

	*v = ~0ull;
	if (rpc_begin(&r, RPC_MMIO_READ, object))
		return 0;
	r.slot->a[0] = offset;
	r.slot->a[1] = size;
	r.slot->ip = unlikely(image.stacks) ? ip : 0;
	ret = rpc_call(&r);
	if (ret >= 0)
		*v = r.slot->a[0];
	rpc_end(&r);
	return ret == -EIO && !session_lost(r.ch) ? -EIO : 0;
}

static int rpc_begin_test(struct rpc *r, uint64_t object, uint64_t generation)
{
	if (!generation && !atomic_load_explicit(&process->channel->memory_off, memory_order_relaxed))
		return -EIO;
	return rpc_begin(r, RPC_MMIO_TEST, object);
}

/* A file is asked about after it has faulted, a trap before each access: not while all is well. */
bool rpc_mmio_refused(uint64_t object, uint64_t offset, uint64_t generation, uint64_t ip)
{
	struct rpc r;
	long ret;

	if (rpc_connect() || rpc_begin_test(&r, object, generation))
		return generation != 0;
	r.slot->a[0] = offset;
	r.slot->a[1] = generation;
	r.slot->ip = unlikely(image.stacks) ? ip : 0;
	ret = rpc_call(&r);
	rpc_end(&r);
	return ret == -EIO || (generation && ret < 0);
}

int rpc_decode(const uint8_t *code, size_t n, struct insn *out)
{
	struct rpc r;
	long ret;

	if (rpc_begin(&r, RPC_DECODE, 0))
		return -EIO;
	memcpy(r.payload, code, n);
	r.slot->payload_len = n;
	ret = rpc_call(&r);
	if (ret >= 0)
		memcpy(out, r.payload, sizeof(*out));
	rpc_end(&r);
	return ret < 0 ? ret : 0;
}
