/* SPDX-License-Identifier: BSD-3-Clause */
/* A device by its own node, /dev/vfio/devices/vfioN, and its life with an iommufd. */
#include "client.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include "uapi/iommufd_abi.h"
#include "uapi/vfio_abi.h"

#define RW (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

/* ---- what the cases stand on ---- */

int ioctl_errno(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? errno : 0;
}

const char *cdev_name(void)
{
	static char name[32];
	struct dirent *e;
	char path[128];
	DIR *d;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", bdf);
	d = opendir(path);
	expect(d);
	while ((e = readdir(d)))
		if (!strncmp(e->d_name, "vfio", 4))
			snprintf(name, sizeof(name), "%.31s", e->d_name);
	closedir(d);
	expect(name[0]);
	return name;
}

int cdev_open(void)
{
	char path[128];

	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", cdev_name());
	return open(path, O_RDWR | O_CLOEXEC);
}

int iommufd_open(void)
{
	return open("/dev/iommu", O_RDWR | O_CLOEXEC);
}

uint32_t ioas_alloc(int iommufd)
{
	struct iommu_ioas_alloc a = {.size = sizeof(a)};

	expect_eq(ioctl(iommufd, IOMMU_IOAS_ALLOC, &a), 0);
	return a.out_ioas_id;
}

static int object_destroy(int iommufd, uint32_t id)
{
	struct iommu_destroy d = {.size = sizeof(d), .id = id};

	return ioctl_errno(iommufd, IOMMU_DESTROY, &d);
}

int cdev_bind(int cdev, int iommufd, uint32_t *devid)
{
	struct vfio_device_bind_iommufd b = {.argsz = sizeof(b), .iommufd = iommufd};
	int err = ioctl_errno(cdev, VFIO_DEVICE_BIND_IOMMUFD, &b);

	if (devid)
		*devid = b.out_devid;
	return err;
}

int cdev_attach(int cdev, uint32_t *pt_id)
{
	struct vfio_device_attach_iommufd_pt a = {.argsz = 12, .pt_id = *pt_id};
	int err = ioctl_errno(cdev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &a);

	*pt_id = a.pt_id;
	return err;
}

int cdev_detach(int cdev)
{
	struct vfio_device_detach_iommufd_pt d = {.argsz = 8};

	return ioctl_errno(cdev, VFIO_DEVICE_DETACH_IOMMUFD_PT, &d);
}

static int attach(uint32_t pt_id)
{
	return cdev_attach(device, &pt_id);
}

/* The device bound to a fresh iommufd, attached to a fresh IOAS, ready for DMA. */
static void start(void)
{
	uint32_t devid;

	container = iommufd_open();
	expect(container >= 0);
	device = cdev_open();
	expect(device >= 0);
	expect_eq(cdev_bind(device, container, &devid), 0);
	dma_ioas = ioas_alloc(container);
	expect_eq(attach(dma_ioas), 0);
	device_ready();
}

/* Another space with what the controller's own rings need. */
static uint32_t copy_of_rings(void)
{
	struct iommu_ioas_copy c = {
	    .size = sizeof(c),
	    .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE,
	    .dst_ioas_id = ioas_alloc(container),
	    .src_ioas_id = dma_ioas,
	    .length = 5 * PAGE,
	    .dst_iova = NVME_IOVA,
	    .src_iova = NVME_IOVA,
	};

	expect_eq(ioctl(container, IOMMU_IOAS_COPY, &c), 0);
	return c.dst_ioas_id;
}

static void map_into(uint32_t ioas, void *va, uint64_t iova)
{
	uint32_t was = dma_ioas;

	dma_ioas = ioas;
	expect_eq(dma_map(va, iova, PAGE, RW), 0);
	dma_ioas = was;
}

static void expect_byte(const uint8_t *p, uint8_t want)
{
	for (unsigned int i = 0; i < PAGE; i++)
		if (p[i] != want)
			fail("byte %u is %#x, not %#x", i, p[i], want);
}

static void in_child(void (*run)(void), int signal)
{
	pid_t pid = fork();
	int status;

	expect(pid >= 0);
	if (!pid) {
		run();
		_exit(0);
	}
	expect_eq(waitpid(pid, &status, 0), pid);
	if (signal)
		expect(WIFSIGNALED(status) && WTERMSIG(status) == signal);
	else
		expect_eq(status, 0);
}

/* ---- cases ---- */

