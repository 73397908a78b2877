/* SPDX-License-Identifier: BSD-3-Clause */
/* 5.15: Identify. */
#include <stdio.h>
#include <string.h>

#include "devices/nvme/nvme.h"

enum { CNS_NAMESPACE = 0, CNS_CONTROLLER = 1, CNS_ACTIVE = 2, CNS_DESCRIPTORS = 3 };

#define OACS_NONE    0
#define LPA_EFFECTS  BIT(1)
#define LPA_EXTENDED BIT(2)
#define ONCS                                                                                                           \
	(BIT(0) /* Compare */ | BIT(2) /* DSM */ | BIT(3) /* Write Zeroes */ | BIT(4) /* Save, Select */ |             \
	 BIT(6) /* Timestamp */ | BIT(7) /* Verify */)
#define VWC_PRESENT   BIT(0)
#define VWC_FLUSH_ALL (3U << 1) /* Flush with NSID FFFFFFFFh flushes every namespace */
#define SGLS	      (1U /* no alignment needed */ | BIT(16) /* bit bucket */)
#define DLFEAT	      (1U /* deallocated blocks read as zeros */ | BIT(3) /* Write Zeroes deallocates */)

static void pad(char *dst, size_t n, const char *src)
{
	size_t len = strnlen(src, n);

	memcpy(dst, src, len);
	memset(dst + len, ' ', n - len);
}

static void fill_controller(struct nvme *c, struct nvme_id_ctrl *id)
{
	memcpy(&id->vid, &c->f.cfg[0x00], 2);
	memcpy(&id->ssvid, &c->f.cfg[0x2c], 2);
	pad(id->sn, sizeof(id->sn), c->serial);
	pad(id->mn, sizeof(id->mn), c->model);
	pad(id->fr, sizeof(id->fr), NVME_FIRMWARE);
	id->rab = 6;
	id->mdts = (uint8_t)c->mdts;
	id->ver = NVME_VERSION;
	id->cntrltype = 1;
	id->oacs = OACS_NONE;
	id->acl = NVME_ACL - 1;
	id->aerl = NVME_AERL - 1;
	id->frmw = 1 << 1 | BIT(0); /* one slot, read-only */
	id->lpa = LPA_EFFECTS | LPA_EXTENDED;
	id->elpe = NVME_ERRORS - 1;
	id->wctemp = NVME_WARNING_TEMP;
	id->cctemp = NVME_CRITICAL_TEMP;
	id->sqes = 6 << 4 | 6;
	id->cqes = 4 << 4 | 4;
	id->nn = c->nns;
	id->oncs = ONCS;
	id->vwc = VWC_PRESENT | VWC_FLUSH_ALL;
	id->sgls = SGLS;
	id->psd[0].mp = 2500;
	/* 7.9: the part before the serial number is the same for all of this kind. */
	snprintf(id->subnqn, sizeof(id->subnqn), "nqn.2014.08.org.nvmexpress:pinfold:%s", c->serial);
}

static void fill_namespace(const struct nvme_ns *ns, struct nvme_id_ns *id)
{
	id->nsze = id->ncap = id->nuse = ns->nlb;
	id->dlfeat = DLFEAT;
	id->nsattr = ns->readonly ? 1 : 0;
	memcpy(id->nvmcap, &(uint64_t){ns->nlb << ns->shift}, 8);
	id->lbaf[0].lbads = (uint8_t)ns->shift;
}

/* 5.15.2.3: the active ones above nsid, in order. FFFFFFFEh and FFFFFFFFh leave no room for any. */
static uint16_t fill_active(const struct nvme *c, uint32_t nsid, uint32_t *list)
{
	if (nsid >= NVME_NSID_ALL - 1)
		return NVME_INVALID_NAMESPACE;
	for (uint32_t id = 1; id <= c->nns; id++)
		if (id > nsid)
			*list++ = id;
	return NVME_OK;
}

/* A name that stays the same as long as serial number and namespace do; RFC 9562 version 8 (FNV-1a). */
static void make_uuid(const struct nvme *c, uint32_t nsid, uint8_t uuid[16])
{
	uint64_t h[2] = {0xcbf29ce484222325ULL, 0x84222325cbf29ce4ULL};

	for (unsigned int i = 0; i < 2; i++) {
		for (const char *s = c->serial; *s; s++)
			h[i] = (h[i] ^ (uint8_t)*s) * 0x100000001b3ULL;
		h[i] = (h[i] ^ nsid) * 0x100000001b3ULL;
	}
	memcpy(uuid, h, 16);
	uuid[6] = (uuid[6] & 0x0f) | 0x80;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
}

/* 5.15.2.4: type 3 is a UUID; NGUID and EUI64 are 0, so that there must be one. A zero type ends the list. */
static void fill_descriptors(const struct nvme *c, uint32_t nsid, uint8_t *d)
{
	d[0] = 3;
	d[1] = 16;
	make_uuid(c, nsid, d + 4);
}

uint16_t nvme_identify(struct nvme *c, const struct nvme_cmd *cmd)
{
	struct nvme_ns *ns = nvme_ns_find(c, cmd->nsid);
	uint16_t status = NVME_OK;

	memset(c->page, 0, sizeof(c->page));
	switch (cmd->cdw10 & 0xff) {
	case CNS_NAMESPACE:
		/* FFFFFFFFh asks for what namespaces have in common, which is for controllers that manage them. */
		if (!ns)
			return NVME_INVALID_NAMESPACE;
		fill_namespace(ns, (struct nvme_id_ns *)c->page);
		break;
	case CNS_CONTROLLER:
		fill_controller(c, (struct nvme_id_ctrl *)c->page);
		break;
	case CNS_ACTIVE:
		status = fill_active(c, cmd->nsid, (uint32_t *)c->page);
		break;
	case CNS_DESCRIPTORS:
		if (!ns)
			return NVME_INVALID_NAMESPACE;
		fill_descriptors(c, cmd->nsid, c->page);
		break;
	default:
		return NVME_INVALID_FIELD;
	}
	return status ? status : nvme_admin_to_host(c, cmd, sizeof(c->page), c->page, sizeof(c->page));
}
