/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pci/p2p.h"
#include "pci/pci.h"

/* 1 to max hex digits, and the character that ends them. */
static bool hex_field(const char **s, unsigned int max, char end, uint32_t limit, uint32_t *val)
{
	unsigned int n = strspn(*s, "0123456789abcdefABCDEF");

	if (!n || n > max || (*s)[n] != end)
		return false;
	*val = strtoul(*s, NULL, 16);
	*s += n + (end != 0);
	return *val <= limit;
}

/* [DDDD:]BB:DD.F, up to what is behind it. */
static bool parse_function(const char **s, uint32_t *id)
{
	const char *dot = strchr(*s, '.'), *colon = strchr(*s, ':');
	uint32_t domain = 0, bus, dev;

	if (!dot || !colon || colon > dot)
		return false;
	if (memchr(colon + 1, ':', dot - colon - 1) && !hex_field(s, 4, ':', 0xffff, &domain))
		return false;
	if (!hex_field(s, 2, ':', 0xff, &bus) || !hex_field(s, 2, '.', 0x1f, &dev) || **s < '0' || **s > '7')
		return false;
	*id = domain << 16 | bus << 8 | dev << 3 | (**s - '0');
	++*s;
	return true;
}

static bool parse_side(const char **s, uint32_t *id)
{
	if (strncmp(*s, "all", 3))
		return parse_function(s, id);
	*s += 3;
	*id = P2P_ALL;
	return true;
}

int p2p_allow(struct p2p_policy *p, const char *s)
{
	struct p2p_pair pair = {P2P_ALL, P2P_ALL};

	if (strcmp(s, "all")) {
		if (!parse_side(&s, &pair.initiator) || *s++ != ':' || !parse_side(&s, &pair.target) || *s)
			return -EINVAL;
	}
	if (p->n == P2P_PAIRS_MAX)
		return -ENOSPC;
	p->pair[p->n++] = pair;
	return 0;
}

static bool side_is(uint32_t side, const struct pci_func *f)
{
	return side == P2P_ALL || side == ((uint32_t)f->domain << 16 | f->bdf);
}

bool p2p_allowed(const struct p2p_policy *p, const struct pci_func *initiator, const struct pci_func *target)
{
	if (initiator->group == target->group)
		return true;
	for (unsigned int i = 0; p && i < p->n; i++)
		if (side_is(p->pair[i].initiator, initiator) && side_is(p->pair[i].target, target))
			return true;
	return false;
}
