/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rule E3 with a device that asks for pages: it reaches the program's memory at the program's own addresses, as far as
 * the program has promised it and for as long as it stays what it was, pinned when it is used and charged then.
 */
#include "ats.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define READS  IOMMU_PGFAULT_PERM_READ
#define WRITES IOMMU_PGFAULT_PERM_WRITE

static uint8_t *page_of(uint8_t c)
{
	uint8_t *p = pages_alloc(PAGE);

	fill_page(p, c);
	return p;
}

/* ---- IOVA = VA, and a fault: request, record, answer, retry ---- */

static void same_address(void)
{
	struct iommu_hwpt_pgfault f;
	uint8_t *p, *q;

	ats_followed();
	p = page_of('p');
	q = page_of('q');
	expect_eq(space_map(dma_ioas, p, (uintptr_t)q, PAGE, RW), EINVAL);
	ats_start(p, ATS_READ);
	fault_expect(&f, p, READS);
	expect_eq(f.flags, IOMMU_PGFAULT_FLAGS_LAST_PAGE);
	expect(ats_busy() && ats_status() == ATS_WAITING);
	/* An answer that nothing has been done for: it is asked for again. */
	fault_answer(&f, IOMMUFD_PAGE_RESP_SUCCESS);
	fault_expect(&f, p, READS);
	expect_eq(promise(p, PAGE, RW), 0);
	fault_answer(&f, IOMMUFD_PAGE_RESP_SUCCESS);
	expect_eq(ats_finish(), ATS_DONE);
	expect_eq(ats_sees(p), 'p');
	expect_eq(ats_sees(q), -1);
	/* Across two pages: each is asked for, as it is needed. */
	ats_start(q + 16, ATS_WRITE);
	fault_expect(&f, q, WRITES);
	fault_answer(&f, IOMMUFD_PAGE_RESP_INVALID);
	expect_eq(ats_finish(), ATS_FAULT);
	expect_page(q, 'q', "what the device may not have");
	expect_eq(promise(q, PAGE, RD), 0);
	expect_eq(ats_sees(q), 'q');
	expect(!ats_writes(q, 'x'));
	expect_page(q, 'q', "what the device may only read");
	expect(ats_writes(p, 'x'));
	expect_page(p, 'x', "what the device has written");
	fill_page(p, 'y');
	expect_eq(ats_sees(p), 'y');
	expect_eq(space_unmap(dma_ioas, (uintptr_t)p, PAGE), 0);
	expect_eq(ats_sees(p), -1);
}

static void kinds(void)
{
	struct iommu_ioas_map m = {.size = sizeof(m), .flags = IOMMU_IOAS_MAP_READABLE, .length = PAGE, .iova = 1};
	uint32_t other, hwpt, plain;
	int fd = memfd_create("rule", MFD_CLOEXEC);
	uint8_t *p;

	ats_followed();
	expect(fd >= 0 && !ftruncate(fd, PAGE));
	p = page_of('p');
	/* A space follows as a whole, from its beginning. */
	expect_eq(hwpt_alloc(dma_ioas, 0, 0, NULL, 0, &plain), EINVAL);
	expect_eq(attach_to(dma_ioas), EINVAL);
	other = ioas_alloc(container);
	expect_eq(space_map(other, p, DATA_IOVA, PAGE, RW), 0);
	expect_eq(follow_alloc(other, 0, &hwpt), EINVAL);
	expect_eq(follow_alloc(dma_ioas, IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &hwpt), EOPNOTSUPP);
	expect_eq(follow_alloc(dma_ioas, 0, &hwpt), 0);
	/* What somebody once pinned, or a file, is not what an address stands for. */
	expect_eq(space_copy(dma_ioas, (uintptr_t)p, other, DATA_IOVA, PAGE), EINVAL);
	expect_eq(space_map_file(dma_ioas, fd, 0, (uintptr_t)p, PAGE), EINVAL);
	munmap(p, PAGE);
	expect_eq(promise(p, PAGE, RW), EFAULT);
	/* Without a fixed address it is the memory's own. */
	p = page_of('a');
	m.ioas_id = dma_ioas;
	m.user_va = (uintptr_t)p;
	expect_eq(ioctl(container, IOMMU_IOAS_MAP, &m), 0);
	expect_eq(m.iova, (uintptr_t)p);
	expect_eq(ats_sees(p), 'a');
	/* Where nobody takes page requests, a fault is a fault. */
	expect_eq(attach_to(hwpt), 0);
	ats_start(page_of('b'), ATS_READ);
	expect_eq(ats_finish(), ATS_FAULT);
	expect_eq(ats_sees(p), 'a');
}

