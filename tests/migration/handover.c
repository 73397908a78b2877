/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rule D3: across exec() and the hand-over of descriptors to another process DMA goes on without a lost, torn or
 * misplaced byte, and interrupts pend and are delivered. The guest has commands under way whenever it changes hands.
 *
 *   handover exec       the same process, another program, again and again
 *   handover pass       another process, over a socket; the one that had it is killed
 */
#include "guest.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define HANDS	    6u
#define WARM	    800u
#define OUTSTANDING 28u
#define FDS	    5

static int *const fds[FDS] = {&container, &group, &device, &mem_fd, &irq};

/* What was rung for before is over; from now on there is an interrupt for what is put here, and nobody to take it. */
static void leave_work(void)
{
	uint64_t n;

	drain();
	while (read(irq, &n, sizeof(n)) > 0)
		;
	g->s.interrupts = 0;
	while (g->s.busy < OUTSTANDING)
		submit(OUTSTANDING);
	ring(1);
}

static void take_over(void)
{
	uint64_t n;

	machine_map();
	registers_map();
	expect_eq(g->s.busy, OUTSTANDING);
	drain();
	if (read(irq, &n, sizeof(n)) > 0)
		g->s.interrupts += n;
	if (!g->s.interrupts)
		fail("%u commands completed without an interrupt", OUTSTANDING);
	work(WARM);
}

/* ---- exec ---- */

static void exec_again(unsigned int left)
{
	char arg[FDS + 1][16], name[] = "handover", way[] = "exec", *argv[FDS + 4] = {name, way};

	snprintf(arg[FDS], sizeof(arg[FDS]), "%u", left);
	argv[2] = arg[FDS];
	for (unsigned int i = 0; i < FDS; i++) {
		int fd = dup(*fds[i]); /* a copy that exec does not close */

		expect(fd >= 0);
		snprintf(arg[i], sizeof(arg[i]), "%d", fd);
		argv[3 + i] = arg[i];
	}
	leave_work();
	execv("/proc/self/exe", argv);
	fail("exec");
}

static void hand_to_self(int argc, char **argv)
{
	unsigned int left = HANDS;

	if (argc > 2) {
		left = atoi(argv[2]);
		for (unsigned int i = 0; i < FDS; i++)
			*fds[i] = atoi(argv[3 + i]);
		region_info(VFIO_PCI_BAR0_REGION_INDEX);
		take_over();
	} else {
		machine_make();
		irq_set_up();
		boot();
		work(WARM);
	}
	if (left)
		exec_again(left - 1);
	drain();
	verify_disk();
	printf("ok - %u times through exec, %llu commands\n", HANDS, (unsigned long long)g->s.done);
}

/* ---- pass ---- */

union control {
	struct cmsghdr h;
	char room[CMSG_SPACE(FDS * sizeof(int))];
};

static void fds_send(int sock)
{
	union control c = {0};
	char byte = 'x';
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c)};

	c.h = (struct cmsghdr){
	    .cmsg_len = CMSG_LEN(FDS * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	for (unsigned int i = 0; i < FDS; i++)
		memcpy(CMSG_DATA(&c.h) + i * sizeof(int), fds[i], sizeof(int));
	expect_eq(sendmsg(sock, &m, 0), 1);
}

static void fds_receive(int sock)
{
	union control c = {0};
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c)};

	expect_eq(recvmsg(sock, &m, 0), 1);
	expect_eq(c.h.cmsg_len, CMSG_LEN(FDS * sizeof(int)));
	for (unsigned int i = 0; i < FDS; i++)
		memcpy(fds[i], CMSG_DATA(&c.h) + i * sizeof(int), sizeof(int));
}

/* One of a row of processes: from the one before it, to the one after it. */
static void holder(unsigned int i, const int (*sock)[2])
{
	if (i) {
		fds_receive(sock[i - 1][0]);
		take_over();
	} else {
		machine_make();
		irq_set_up();
		boot();
		work(WARM);
	}
	if (i == HANDS - 1) {
		drain();
		verify_disk();
		printf("ok - %u processes had it, %llu commands\n", HANDS, (unsigned long long)g->s.done);
		fflush(stdout);
		_exit(0);
	}
	leave_work();
	fds_send(sock[i][1]);
	kill(getpid(), SIGKILL);
}

static void hand_along(void)
{
	int sock[HANDS][2], status;
	pid_t pid[HANDS];

	for (unsigned int i = 0; i < HANDS; i++)
		expect_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sock[i]), 0);
	for (unsigned int i = 0; i < HANDS; i++) {
		pid[i] = fork();
		expect(pid[i] >= 0);
		if (!pid[i]) {
			alarm(300);
			holder(i, sock);
		}
	}
	for (unsigned int i = 0; i < HANDS; i++) {
		expect_eq(waitpid(pid[i], &status, 0), pid[i]);
		if (i < HANDS - 1 ? !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL : status != 0)
			fail("process %u ended with %#x", i, status);
	}
}

int main(int argc, char **argv)
{
	alarm(300);
	if (argc > 1 && !strcmp(argv[1], "exec"))
		hand_to_self(argc, argv);
	else if (argc > 1 && !strcmp(argv[1], "pass"))
		hand_along();
	else
		return 2;
	return 0;
}
