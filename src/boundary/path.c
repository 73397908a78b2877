/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs inside a trapped system call on a stack of unknown size: everything large is in struct path_result. Copy loops
 * carry a compiler barrier, so that the optimiser does not turn them into calls of a libc that is not there.
 */
#include "boundary/path.h"

#include <errno.h>

#define PATH_SIZE  4096
#define LINKS_MAX  40 /* as Linux, MAXSYMLINKS */
#define ESCAPE	   "/proc/self/root/"
#define ESCAPE_LEN (sizeof(ESCAPE) - 1)

#define BARRIER() __asm__ volatile("" ::: "memory")

/* ---- text ---- */

static size_t text_len(const char *s)
{
	size_t n = 0;

	while (s[n]) {
		n++;
		BARRIER();
	}
	return n;
}

/* Like memmove. */
static void text_move(char *dst, const char *src, size_t n)
{
	if (dst < src) {
		for (size_t i = 0; i < n; i++) {
			dst[i] = src[i];
			BARRIER();
		}
	} else {
		while (n--) {
			dst[n] = src[n];
			BARRIER();
		}
	}
}

static bool text_equal(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (a[i] != b[i])
			return false;
	return true;
}

/* One component, as a stretch of a path: not NUL-terminated. */
struct comp {
	const char *s;
	size_t len;
};

static bool comp_is(struct comp c, const char *word)
{
	size_t i;

	for (i = 0; i < c.len; i++)
		if (word[i] != c.s[i]) /* stops at the word's NUL too: a component has none */
			return false;
	return !word[i];
}

static bool comp_is_up(struct comp c)
{
	return c.len == 2 && c.s[0] == '.' && c.s[1] == '.';
}

static bool comp_is_dot(struct comp c)
{
	return c.len == 1 && c.s[0] == '.';
}

/* Takes the next component off *p, which ends at end or at a NUL; its length is 0 when there is none. */
static struct comp comp_next_until(const char **p, const char *end)
{
	const char *s = *p;
	struct comp c;

	while (s != end && *s == '/')
		s++;
	c.s = s;
	while (s != end && *s && *s != '/')
		s++;
	c.len = s - c.s;
	*p = s;
	return c;
}

static struct comp comp_next(const char **p)
{
	return comp_next_until(p, NULL);
}

/* The same, "." left out. */
static struct comp comp_next_real(const char **p)
{
	struct comp c;

	do
		c = comp_next(p);
	while (comp_is_dot(c));
	return c;
}

/* Is path[0..len) equal to dir or below it? */
static bool path_below(const char *path, size_t len, const char *dir, size_t dir_len)
{
	return len >= dir_len && text_equal(path, dir, dir_len) && (len == dir_len || path[dir_len] == '/');
}

/* ---- which places are ours ---- */

enum place {
	PLACE_FOREIGN,
	PLACE_ABOVE, /* a directory of the real system that holds ours; never a link, and need not exist there */
	PLACE_OURS,
	PLACE_ASK,	/* ours if the tree has it */
	PLACE_ASK_PROC, /* ours if the tree has a /proc at all */
};

static bool comp_is_host_bridge(struct comp c)
{
	return c.len >= 8 && text_equal(c.s, "pci", 3) && c.s[3] >= '0' && c.s[3] <= 'f';
}

static bool comp_is_vfio_module(struct comp c)
{
	return comp_is(c, "vfio") || comp_is(c, "vfio_pci") || comp_is(c, "vfio_pci_core") ||
	       comp_is(c, "vfio_iommu_type1");
}

/* c is the component that decides; without it the path ends above our place. */
static enum place place_if(struct comp c, bool ours)
{
	return ours ? PLACE_OURS : c.len ? PLACE_FOREIGN : PLACE_ABOVE;
}

static bool comp_is_number(struct comp c)
{
	for (size_t i = 0; i < c.len; i++)
		if (c.s[i] < '0' || c.s[i] > '9')
			return false;
	return c.len;
}

/* p: what follows /proc. It can be a thread's file that makes its calls fail, PID/fail-nth or PID/task/TID/fail-nth. */
static bool is_fail_nth(const char *p, const char *end)
{
	struct comp pid = comp_next_until(&p, end), c = comp_next_until(&p, end);

	if (comp_is(c, "task") && comp_is_number(comp_next_until(&p, end)))
		c = comp_next_until(&p, end);
	return comp_is_number(pid) && comp_is(c, "fail-nth") && !comp_next_until(&p, end).len;
}