/* ---- what changes is gone before the call returns ---- */

static void end_munmap(uint8_t *p)
{
	expect(!munmap(p, PAGE));
}

static void end_fixed(uint8_t *p)
{
	expect(mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
}

static void end_fixed_populate(uint8_t *p)
{
	expect(mmap(p, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0) == p);
}

static void end_discard(uint8_t *p)
{
	expect(!madvise(p, PAGE, MADV_DONTNEED));
}

static void end_move(uint8_t *p)
{
	expect(mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, pages_alloc(2 * PAGE)) != MAP_FAILED);
}

static void end_move_over(uint8_t *p)
{
	expect(mremap(pages_alloc(PAGE), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p) == p);
}

static void end_protect(uint8_t *p)
{
	expect(!mprotect(p, PAGE, PROT_NONE));
}

static void end_protect_key(uint8_t *p)
{
	expect(!syscall(SYS_pkey_mprotect, p, PAGE, PROT_READ, -1));
}

static void gone(void)
{
	static void (*const ends[])(uint8_t * p) = {end_munmap, end_fixed,     end_fixed_populate, end_discard,
						    end_move,	end_move_over, end_protect,	   end_protect_key};

	ats_followed();
	for (unsigned int i = 0; i < COUNT(ends); i++) {
		uint8_t *p = pages_alloc(3 * PAGE), *mid = p + PAGE;

		for (unsigned int k = 0; k < 3; k++)
			fill_page(p + k * PAGE, 'a' + k);
		expect_eq(promise(p, 3 * PAGE, RW), 0);
		for (unsigned int k = 0; k < 3; k++)
			expect_eq(ats_sees(p + k * PAGE), 'a' + k);
		ends[i](mid);
		if (ats_sees(mid) != -1)
			fail("after change %u a device still reads there", i);
		if (ats_writes(mid, 'x'))
			fail("after change %u a device still writes there", i);
		/* Its neighbours are what they were. */
		expect_eq(ats_sees(p), 'a');
		expect_eq(ats_sees(p + 2 * PAGE), 'c');
	}
}

static void gone_break(void)
{
	uint8_t *p = sbrk(0);
	int id = shmget(IPC_PRIVATE, PAGE, 0600);

	ats_followed();
	p = (uint8_t *)(((uintptr_t)p + 2 * PAGE - 1) & ~(PAGE - 1));
	expect(!brk(p + 2 * PAGE));
	fill_page(p, 'a');
	fill_page(p + PAGE, 'b');
	expect_eq(promise(p, 2 * PAGE, RW), 0);
	expect_eq(ats_sees(p), 'a');
	expect_eq(ats_sees(p + PAGE), 'b');
	expect(!brk(p + PAGE));
	expect_eq(ats_sees(p), 'a');
	expect_eq(ats_sees(p + PAGE), -1);
	if (id < 0)
		return;
	p = shmat(id, NULL, 0);
	shmctl(id, IPC_RMID, NULL);
	expect(p != (void *)-1);
	fill_page(p, 's');
	if (promise(p, PAGE, RW)) /* only root can open it */
		return;
	expect_eq(ats_sees(p), 's');
	expect(!shmdt(p));
	expect_eq(promise(p, PAGE, RW), EFAULT);
	ats_start(p, ATS_READ);
	expect_eq(ats_refused(), ATS_FAULT);
}

/* DMA is under way when the memory goes, and something else takes its place. */
static void in_flight(void)
{
	ats_followed();
	for (unsigned int i = 0; i < 300; i++) {
		uint8_t *p = page_of('p');

		expect_eq(promise(p, PAGE, RW), 0);
		ats_start(p, ATS_WRITE);
		for (unsigned int k = 0; k < i % 30; k++)
			__builtin_ia32_pause();
		if (i % 3 == 0)
			expect(!munmap(p, PAGE));
		expect(mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
		fill_page(p, 'k');
		ats_refused();
		expect_page(p, 'k', "memory that the device was never given");
		munmap(p, PAGE);
	}
}

/* One thread maps and unmaps while the other promises what it sees: no promise outlives what it was made of. */
static uint8_t *_Atomic place;
static _Atomic bool stop;

static void *promise_for_ever(void *arg)
{
	while (!stop)
		promise(place, PAGE, RW);
	return NULL;
}

static void racing(void)
{
	pthread_t t;
	uint8_t *p;

	ats_followed();
	place = p = page_of('p');
	expect(!pthread_create(&t, NULL, promise_for_ever, NULL));
	for (unsigned int i = 0; i < 400; i++) {
		int seen;

		expect(!munmap(p, PAGE));
		expect(mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
			    0) == p);
		fill_page(p, i);
		seen = ats_sees(p);
		if (seen != -1)
			expect_eq(seen, (uint8_t)i);
	}
	stop = true;
	pthread_join(t, NULL);
}