static void nodes(void)
{
	char path[192], text[64], link[128] = "";
	unsigned int major, minor;
	struct stat st;
	FILE *f;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev/%s/dev", bdf, cdev_name());
	f = fopen(path, "r");
	expect(f && fscanf(f, "%u:%u", &major, &minor) == 2);
	fclose(f);
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", cdev_name());
	expect_eq(stat(path, &st), 0);
	expect_eq(st.st_mode, S_IFCHR | 0600);
	expect_eq(st.st_rdev, makedev(major, minor));
	fd = cdev_open();
	expect(fd >= 0);
	expect_eq(fstat(fd, &st), 0);
	expect_eq(st.st_rdev, makedev(major, minor));
	snprintf(text, sizeof(text), "/proc/self/fd/%d", fd);
	expect(readlink(text, link, sizeof(link) - 1) > 0);
	expect(!strcmp(link, path));
	snprintf(text, sizeof(text), "/sys/class/vfio-dev/%s/device", cdev_name());
	expect(realpath(text, path));
	expect(!strcmp(strrchr(path, '/') + 1, bdf));
	expect_eq(stat("/dev/iommu", &st), 0);
	expect_eq(st.st_mode, S_IFCHR | 0660);
	expect_eq(major(st.st_rdev), 10);
	expect_errno(open("/dev/vfio/devices/vfio99", O_RDWR), ENOENT);
	expect_errno(open("/dev/vfio/devices/vfio", O_RDWR), ENOENT);
	expect_errno(open("/dev/vfio/devices/vfio00", O_RDWR), ENOENT);
}

static void unbound(void)
{
	static const unsigned long calls[] = {
	    VFIO_DEVICE_GET_INFO,
	    VFIO_DEVICE_GET_REGION_INFO,
	    VFIO_DEVICE_GET_IRQ_INFO,
	    VFIO_DEVICE_SET_IRQS,
	    VFIO_DEVICE_RESET,
	    VFIO_DEVICE_PCI_HOT_RESET,
	    VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
	    VFIO_DEVICE_FEATURE,
	    VFIO_DEVICE_IOEVENTFD,
	    VFIO_DEVICE_ATTACH_IOMMUFD_PT,
	    VFIO_DEVICE_DETACH_IOMMUFD_PT,
	    VFIO_GROUP_GET_STATUS,
	    VFIO_GET_API_VERSION,
	    _IO(VFIO_TYPE, 99),
	};
	uint32_t arg[64] = {sizeof(arg)};
	int fd = cdev_open();

	expect(fd >= 0);
	for (unsigned int i = 0; i < COUNT(calls); i++)
		expect_errno(ioctl(fd, calls[i], arg), EINVAL);
	expect_errno(pread(fd, arg, 4, 7ull << 40), EINVAL);
	expect_errno(pwrite(fd, arg, 4, 7ull << 40), EINVAL);
	expect(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 1ull << 40) == MAP_FAILED);
	expect_eq(errno, EINVAL);
}

static void bind_errors(void)
{
	struct vfio_device_bind_iommufd b = {.argsz = sizeof(b)};
	int fd = iommufd_open(), null = open("/dev/null", O_RDWR), vfio = open("/dev/vfio/vfio", O_RDWR);
	int second = cdev_open();

	device = cdev_open();
	expect(fd >= 0 && null >= 0 && vfio >= 0 && second >= 0 && device >= 0);
	expect_errno(ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, NULL), EFAULT);
	b.iommufd = fd;
	b.argsz = sizeof(b) - 1;
	expect_errno(ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &b), EINVAL);
	b.argsz = sizeof(b);
	for (unsigned int i = 1; i < 32; i++) { /* bit 0: a token, since 6.17 */
		b.flags = 1u << i;
		expect_errno(ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &b), EINVAL);
	}
	expect_eq(cdev_bind(device, -1, NULL), EINVAL);
	expect_eq(cdev_bind(device, 999, NULL), EBADF);
	expect_eq(cdev_bind(device, null, NULL), EBADFD);
	expect_eq(cdev_bind(device, vfio, NULL), EBADFD);
	expect_eq(cdev_bind(device, device, NULL), EBADFD);
	b.flags = 0;
	b.argsz = 1000;
	b.iommufd = fd;
	expect_eq(ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &b), 0);
	expect_eq(b.out_devid, 1);
	expect_eq(cdev_bind(device, fd, NULL), EINVAL);
	expect_eq(cdev_bind(device, null, NULL), EINVAL);
	/* The second who opens it gets nothing, as long as the first is there. */
	expect_eq(cdev_bind(second, null, NULL), EBADFD);
	expect_eq(cdev_bind(second, fd, NULL), EINVAL);
	expect_errno(ioctl(second, VFIO_DEVICE_RESET), EINVAL);
	close(device);
	expect_eq(cdev_bind(second, fd, NULL), 0);
	expect_eq(ioctl(second, VFIO_DEVICE_RESET), 0);
}