/*
 * Judges the canonical path[0..len) by its first components. *ask_len: for PLACE_ASK*, how much of it the tree has to
 * have.
 */
static enum place place_of(const char *path, size_t len, size_t *ask_len)
{
	const char *p = path, *end = path + len;
	struct comp a = comp_next_until(&p, end), b, c;

	if (comp_is(a, "proc") && is_fail_nth(p, end)) {
		*ask_len = p - path;
		return PLACE_ASK_PROC;
	}
	b = comp_next_until(&p, end);
	if (comp_is(a, "dev"))
		return place_if(b, comp_is(b, "vfio") || comp_is(b, "iommu"));
	if (!comp_is(a, "sys"))
		return PLACE_FOREIGN;
	c = comp_next_until(&p, end);
	if (comp_is(b, "bus"))
		return place_if(c, comp_is(c, "pci"));
	if (comp_is(b, "kernel") && comp_is(c, "debug")) {
		*ask_len = p - path;
		return PLACE_ASK;
	}
	if (comp_is(b, "kernel"))
		return place_if(c, comp_is(c, "iommu_groups"));
	if (comp_is(b, "class"))
		return place_if(c, comp_is(c, "iommu") || comp_is(c, "vfio") || comp_is(c, "vfio-dev"));
	if (comp_is(b, "module"))
		return place_if(c, comp_is_vfio_module(c));
	if (!comp_is(b, "devices"))
		return place_if(b, false);
	if (comp_is(c, "virtual")) {
		c = comp_next_until(&p, end);
		if (!comp_is(c, "iommu") && !comp_is(c, "vfio"))
			return place_if(c, false);
	} else if (!comp_is_host_bridge(c)) {
		return place_if(c, false);
	}
	comp_next_until(&p, end); /* the device, if named */
	*ask_len = p - path;
	return PLACE_ASK;
}

/* If real[0..len) is the tree's copy of one of our places, the length of the tree's root, else 0. The tree's upper
 * directories are not ours: what they stand for is the real system's. */
static size_t tree_prefix(const struct path_env *env, const char *real, size_t len)
{
	size_t n = text_len(env->shadow), ask;

	if (len <= n || !path_below(real, len, env->shadow, n))
		return 0;
	return place_of(real + n, len - n, &ask) >= PLACE_OURS ? n : 0;
}

long path_unshadow(const struct path_env *env, char *real, size_t len)
{
	size_t n = tree_prefix(env, real, len);

	if (!n)
		return -1;
	text_move(real, real + n, len - n);
	return len - n;
}

/* ---- the fast path ---- */

bool path_has_up(const char *p)
{
	struct comp c;

	while ((c = comp_next(&p)).len)
		if (comp_is_up(c))
			return true;
	return false;
}

/* Can what follows a ".." be a place below the root that leads to us? Links may make any number of ".." reach the root,
 * so this asks for the name alone. */
static bool reaches_by_up(const char *p)
{
	bool up = false;
	struct comp c;

	while ((c = comp_next_real(&p)).len) {
		if (up && (comp_is(c, "sys") || comp_is(c, "dev") || comp_is(c, "proc")))
			return true;
		up = comp_is_up(c);
	}
	return false;
}

static bool foreign_in_sys(const char *p)
{
	struct comp c;

	if (path_has_up(p))
		return false;
	c = comp_next_real(&p);
	if (comp_is(c, "kernel")) {
		c = comp_next_real(&p);
		return !comp_is(c, "iommu_groups") && !comp_is(c, "debug");
	}
	return !c.len || comp_is(c, "fs") || comp_is(c, "power") || comp_is(c, "firmware") || comp_is(c, "hypervisor");
}

static bool foreign_in_dev(const char *p)
{
	struct comp c;

	if (path_has_up(p))
		return false;
	c = comp_next_real(&p);
	return !comp_is(c, "vfio") && !comp_is(c, "iommu") && !comp_is(c, "fd");
}