/* ---- B1 ---- */

#define L 20u

static unsigned int reachable(uint8_t *mem, unsigned int n)
{
	unsigned int got = 0;

	for (unsigned int i = 0; i < n; i++) {
		ats_start(mem + i * PAGE, ATS_READ);
		got += ats_refused() == ATS_DONE;
	}
	return got;
}

static void limit(void)
{
	uint8_t *mem = pages_alloc(2 * L * PAGE);

	limit_set(L);
	for (unsigned int round = 0; round < 2; round++) {
		ats_followed();
		expect_eq(promise(mem, 2 * L * PAGE, RW), 0); /* costs nothing yet */
		for (unsigned int i = 0; i < L - 1; i++) {
			fill_page(mem + i * PAGE, i + 1);
			expect_eq(ats_sees(mem + i * PAGE), (int)i + 1); /* and, the first time, where that goes to */
		}
		/* The page after the limit: no question to ask, and what was there before is as it was. */
		ats_start(mem + L * PAGE, ATS_READ);
		expect_eq(ats_finish(), ATS_FAULT);
		expect_eq(reachable(mem, 2 * L), L - 1);
		expect_eq(reachable(mem, 2 * L), L - 1);
		/* One goes, one may come. */
		expect(!madvise(mem, PAGE, MADV_DONTNEED));
		expect_eq(promise(mem, PAGE, RW), 0);
		expect_eq(ats_sees(mem + L * PAGE), 0);
		expect_eq(ats_sees(mem), -1);
		ats_gone();
		device_wait_free();
	}
}

/* ---- C1: nobody waits for who does not answer ---- */

static void unanswered(void)
{
	struct vfio_device_info info = {.argsz = sizeof(info)};
	struct iommu_hwpt_pgfault f, late;
	uint8_t *p = page_of('p');

	ats_followed();
	ats_start(p, ATS_READ);
	fault_expect(&f, p, READS);
	/* All else goes on. */
	expect_eq(ioctl(device, VFIO_DEVICE_GET_INFO, &info), 0);
	expect_eq(promise(p, PAGE, RW), 0);
	expect(ats_busy());
	/* The device gives up; an answer that comes then finds nobody. */
	ats_abort();
	expect(!ats_busy());
	expect_eq(ats_sees(p), 'p');
	fault_answer(&f, IOMMUFD_PAGE_RESP_SUCCESS);
	fault_answer(&f, IOMMUFD_PAGE_RESP_SUCCESS);
	ats_start(p + PAGE, ATS_READ);
	fault_expect(&f, p + PAGE, READS);
	expect_eq(ioctl(device, VFIO_DEVICE_RESET), 0);
	expect(!ats_busy());
	device_ready();
	/* What it is attached to changes: there will be no page. */
	ats_start(p + PAGE, ATS_READ);
	fault_expect(&late, p + PAGE, READS);
	expect_eq(cdev_detach(device), 0);
	expect_eq(ats_finish(), ATS_FAULT);
	fault_answer(&late, IOMMUFD_PAGE_RESP_SUCCESS);
	expect_eq(attach_to(follow_hwpt), 0);
	expect_eq(ats_sees(p), 'p');
	/* A queue that nobody will ever read again. */
	close(fault_fd);
	ats_start(p + PAGE, ATS_READ);
	usleep(1000);
	expect(ats_busy());
	expect_eq(ioctl(device, VFIO_DEVICE_GET_INFO, &info), 0);
	expect_eq(cdev_detach(device), 0);
	expect_eq(ats_finish(), ATS_FAULT);
	fault_fd = -1;
	ats_start(p, ATS_READ);
	ats_gone();
	device_wait_free();
}

