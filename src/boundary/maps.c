/* SPDX-License-Identifier: BSD-3-Clause */
#include "boundary/maps.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include "boundary/boundary.h"

/* PROCMAP_QUERY of linux/fs.h, which is newer than Debian 12's headers (Linux 6.11). */
struct procmap_query {
	uint64_t size, query_flags, query_addr;
	uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
	uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
	uint64_t vma_name_addr, build_id_addr;
};
_Static_assert(sizeof(struct procmap_query) == 104, "struct procmap_query is kernel ABI");
#define PROCMAP_QUERY		 0xc0686611UL
#define PROCMAP_COVERING_OR_NEXT 0x10

static _Atomic bool query_missing;

static int find_by_query(int fd, uint64_t addr, struct vma *v)
{
	struct procmap_query q = {
	    .size = sizeof(q),
	    .query_flags = PROCMAP_COVERING_OR_NEXT,
	    .query_addr = addr,
	    .vma_name_size = sizeof(v->name),
	    .vma_name_addr = (uint64_t)v->name,
	};
	long ret;

	v->name[0] = 0;
	ret = sys3(__NR_ioctl, fd, PROCMAP_QUERY, &q);
	if (ret == -ENAMETOOLONG) {
		q.vma_name_size = 0;
		q.vma_name_addr = 0;
		ret = sys3(__NR_ioctl, fd, PROCMAP_QUERY, &q);
	}
	if (ret < 0)
		return ret;
	v->start = q.vma_start;
	v->end = q.vma_end;
	v->offset = q.vma_offset;
	v->dev = makedev(q.dev_major, q.dev_minor);
	v->ino = q.inode;
	v->flags = q.vma_flags & (VMA_READ | VMA_WRITE | VMA_EXEC | VMA_SHARED);
	return 0;
}

/* "start-end rwxs offset major:minor inode   name" */
static void parse_line(const char *p, struct vma *v)
{
	uint64_t major;
	size_t n = 0;

	v->start = parse_number(&p, 16);
	p++;
	v->end = parse_number(&p, 16);
	p++;
	v->flags = (p[0] == 'r' ? VMA_READ : 0) | (p[1] == 'w' ? VMA_WRITE : 0) | (p[2] == 'x' ? VMA_EXEC : 0) |
		   (p[3] == 's' ? VMA_SHARED : 0);
	p += 5;
	v->offset = parse_number(&p, 16);
	p++;
	major = parse_number(&p, 16);
	p++;
	v->dev = makedev(major, parse_number(&p, 16));
	p++;
	v->ino = parse_number(&p, 10);
	while (*p == ' ')
		p++;
	while (*p && n < sizeof(v->name) - 1)
		v->name[n++] = *p++;
	v->name[n] = 0;
}

static int find_by_text(int fd, uint64_t addr, struct vma *v)
{
	struct scratch *s = scratch_get_nested();
	size_t have = 0;
	int ret = -ENOENT;

	for (;;) {
		long n = sys3(__NR_read, fd, s->buf + have, sizeof(s->buf) - 1 - have);
		char *line = s->buf, *end;

		if (n <= 0)
			break;
		have += n;
		s->buf[have] = 0;
		for (end = line; *end; end++) {
			const char *p = line;

			if (*end != '\n')
				continue;
			*end = 0;
			parse_number(&p, 16);
			p++;
			if (parse_number(&p, 16) > addr) {
				parse_line(line, v);
				ret = 0;
				goto out;
			}
			line = end + 1;
		}
		have = end - line;
		if (have == sizeof(s->buf) - 1)
			break; /* a line longer than any the kernel writes */
		memmove(s->buf, line, have);
	}
out:
	scratch_put(s);
	return ret;
}

int maps_find(uint64_t addr, struct vma *v)
{
	long fd = sys4(__NR_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
	int ret = -ENOTTY;

	if (fd < 0)
		return fd;
	if (!query_missing)
		ret = find_by_query(fd, addr, v);
	if (ret == -ENOTTY || ret == -EINVAL) {
		query_missing = true;
		ret = find_by_text(fd, addr, v);
	}
	sys1(__NR_close, fd);
	return ret;
}