static bool foreign_in_proc(const char *p)
{
	struct comp c;

	if (path_has_up(p))
		return false;
	c = comp_next_real(&p);
	if (!c.len || (!comp_is(c, "self") && !comp_is(c, "thread-self") && (c.s[0] < '0' || c.s[0] > '9')))
		return true;
	c = comp_next_real(&p);
	return !comp_is(c, "cwd") && !comp_is(c, "root") && !comp_is(c, "fd") && !comp_is(c, "task") &&
	       !comp_is(c, "fail-nth");
}

/* p: a path seen from the root directory. */
static bool foreign_from_root(const char *p)
{
	struct comp c;

	do
		c = comp_next_real(&p);
	while (comp_is_up(c));
	if (comp_is(c, "sys"))
		return foreign_in_sys(p);
	if (comp_is(c, "dev"))
		return foreign_in_dev(p);
	if (comp_is(c, "proc"))
		return foreign_in_proc(p);
	return !reaches_by_up(p);
}

static bool foreign_from_base(const struct path_env *env, const char *base, const char *path)
{
	const char *p = base, *q;
	struct comp head = comp_next(&p), c;
	size_t depth = 0;

	if (!head.len)
		return foreign_from_root(path);
	if (tree_prefix(env, base, text_len(base)) || comp_is(head, "sys") || comp_is(head, "proc"))
		return false;
	if (comp_is(head, "dev")) {
		c = comp_next(&p);
		if (!c.len)
			return foreign_in_dev(path);
		return !comp_is(c, "vfio") && !path_has_up(path);
	}
	/* The base holds no link: each leading ".." takes exactly one component off. */
	for (p = base; comp_next(&p).len;)
		depth++;
	for (p = q = path; comp_is_up(comp_next_real(&p)); q = p)
		if (depth)
			depth--;
	return depth ? !reaches_by_up(q) : foreign_from_root(q);
}

bool path_is_foreign(const struct path_env *env, const char *base, const char *path)
{
	if (!path[0])
		return true;
	if (path[0] == '/')
		return !tree_prefix(env, path, text_len(path)) && foreign_from_root(path);
	if (!base || base[0] != '/')
		return true;
	return foreign_from_base(env, base, path);
}

/* ---- the walk ---- */

struct walk {
	const struct path_env *env;
	struct path_result *r;
	size_t len; /* of r->logical; 0 = the root directory, otherwise it starts with '/' and does not end with one */
	char *rest; /* in r->scratch: what is still to be walked; ends with NUL at the scratch's end */
	size_t escape;	/* the first `escape` bytes of logical and what is below are the real system's; 0 = none */
	int links;	/* followed so far */
	bool in_tree;	/* logical is served from the tree */
	bool touched;	/* some step was: the kernel would have come out elsewhere */
	bool directory; /* logical is known to be a directory */
	bool slash;	/* the path insists on one */
	bool raw;	/* the rest could not be resolved and was appended as it is */
};

/* Writes the real path of the current place to r->out. Returns its length, or -ENAMETOOLONG. */
static long walk_real_path(struct walk *w, size_t len)
{
	size_t n = w->in_tree ? text_len(w->env->shadow) : 0;
	char *out = w->r->out;

	if (n + len + 3 > PATH_SIZE) /* "/." and NUL may follow */
		return -ENAMETOOLONG;
	text_move(out, w->env->shadow, n);
	text_move(out + n, w->r->logical, len);
	n += len;
	if (!n)
		out[n++] = '/';
	out[n] = 0;
	return n;
}

/* Decides where the current place lies. fresh: nothing is known from the place before. 0 or -ENAMETOOLONG. */
static int walk_place(struct walk *w, bool fresh)
{
	size_t ask;
	char c;
	long n;

	w->r->logical[w->len] = 0;
	if (w->escape && w->len >= w->escape) {
		w->in_tree = false;
		return 0;
	}
	w->escape = 0;
	switch (place_of(w->r->logical, w->len, &ask)) {
	case PLACE_FOREIGN:
		w->in_tree = false;
		return 0;
	case PLACE_ABOVE:
		w->in_tree = false;
		w->directory = true;
		return 0;
	case PLACE_OURS:
		w->in_tree = true;
		break;
	case PLACE_ASK:
		if (!fresh && w->len > ask) /* decided above */
			return 0;
		/* fall through */
	case PLACE_ASK_PROC:
		w->in_tree = true;
		n = walk_real_path(w, ask);
		if (n < 0)
			return n;
		/* EINVAL: it is there, and no link. A byte of buffer is enough for the question. */
		n = w->env->readlink(w->r->out, &c, 1);
		w->in_tree = n >= 0 || n == -EINVAL;
		break;
	}
	w->touched |= w->in_tree;
	return 0;
}