static void fault_and_exit(void)
{
	struct iommu_hwpt_pgfault f;
	uint8_t *p = page_of('p');

	ats_followed();
	ats_start(p, ATS_READ);
	fault_expect(&f, p, READS);
	if (getppid() & 1)
		raise(SIGKILL);
}

static void exit_in_fault(void)
{
	for (unsigned int i = 0; i < 10; i++) {
		pid_t pid = child_start(fault_and_exit);
		int status;

		expect_eq(waitpid(pid, &status, 0), pid);
		bdf = "0000:02:00.0";
		device_wait_free();
	}
	ats_followed();
	expect_eq(ats_sees(page_of('n')), -1);
}

/* ---- other processes ---- */

static int told[2], go[2];
static uint8_t *shared; /* with a child, but each has its own */

static void child_promises(void)
{
	uint8_t *p = page_of('c');
	char c;

	expect_eq(promise(p, PAGE, RW), 0);
	expect_eq(write(told[1], &p, sizeof(p)), sizeof(p));
	expect_eq(read(go[0], &c, 1), 1);
}

static void child_executes(void)
{
	child_promises();
	/* told is closed by the exec, which is how the parent knows. */
	execl("/bin/sleep", "sleep", "60", NULL);
}

/* A page of a child that has promised it. */
static uint8_t *start_promising(void (*run)(void), pid_t *pid)
{
	uint8_t *p;

	expect(!pipe2(told, O_CLOEXEC) && !pipe2(go, O_CLOEXEC));
	*pid = child_start(run);
	close(told[1]);
	expect_eq(read(told[0], &p, sizeof(p)), sizeof(p));
	expect_eq(ats_sees(p), 'c');
	return p;
}

static void process_ends(void)
{
	uint8_t *p;
	pid_t pid;
	char c;

	ats_followed();
	/* By exit: when that is known, the table is empty. */
	p = start_promising(child_promises, &pid);
	expect_eq(write(go[1], "x", 1), 1);
	child_wait(pid);
	expect_eq(ats_sees(p), -1);
	/* By exec: before the next program runs. */
	p = start_promising(child_executes, &pid);
	expect_eq(write(go[1], "x", 1), 1);
	expect_eq(read(told[0], &c, 1), 0);
	expect_eq(ats_sees(p), -1);
	child_kill(pid);
	/* By a signal: as soon as the system tells. Until then it is the page that it was. */
	p = start_promising(child_promises, &pid);
	child_kill(pid);
	for (int seen; (seen = ats_sees(p)) != -1; usleep(1000))
		expect_eq(seen, 'c');
	/* A stopped one delays nobody, and keeps what it has promised. */
	p = start_promising(child_promises, &pid);
	child_stop(pid);
	expect_eq(ats_sees(p), 'c');
	expect_eq(ats_sees((void *)PAGE), -1); /* at an address that is nobody's */
	child_kill(pid);
}

