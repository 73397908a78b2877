/* SPDX-License-Identifier: BSD-3-Clause */
/* Which function may reach which other one's memory (rule B2): pairs that somebody allowed. Functions of one group need
 * no leave: nothing stands between them. */
#ifndef PINFOLD_PCI_P2P_H
#define PINFOLD_PCI_P2P_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pci_func;

#define P2P_PAIRS_MAX 256
#define P2P_ALL	      UINT32_MAX

struct p2p_pair {
	uint32_t initiator, target; /* domain << 16 | bdf, or P2P_ALL */
};

struct p2p_policy {
	unsigned int n;
	struct p2p_pair pair[P2P_PAIRS_MAX];
};

/* Adds what "INITIATOR:TARGET" says: each [DDDD:]BB:DD.F or `all`; or "all". 0, -EINVAL (not that), -ENOSPC. */
int p2p_allow(struct p2p_policy *p, const char *pair);
bool p2p_allowed(const struct p2p_policy *p, const struct pci_func *initiator, const struct pci_func *target);

#endif