/* If the real path that the walk has come to is the tree's, goes on at what it stands for. */
static void walk_unshadow(struct walk *w)
{
	char *s = w->r->logical;
	size_t n = tree_prefix(w->env, s, w->len);

	if (!n || w->escape)
		return;
	w->len -= n;
	text_move(s, s + n, w->len);
	s[w->len] = 0;
	w->touched = true;
}

/* Puts text in front of what is still to be walked. */
static int walk_prepend(struct walk *w, const char *text, size_t len)
{
	if ((size_t)(w->rest - w->r->scratch) < len + 1)
		return -ENAMETOOLONG;
	if (*w->rest && *w->rest != '/')
		*--w->rest = '/';
	w->rest -= len;
	text_move(w->rest, text, len);
	return 0;
}

/* Resolution ends here, because the kernel's would: what is left goes along unread. */
static int walk_give_up(struct walk *w)
{
	size_t n = text_len(w->rest);

	if (w->len + 1 + n + 1 > PATH_SIZE)
		return -ENAMETOOLONG;
	if (n && *w->rest != '/')
		w->r->logical[w->len++] = '/';
	text_move(w->r->logical + w->len, w->rest, n);
	w->len += n;
	w->r->logical[w->len] = 0;
	w->rest += n;
	w->slash = false;
	w->raw = true;
	return 0;
}

/* For "." and "..", which only a directory has. 1: it is one; 0: it is not, and the walk has ended; or -errno. */
static int walk_check_directory(struct walk *w, struct comp c)
{
	char byte;
	long n;

	if (w->directory)
		return 1;
	n = walk_real_path(w, w->len);
	if (n < 0)
		return n;
	w->r->out[n++] = '/';
	w->r->out[n++] = '.';
	w->r->out[n] = 0;
	if (w->env->readlink(w->r->out, &byte, 1) == -EINVAL) {
		w->directory = true;
		return 1;
	}
	w->rest = (char *)c.s;
	return walk_give_up(w);
}

/* The link at the current place, its text already in the scratch's first n bytes. */
static int walk_link(struct walk *w, size_t n)
{
	char *text = w->r->scratch;
	bool escape = w->in_tree && n > ESCAPE_LEN && text_equal(text, ESCAPE, ESCAPE_LEN);
	int ret;

	if (++w->links > LINKS_MAX)
		return -ELOOP;
	if (escape) { /* to a real path that holds no link itself */
		n -= ESCAPE_LEN - 1;
		if (n >= PATH_SIZE)
			return -ENAMETOOLONG;
		text_move(w->r->logical, text + ESCAPE_LEN - 1, n);
		w->len = w->escape = n;
		w->directory = false;
		return walk_place(w, true);
	}
	ret = walk_prepend(w, text, n);
	if (ret)
		return ret;
	if (*w->rest == '/') {
		w->len = 0;
	} else {
		while (w->r->logical[--w->len] != '/')
			;
	}
	w->directory = true; /* what holds a link is one */
	return walk_place(w, false);
}

static int walk_up(struct walk *w)
{
	if (w->len)
		while (w->r->logical[--w->len] != '/')
			;
	return walk_place(w, false);
}

static int walk_down(struct walk *w, struct comp c, bool follow)
{
	const char *ahead;
	size_t room;
	long n;
	int ret;

	if (w->len + 1 + c.len + 1 > PATH_SIZE)
		return -ENAMETOOLONG;
	w->r->logical[w->len++] = '/';
	text_move(w->r->logical + w->len, c.s, c.len);
	w->len += c.len;
	w->r->logical[w->len] = 0;
	w->directory = false;
	walk_unshadow(w);
	ret = walk_place(w, false);
	if (ret)
		return ret;
	if (w->directory || (!*w->rest && !follow))
		return 0;
	n = walk_real_path(w, w->len);
	if (n < 0)
		return n;
	/* The part of the scratch before the rest is free; a link that fills it may have been cut short. */
	room = w->rest - w->r->scratch;
	if (!room)
		return -ENAMETOOLONG;
	n = w->env->readlink(w->r->out, w->r->scratch, room < PATH_SIZE ? room : PATH_SIZE);
	if (n == -EINVAL)
		return 0;
	ahead = w->rest;
	if (n <= 0)
		return comp_next(&ahead).len ? walk_give_up(w) : 0;
	if ((size_t)n >= room)
		return -ENAMETOOLONG;
	return walk_link(w, n);
}

