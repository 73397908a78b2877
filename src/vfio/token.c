/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The token that a physical function's user and those of its virtual functions share, to show that they trust each
 * other. Answers follow Linux 6.12 drivers/vfio/pci/vfio_pci_core.c (vfio_pci_core_match, vfio_pci_validate_vf_token,
 * vfio_pci_core_feature_token), for virtual functions whose physical function is bound to vfio-pci: one that a driver
 * of the host's own has wants no token. As there, a device that is opened through its own node is not asked for one.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "vfio/internal.h"

#define ARG	 "vf_token="
#define UUID_LEN 36 /* as text */

void token_init(struct vfio_dev *d)
{
	d->pf = NULL;
	for (size_t i = 0; d->f->physfn && i < d->v->ndev; i++)
		if (d->v->dev[i]->f == d->f->physfn)
			d->pf = d->v->dev[i];
	/* Nobody knows it before somebody sets one. */
	if (d->f->sriov && getrandom(d->token, sizeof(d->token), 0) != sizeof(d->token))
		memset(d->token, 0xa5, sizeof(d->token));
}

static int hex(char c)
{
	if (!isxdigit((unsigned char)c))
		return -1;
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3" */
static bool uuid_parse(const char *s, uint8_t uuid[TOKEN_LEN])
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < UUID_LEN; i++) {
		int v;

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (s[i] != '-')
				return false;
			continue;
		}
		v = hex(s[i]);
		if (v < 0)
			return false;
		uuid[n / 2] = n % 2 ? uuid[n / 2] | v : v << 4;
		n++;
	}
	return true;
}

static int validate(struct vfio_dev *d, const uint8_t *uuid)
{
	struct vfio_dev *pf = d->pf && d->pf->state != DEVICE_UNBOUND ? d->pf : NULL;

	if (pf)
		return uuid && !memcmp(uuid, pf->token, TOKEN_LEN) ? 0 : -EACCES;
	if (!d->f->sriov)
		return uuid ? -EINVAL : 0;
	if (d->token_users)
		return uuid && !memcmp(uuid, d->token, TOKEN_LEN) ? 0 : -EACCES;
	if (uuid)
		memcpy(d->token, uuid, TOKEN_LEN);
	return 0;
}

int token_match(struct vfio_dev *d, const char *options)
{
	uint8_t uuid[TOKEN_LEN];
	bool given = false;

	for (;;) {
		options += strspn(options, " ");
		if (!*options)
			return validate(d, given ? uuid : NULL);
		if (given || strncmp(options, ARG, strlen(ARG)))
			return -EINVAL;
		options += strlen(ARG);
		if (strlen(options) < UUID_LEN || !uuid_parse(options, uuid))
			return -EINVAL;
		options += UUID_LEN;
		given = true;
	}
}

void token_entered(struct vfio_dev *d)
{
	if (d->pf)
		d->pf->token_users++;
}

void token_left(struct vfio_dev *d)
{
	if (d->pf)
		d->pf->token_users--;
}

bool token_offered(const struct vfio_dev *d)
{
	return d->f->sriov;
}

long token_set(struct vfio_dev *d, struct feature_call *fc)
{
	uint8_t uuid[TOKEN_LEN];
	int ret = ucall_copy_in(fc->c, fc->data, uuid, sizeof(uuid));

	if (!ret)
		memcpy(d->token, uuid, sizeof(uuid));
	return ret;
}
