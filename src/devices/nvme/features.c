/* SPDX-License-Identifier: BSD-3-Clause */
/* 5.14 and 5.21: Get and Set Features. Nothing is saveable, so the saved value is the default (5.14.1). */
#include <string.h>
#include <time.h>

#include "devices/nvme/nvme.h"

enum {
	FID_ARBITRATION = 0x01,
	FID_POWER = 0x02,
	FID_TEMPERATURE = 0x04,
	FID_ERROR_RECOVERY = 0x05,
	FID_WRITE_CACHE = 0x06,
	FID_QUEUES = 0x07,
	FID_COALESCING = 0x08,
	FID_VECTOR = 0x09,
	FID_ATOMICITY = 0x0a,
	FID_ASYNC_EVENTS = 0x0b,
	FID_TIMESTAMP = 0x0e,
};

enum { SEL_CURRENT, SEL_DEFAULT, SEL_SAVED, SEL_CAPABILITIES };

#define CAP_NAMESPACE  BIT(1)
#define CAP_CHANGEABLE BIT(2)

#define TIMESTAMP_MASK ((1ULL << 48) - 1)

static void features_default(struct nvme_features *f)
{
	memset(f, 0, sizeof(*f));
	f->arbitration = 6; /* RAB of Identify Controller */
	f->temp_over = NVME_WARNING_TEMP;
	f->wce = 1;
}

void nvme_features_reset(struct nvme *c)
{
	features_default(&c->feat);
}

uint16_t nvme_temperature(const struct nvme *c)
{
	return NVME_TEMPERATURE;
}

bool nvme_too_warm_or_cold(const struct nvme *c)
{
	uint16_t t = nvme_temperature(c);

	return t >= c->feat.temp_over || t <= c->feat.temp_under;
}

/* 5.14.1.2: critical warning bit 1 is the temperature; bit 1 of the configuration asks for its event. */
static void check_temperature(struct nvme *c)
{
	if (nvme_too_warm_or_cold(c) && (c->feat.async_config & BIT(1)))
		nvme_aer_event(c, NVME_AER_SMART, 1, 2);
}

/* ---- timestamp (5.21.1.14): milliseconds since 1970 that go on counting ---- */
static uint16_t timestamp_set(struct nvme *c, const struct nvme_cmd *cmd)
{
	uint64_t v;
	uint16_t status = nvme_admin_from_host(c, cmd, sizeof(v), &v);

	if (status)
		return status;
	c->feat.timestamp_base = v & TIMESTAMP_MASK;
	c->feat.timestamp_set_at = loop_now();
	c->feat.timestamp_origin = 1;
	return NVME_OK;
}

static uint16_t timestamp_get(struct nvme *c, const struct nvme_cmd *cmd, const struct nvme_features *f)
{
	uint64_t since = f->timestamp_origin ? f->timestamp_set_at : c->born;
	uint64_t v = (f->timestamp_base + (loop_now() - since) / 1000000) & TIMESTAMP_MASK;

	if (f != &c->feat)
		v = 0;
	v |= (uint64_t)f->timestamp_origin << 49; /* byte 6: Synch in bit 0, Timestamp Origin in bits 3:1 */
	return nvme_admin_to_host(c, cmd, sizeof(v), &v, sizeof(v));
}

/* ---- one word per feature ---- */
/* 5.21.1.4: where the threshold that cdw11 selects is kept; NULL if there is none. TMPSEL 0 is the composite. */
static uint32_t *threshold(struct nvme_features *f, uint32_t cdw11, bool set)
{
	unsigned int sensor = (cdw11 >> 16) & 15, which = (cdw11 >> 20) & 3;

	if (sensor && !(set && sensor == 15))
		return NULL;
	return which == 0 ? &f->temp_over : which == 1 ? &f->temp_under : NULL;
}

static uint16_t set_error_recovery(struct nvme *c, const struct nvme_cmd *cmd)
{
	if (cmd->cdw11 & BIT(16)) /* DULBE: NSFEAT says that there is no such error */
		return NVME_INVALID_FIELD;
	if (cmd->nsid == NVME_NSID_ALL) {
		for (unsigned int i = 1; i <= c->nns; i++)
			c->feat.error_recovery[i] = cmd->cdw11 & 0xffff;
		return NVME_OK;
	}
	if (!nvme_ns_find(c, cmd->nsid))
		return NVME_INVALID_NAMESPACE;
	c->feat.error_recovery[cmd->nsid] = cmd->cdw11 & 0xffff;
	return NVME_OK;
}

static uint16_t set_queues(struct nvme *c, const struct nvme_cmd *cmd, uint32_t *dw0)
{
	/* 5.21.1.7: not once there are I/O queues; FFFFh is no number. */
	if (c->io_created)
		return NVME_SEQUENCE_ERROR;
	if ((cmd->cdw11 & 0xffff) == 0xffff || cmd->cdw11 >> 16 == 0xffff)
		return NVME_INVALID_FIELD;
	*dw0 = (c->queues - 1) << 16 | (c->queues - 1);
	return NVME_OK;
}

static uint16_t set_vector(struct nvme *c, const struct nvme_cmd *cmd)
{
	unsigned int v = cmd->cdw11 & 0xffff;

	if (v >= c->f.msix_n)
		return NVME_INVALID_FIELD;
	c->feat.no_coalescing[v] = (cmd->cdw11 >> 16) & 1;
	return NVME_OK;
}