static int walk_all(struct walk *w, bool follow)
{
	int ret = 0;

	while (!ret && *w->rest) {
		const char *p = w->rest;
		struct comp c = comp_next(&p);

		w->rest = (char *)p;
		if (!c.len) {
			w->slash = true;
		} else if (comp_is_dot(c) || comp_is_up(c)) {
			ret = walk_check_directory(w, c);
			if (ret <= 0)
				return ret;
			ret = comp_is_up(c) ? walk_up(w) : 0;
			w->slash = true;
		} else {
			w->slash = false;
			ret = walk_down(w, c, follow);
		}
	}
	return ret;
}

/* Where a relative path starts: base becomes logical. */
static int walk_start(struct walk *w, const char *base)
{
	size_t n = text_len(base), tree, ask;

	if (n >= PATH_SIZE)
		return -ENAMETOOLONG;
	tree = tree_prefix(w->env, base, n);
	if (tree) {
		w->touched = true;
		base += tree;
		n -= tree;
	}
	/* The tree may hold a link back to the real system where the real one has a directory: base must be walked. */
	if (w->env->host_devices && place_of(base, n, &ask) >= PLACE_OURS)
		return walk_prepend(w, base, n);
	if (n == 1)
		n = 0;
	text_move(w->r->logical, base, n);
	w->len = n;
	w->r->logical[n] = 0;
	return walk_place(w, true);
}

static bool is_device(const struct walk *w)
{
	static const char dev_vfio[] = "/dev/vfio/", dev_iommu[] = "/dev/iommu";
	const char *s = w->r->logical;

	if (w->raw || w->slash)
		return false;
	return (w->len >= sizeof(dev_vfio) && text_equal(s, dev_vfio, sizeof(dev_vfio) - 1)) ||
	       (w->len == sizeof(dev_iommu) - 1 && text_equal(s, dev_iommu, w->len));
}

static int walk_finish(struct walk *w)
{
	struct path_result *r = w->r;
	long n;

	if (!w->in_tree && !w->touched) {
		r->route = PATH_NATIVE;
		return 0;
	}
	n = walk_real_path(w, w->len);
	if (n < 0)
		return n;
	if (w->slash && r->out[n - 1] != '/') {
		r->out[n++] = '/';
		r->out[n] = 0;
	}
	r->route = !w->in_tree ? PATH_REAL : is_device(w) ? PATH_DEVICE : PATH_SHADOW;
	if (!w->len) {
		r->logical[0] = '/';
		r->logical[1] = 0;
	}
	return 0;
}

int path_resolve_deep(const struct path_env *env, const char *base, const char *path, bool follow,
		      struct path_result *r)
{
	struct walk w = {.env = env, .r = r, .rest = r->scratch + sizeof(r->scratch) - 1, .directory = true};
	size_t n = text_len(path);
	int ret;

	r->route = PATH_NATIVE;
	if (!n || (path[0] != '/' && (!base || base[0] != '/')))
		return 0;
	if (n >= PATH_SIZE)
		return -ENAMETOOLONG;
	*w.rest = 0;
	r->logical[0] = 0;
	ret = walk_prepend(&w, path, n);
	if (!ret && path[0] != '/')
		ret = walk_start(&w, base);
	if (!ret)
		ret = walk_all(&w, follow);
	return ret ? ret : walk_finish(&w);
}

int path_resolve(const struct path_env *env, const char *base, const char *path, bool follow, struct path_result *r)
{
	r->route = PATH_NATIVE;
	if (path_is_foreign(env, base, path))
		return 0;
	return path_resolve_deep(env, base, path, follow, r);
}
