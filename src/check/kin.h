/* SPDX-License-Identifier: BSD-3-Clause */
/* Which process is a child of which, by fork: the last ones, as they say it themselves. */
#ifndef PINFOLD_CHECK_KIN_H
#define PINFOLD_CHECK_KIN_H

#include <stdbool.h>
#include <stdint.h>

struct kin;

struct kin *kin_new(void);
void kin_free(struct kin *k);
void kin_born(struct kin *k, uint64_t child, uint64_t parent, uint32_t pid); /* sessions; pid of the child */
void kin_ended(struct kin *k, uint64_t session);			     /* its descent stays known for a while */
bool kin_descends(const struct kin *k, uint64_t session, uint64_t from);
uint32_t kin_alive(const struct kin *k, uint64_t from); /* pid of a descendant that has not ended; 0: none */
bool kin_any(const struct kin *k);			/* some child has not ended */
/* It has mapped memory of its own for DMA: it is no stranger to the device. */
void kin_mapped(struct kin *k, uint64_t session);
bool kin_has_mapped(const struct kin *k, uint64_t session);

#endif