static void child_changes(void)
{
	fill_page(shared, 'c');
	munmap(shared, PAGE);
	expect(mmap(shared, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == shared);
	fill_page(shared, 'd');
	/* The parent has promised what is there. */
	expect_eq(promise(shared, PAGE, RW), EEXIST);
}

static void forks(void)
{
	ats_followed();
	shared = page_of('p');
	expect_eq(promise(shared, PAGE, RW), 0);
	expect_eq(ats_sees(shared), 'p');
	for (unsigned int i = 0; i < 5; i++) {
		child_wait(child_start(child_changes));
		expect_eq(ats_sees(shared), 'p');
		fill_page(shared, 'q');
		expect_eq(ats_sees(shared), 'q');
		expect(ats_writes(shared, 'p'));
		expect_page(shared, 'p', "what the device writes to the parent");
	}
}

/* ---- PASIDs ---- */

static void pasids(void)
{
	struct iommu_hwpt_pgfault f;
	uint32_t follows, plain_ioas, plain;
	uint8_t *p, *q;

	ats_bound();
	expect_eq(follow_alloc(dma_ioas, IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID, &follows), 0);
	plain_ioas = ioas_alloc(container);
	expect_eq(hwpt_alloc(plain_ioas, IOMMU_HWPT_ALLOC_PASID, 0, NULL, 0, &plain), 0);
	p = page_of('p');
	q = page_of('q');
	expect_eq(space_map(plain_ioas, q, (uintptr_t)p, PAGE, RW), 0);
	expect_eq(pasid_attach(5, follows), 0);
	expect_eq(pasid_attach(6, plain), 0);
	/* PASID 0 is the device, under a name of its own. */
	expect_eq(pasid_attach(0, plain), 0);
	expect_eq(attach_to(plain), EBUSY);
	expect_eq(attach_to(follows), EINVAL);
	ats_pasid(0);
	ats_start(p, ATS_WRITE);
	expect_eq(ats_finish(), ATS_DONE);
	fill_page(q, 'q');
	expect_eq(pasid_attach(0, follows), 0);
	expect_eq(cdev_detach(device), 0);
	expect_eq(pasid_attach(0, plain_ioas), EINVAL); /* not beside PASIDs */
	expect_eq(pasid_detach(0), 0);
	expect_eq(attach_to(plain), 0);
	expect_eq(pasid_attach(0, plain), EBUSY);
	expect_eq(pasid_attach(0, follows), EINVAL);
	expect_eq(pasid_detach(0), 0);
	expect_eq(cdev_detach(device), 0);
	expect_eq(pasid_attach(1u << 20, plain), EINVAL);
	expect_eq(pasid_attach(7, plain_ioas), EINVAL);
	ats_pasid(5);
	ats_start(p, ATS_READ);
	fault_expect(&f, p, READS);
	expect_eq(f.flags, IOMMU_PGFAULT_FLAGS_LAST_PAGE | IOMMU_PGFAULT_FLAGS_PASID_VALID);
	expect_eq(f.pasid, 5);
	expect_eq(promise(p, PAGE, RW), 0);
	fault_answer(&f, IOMMUFD_PAGE_RESP_SUCCESS);
	expect_eq(ats_finish(), ATS_DONE); /* it has the p's now */
	ats_pasid(6);
	ats_start(p, ATS_WRITE);
	expect_eq(ats_finish(), ATS_DONE);
	expect_page(q, 'p', "what the other PASID leads to");
	fill_page(q, 'q');
	/* Of no PASID, and of one that is attached to nothing. */
	for (uint32_t pasid = 0; pasid <= 7; pasid += 7) {
		ats_pasid(pasid);
		ats_start(p, ATS_WRITE);
		expect_eq(ats_finish(), ATS_FAULT);
	}
	/* Replaced, and detached in the middle of a fault. */
	expect_eq(pasid_attach(5, plain), 0);
	ats_pasid(5);
	ats_start(p, ATS_WRITE);
	expect_eq(ats_finish(), ATS_DONE);
	expect_page(q, 'p', "what the PASID leads to now");
	expect_page(p, 'p', "what it led to before");
	expect_eq(object_destroy(plain), EBUSY);
	expect_eq(pasid_attach(5, follows), 0);
	expect(!munmap(p, PAGE));
	ats_start(p, ATS_READ);
	fault_expect(&f, p, READS);
	expect_eq(pasid_detach(5), 0);
	expect_eq(ats_finish(), ATS_FAULT);
	expect_eq(object_destroy(follows), 0);
	expect_eq(pasid_detach(5), 0);
	/* The device goes with all of them. */
	expect_eq(pasid_attach(9, plain), 0);
	close(device);
	device = -1;
}

const struct client_case follow_cases[] = {
    {"rule-follow-address", "E3: IOVA = VA; page request, record, answer, retry", same_address},
    {"rule-follow-kinds", "E3: a space follows as a whole", kinds},
    {"rule-follow-change", "E3: what changes is gone before the call returns", gone},
    {"rule-follow-change-break", "E3: the same for brk and shmdt", gone_break},
    {"rule-follow-in-flight", "E3: memory goes while DMA is under way", in_flight},
    {"rule-follow-racing", "E3: no promise outlives what it was made of", racing},
    {"rule-follow-limit", "E3, B1: pages are charged when they are used", limit},
    {"rule-follow-unanswered", "E3, C1: a fault that nobody answers", unanswered},
    {"rule-follow-exit", "E3, C1: exit in the middle of a fault", exit_in_fault},
    {"rule-follow-process", "E3: processes that exit, exec, are killed and stopped", process_ends},
    {"rule-follow-fork", "E3: a fork's copies are its own", forks},
    {"rule-follow-pasid", "E3: under PASIDs", pasids},
    {NULL, NULL, NULL},
};