static uint16_t set_word(struct nvme *c, const struct nvme_cmd *cmd, uint32_t *dw0)
{
	uint32_t v = cmd->cdw11, *t;

	switch (cmd->cdw10 & 0xff) {
	case FID_ARBITRATION:
		c->feat.arbitration = v & ~0xf8U;
		return NVME_OK;
	case FID_POWER:
		if (v & 31) /* NPSS is 0: one state */
			return NVME_INVALID_FIELD;
		c->feat.power = v & 0xff;
		return NVME_OK;
	case FID_TEMPERATURE:
		t = threshold(&c->feat, v, true);
		if (!t)
			return NVME_INVALID_FIELD;
		*t = v & 0xffff;
		check_temperature(c);
		return NVME_OK;
	case FID_ERROR_RECOVERY:
		return set_error_recovery(c, cmd);
	case FID_WRITE_CACHE:
		c->feat.wce = v & 1;
		return NVME_OK;
	case FID_QUEUES:
		return set_queues(c, cmd, dw0);
	case FID_COALESCING:
		c->feat.coalescing = v & 0xffff;
		return NVME_OK;
	case FID_VECTOR:
		return set_vector(c, cmd);
	case FID_ATOMICITY:
		c->feat.atomicity = v & 1;
		return NVME_OK;
	case FID_ASYNC_EVENTS:
		c->feat.async_config = v & 0xff; /* OAES offers no notices */
		check_temperature(c);
		return NVME_OK;
	case FID_TIMESTAMP:
		return timestamp_set(c, cmd);
	default:
		return NVME_INVALID_FIELD;
	}
}

static bool feature_known(unsigned int fid)
{
	return fid >= FID_ARBITRATION && fid <= FID_TIMESTAMP && fid != 0x03 && fid != 0x0c && fid != 0x0d;
}

uint16_t nvme_set_features(struct nvme *c, const struct nvme_cmd *cmd, uint32_t *dw0)
{
	unsigned int fid = cmd->cdw10 & 0xff;

	if (!feature_known(fid))
		return NVME_INVALID_FIELD;
	if (cmd->cdw10 & BIT(31))
		return NVME_NOT_SAVEABLE;
	if (fid != FID_ERROR_RECOVERY && cmd->nsid && cmd->nsid != NVME_NSID_ALL) {
		if (!nvme_ns_find(c, cmd->nsid))
			return NVME_INVALID_NAMESPACE;
		/* Controllers in the field take the write cache with a namespace too, and qemu's driver sets it so. */
		if (fid != FID_WRITE_CACHE)
			return NVME_NOT_NS_SPECIFIC;
	}
	return set_word(c, cmd, dw0);
}

static uint16_t get_word(struct nvme *c, struct nvme_features *f, const struct nvme_cmd *cmd, uint32_t *dw0)
{
	uint32_t *t;
	unsigned int v;

	switch (cmd->cdw10 & 0xff) {
	case FID_ARBITRATION:
		*dw0 = f->arbitration;
		return NVME_OK;
	case FID_POWER:
		*dw0 = f->power;
		return NVME_OK;
	case FID_TEMPERATURE:
		t = threshold(f, cmd->cdw11, false);
		if (!t)
			return NVME_INVALID_FIELD;
		*dw0 = *t;
		return NVME_OK;
	case FID_ERROR_RECOVERY:
		if (!nvme_ns_find(c, cmd->nsid))
			return NVME_INVALID_NAMESPACE;
		*dw0 = f->error_recovery[cmd->nsid];
		return NVME_OK;
	case FID_WRITE_CACHE:
		*dw0 = f->wce;
		return NVME_OK;
	case FID_QUEUES:
		*dw0 = (c->queues - 1) << 16 | (c->queues - 1);
		return NVME_OK;
	case FID_COALESCING:
		*dw0 = f->coalescing;
		return NVME_OK;
	case FID_VECTOR:
		v = cmd->cdw11 & 0xffff;
		if (v >= c->f.msix_n)
			return NVME_INVALID_FIELD;
		*dw0 = (uint32_t)f->no_coalescing[v] << 16 | v;
		return NVME_OK;
	case FID_ATOMICITY:
		*dw0 = f->atomicity;
		return NVME_OK;
	case FID_ASYNC_EVENTS:
		*dw0 = f->async_config;
		return NVME_OK;
	default:
		return timestamp_get(c, cmd, f);
	}
}

uint16_t nvme_get_features(struct nvme *c, const struct nvme_cmd *cmd, uint32_t *dw0)
{
	unsigned int fid = cmd->cdw10 & 0xff;
	struct nvme_features def;

	if (!feature_known(fid))
		return NVME_INVALID_FIELD;
	switch ((cmd->cdw10 >> 8) & 7) {
	case SEL_CURRENT:
		return get_word(c, &c->feat, cmd, dw0);
	case SEL_DEFAULT:
	case SEL_SAVED:
		features_default(&def);
		return get_word(c, &def, cmd, dw0);
	case SEL_CAPABILITIES:
		*dw0 = CAP_CHANGEABLE | (fid == FID_ERROR_RECOVERY ? CAP_NAMESPACE : 0);
		return NVME_OK;
	default:
		return NVME_INVALID_FIELD;
	}
}