static void attach_errors(void)
{
	struct vfio_device_attach_iommufd_pt a = {.argsz = 12};
	struct vfio_device_detach_iommufd_pt d = {.argsz = 8};
	uint32_t ioas, pt, devid, other;

	container = iommufd_open();
	device = cdev_open();
	expect_eq(cdev_bind(device, container, &devid), 0);
	ioas = ioas_alloc(container);
	expect_errno(ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, NULL), EFAULT);
	expect_errno(ioctl(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, NULL), EFAULT);
	a.argsz = 11;
	d.argsz = 7;
	expect_errno(ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &a), EINVAL);
	expect_errno(ioctl(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &d), EINVAL);
	a.argsz = 12;
	d.argsz = 8;
	for (unsigned int i = 0; i < 32; i++) { /* bit 0: a PASID, since 6.15, and no room for one */
		a.flags = d.flags = 1u << i;
		expect_errno(ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &a), EINVAL);
		expect_errno(ioctl(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &d), EINVAL);
	}
	expect_eq(cdev_detach(device), 0);
	pt = 999;
	expect_eq(cdev_attach(device, &pt), ENOENT);
	pt = devid;
	expect_eq(cdev_attach(device, &pt), EINVAL);
	expect_eq(object_destroy(container, devid), EBUSY);
	pt = ioas;
	expect_eq(cdev_attach(device, &pt), 0);
	expect(pt != ioas && pt != devid);
	other = pt;
	expect_eq(object_destroy(container, pt), EBUSY);
	expect_eq(object_destroy(container, ioas), EBUSY);
	/* Attached again: to the same, by either name; to nothing there is. */
	expect_eq(cdev_attach(device, &pt), 0);
	expect_eq(pt, other);
	pt = ioas;
	expect_eq(cdev_attach(device, &pt), 0);
	expect_eq(pt, other);
	pt = 999;
	expect_eq(cdev_attach(device, &pt), ENOENT);
	pt = devid;
	expect_eq(cdev_attach(device, &pt), EINVAL);
	expect_eq(object_destroy(container, other), EBUSY);
	expect_eq(cdev_detach(device), 0);
	expect_eq(object_destroy(container, other), ENOENT); /* it was made by the attach, and went with it */
	expect_eq(cdev_detach(device), 0);
	expect_eq(object_destroy(container, ioas), 0);
	close(device);
	device = -1;
	expect_eq(object_destroy(container, devid), ENOENT);
}

static void dma(void)
{
	uint8_t *p = pages_alloc(2 * PAGE);
	uint32_t first, second, hwpt;

	start();
	nvme_start(true);
	expect_eq(dma_map(p, DATA_IOVA, PAGE, RW), 0);
	memset(p, 0x5a, PAGE);
	expect_eq(nvme_rw(true, 3, PAGE, DATA_IOVA), 0);
	memset(p, 0, PAGE);
	expect_eq(nvme_rw(false, 3, PAGE, DATA_IOVA), 0);
	expect_byte(p, 0x5a);
	expect(nvme_interrupts() >= 2);

	/* The same address, other memory. */
	first = dma_ioas;
	second = copy_of_rings();
	map_into(second, p + PAGE, DATA_IOVA);
	memset(p, 0x11, PAGE);
	hwpt = second;
	expect_eq(cdev_attach(device, &hwpt), 0);
	expect_eq(nvme_rw(false, 3, PAGE, DATA_IOVA), 0);
	expect_byte(p, 0x11);
	expect_byte(p + PAGE, 0x5a);
	expect_eq(object_destroy(container, second), EBUSY);

	/* What fails changes nothing. */
	expect_eq(attach(999), ENOENT);
	memset(p + PAGE, 0, PAGE);
	expect_eq(nvme_rw(false, 3, PAGE, DATA_IOVA), 0);
	expect_byte(p + PAGE, 0x5a);

	/* Back, and what was left can be taken apart. */
	expect_eq(attach(first), 0);
	expect_eq(object_destroy(container, hwpt), ENOENT);
	expect_eq(object_destroy(container, second), 0);
	expect_eq(nvme_rw(false, 3, PAGE, DATA_IOVA), 0);
	expect_byte(p, 0x5a);
	/* A space without the buffer: nothing arrives, whatever the controller makes of it. */
	expect_eq(attach(copy_of_rings()), 0);
	memset(p, 0x11, 2 * PAGE);
	nvme_rw(false, 3, PAGE, DATA_IOVA);
	expect_byte(p, 0x11);
	expect_byte(p + PAGE, 0x11);
	expect_eq(attach(first), 0);
	expect_eq(nvme_rw(false, 3, PAGE, DATA_IOVA), 0);
	nvme_stop();
}

/* Nothing is attached: what the controller asks for is not to be had. */
static void detached(void)
{
	volatile uint32_t *csts;
	uint8_t *p = pages_alloc(PAGE);

	start();
	nvme_start(false);
	csts = (volatile uint32_t *)((volatile uint8_t *)nvme_bar() + 0x1c);
	expect_eq(dma_map(p, DATA_IOVA, PAGE, RW), 0);
	expect_eq(nvme_rw(false, 3, PAGE, DATA_IOVA), 0);
	expect_eq(cdev_detach(device), 0);
	memset(p, 0x77, PAGE);
	nvme_put_read(3, DATA_IOVA);
	nvme_ring();
	for (unsigned int i = 0; i < 10000 && !(*csts & 2); i++)
		usleep(1000);
	expect(*csts & 2); /* a queue entry that cannot be read is fatal */
	expect(!nvme_has_completion());
	expect_byte(p, 0x77);
	/* The pins went with the page table; the space is as it was. */
	expect_eq(dma_unmap(DATA_IOVA, PAGE, 0, NULL), 0);
	expect_eq(attach(dma_ioas), 0);
	expect_eq(ioctl(device, VFIO_DEVICE_RESET), 0);
}

static int group_errno(void)
{
	int fd = group_open();

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static void group_or_cdev(void)
{
	int fd = iommufd_open(), cdev = cdev_open(), other = iommufd_open();

	expect(fd >= 0 && cdev >= 0);
	/* An open group, in a container or not, keeps the nodes of its devices from being bound. */
	expect_eq(group_errno(), 0);
	group = group_open();
	expect(group >= 0);
	expect_eq(cdev_bind(cdev, fd, NULL), EBUSY);
	expect_eq(cdev_bind(cdev, -1, NULL), EINVAL);
	expect_eq(cdev_bind(cdev, 999, NULL), EBUSY);
	close(group);
	device_open(VFIO_TYPE1v2_IOMMU);
	expect_eq(cdev_bind(cdev, fd, NULL), EBUSY);
	expect_eq(cdev_bind(device, fd, NULL), EINVAL);
	expect_errno(ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &(struct vfio_device_attach_iommufd_pt){.argsz = 12}),
		     ENOTTY);
	expect_errno(ioctl(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &(struct vfio_device_detach_iommufd_pt){.argsz = 8}),
		     ENOTTY);
	close(group);
	expect_eq(cdev_bind(cdev, fd, NULL), EBUSY); /* the device speaks for it */
	device_close();
	/* And the other way round. */
	expect_eq(cdev_bind(cdev, fd, NULL), 0);
	expect_eq(group_errno(), EBUSY);
	expect_eq(cdev_bind(cdev, other, NULL), EINVAL);
	close(fd);
	expect_eq(group_errno(), EBUSY);
	close(cdev);
	expect_eq(group_errno(), 0);
}

static void write_and_read(uint8_t *p)
{
	memset(p, 0xee, PAGE);
	expect_eq(nvme_rw(true, 5, PAGE, DATA_IOVA), 0);
	memset(p, 0, PAGE);
	expect_eq(nvme_rw(false, 5, PAGE, DATA_IOVA), 0);
	expect_byte(p, 0xee);
}

/* The iommufd, the device, and the mapping of its registers: the device holds the first, the last holds the device. */
static void any_order(void)
{
	static const int order[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
	uint8_t *p = pages_alloc(PAGE);

	for (unsigned int i = 0; i < COUNT(order); i++) {
		bool open[3] = {true, true, true};

		start();
		nvme_start(false);
		expect_eq(dma_map(p, DATA_IOVA, PAGE, RW), 0);
		for (unsigned int j = 0; j < 3; j++) {
			if (open[2])
				write_and_read(p);
			expect_eq(group_errno(), open[1] || open[2] ? EBUSY : 0);
			open[order[i][j]] = false;
			if (order[i][j] == 0)
				close(container);
			else if (order[i][j] == 1)
				close(device);
			else
				nvme_forget();
		}
		expect_eq(group_errno(), 0);
	}
}

static int pair[2];

static void send_fd(int sock, int fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} u = {0};
	struct iovec iov = {(char *)"x", 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	expect_eq(sendmsg(sock, &m, 0), 1);
}

static int receive_fd(int sock)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} u;
	char x;
	struct iovec iov = {&x, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u)};
	int fd;

	expect_eq(recvmsg(sock, &m, MSG_CMSG_CLOEXEC), 1);
	expect(CMSG_FIRSTHDR(&m));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

/* Opens an iommufd and an unbound device, makes a space, maps its own shared memory, and hands all over. */
static void opener(void)
{
	uint8_t *p;
	int mem;

	close(pair[0]);
	container = iommufd_open();
	dma_ioas = ioas_alloc(container);
	mem = memfd_create("passed", MFD_CLOEXEC);
	expect(!ftruncate(mem, PAGE));
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0);
	expect(p != MAP_FAILED);
	memset(p, 0x3c, PAGE);
	expect_eq(dma_map(p, DATA_IOVA, PAGE, RW), 0);
	send_fd(pair[1], container);
	send_fd(pair[1], cdev_open());
	send_fd(pair[1], mem);
	expect_eq(write(pair[1], &dma_ioas, sizeof(dma_ioas)), sizeof(dma_ioas));
	expect_eq(read(pair[1], &dma_ioas, 1), 1); /* until the other side has used it */
}

static void passed(void)
{
	uint32_t devid;
	uint8_t *p;
	int status;
	pid_t pid;

	expect_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	pid = fork();
	expect(pid >= 0);
	if (!pid) {
		opener();
		_exit(0);
	}
	close(pair[1]);
	container = receive_fd(pair[0]);
	device = receive_fd(pair[0]);
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, receive_fd(pair[0]), 0);
	expect(p != MAP_FAILED);
	expect_eq(read(pair[0], &dma_ioas, sizeof(dma_ioas)), sizeof(dma_ioas));
	expect_errno(ioctl(device, VFIO_DEVICE_RESET), EINVAL);
	expect_eq(cdev_bind(device, container, &devid), 0);
	expect_eq(attach(dma_ioas), 0);
	device_ready();
	nvme_start(false);
	expect_eq(nvme_rw(true, 6, PAGE, DATA_IOVA), 0);
	expect_eq(write(pair[0], "x", 1), 1);
	expect_eq(waitpid(pid, &status, 0), pid);
	expect_eq(status, 0);
	/* Its opener has gone; the memory is a file's, and stays. */
	memset(p, 0, PAGE);
	expect_eq(nvme_rw(false, 6, PAGE, DATA_IOVA), 0);
	expect_byte(p, 0x3c);
	nvme_stop();
}

static void die_at_work(void)
{
	uint8_t *p = pages_alloc(16 * PAGE);

	start();
	nvme_start(false);
	expect_eq(dma_map(p, DATA_IOVA, 16 * PAGE, RW), 0);
	for (unsigned int i = 0; i < 12; i++)
		nvme_put_read(i, DATA_IOVA + i * PAGE);
	nvme_ring();
	raise(SIGKILL);
}

static void killed(void)
{
	uint8_t *p = pages_alloc(PAGE);

	for (unsigned int i = 0; i < 5; i++) {
		in_child(die_at_work, SIGKILL);
		expect_eq(group_errno(), 0);
	}
	start();
	expect_eq(config_read(4, 2) & 4, 4);
	nvme_start(false);
	expect_eq(dma_map(p, DATA_IOVA, PAGE, RW), 0);
	expect_eq(nvme_rw(false, 1, PAGE, DATA_IOVA), 0);
	nvme_stop();
}

const struct client_case cdev_cases[] = {
    {"cdev-nodes", "the device's node, and where sysfs tells of it", nodes},
    {"cdev-unbound", "nothing is answered before BIND_IOMMUFD", unbound},
    {"cdev-bind", "every wrong BIND_IOMMUFD has its errno", bind_errors},
    {"cdev-attach", "ATTACH and DETACH: errors, replacing, who is in use", attach_errors},
    {"cdev-dma", "DMA through an IOAS, then through another", dma},
    {"cdev-detached", "DMA of a detached device is a fault", detached},
    {"cdev-group", "a device has one owner, through its group or its node", group_or_cdev},
    {"cdev-any-order", "descriptors closed in any order", any_order},
    {"cdev-passed", "an iommufd and a device that another process opened", passed},
    {"cdev-killed", "the next owner finds nothing of one that was killed at work", killed},
    {NULL, NULL, NULL},
};
