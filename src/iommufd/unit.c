/* SPDX-License-Identifier: BSD-3-Clause */
/* Which kinds of units there are for PCI functions, and which one it is. */
#include <string.h>

#include "iommufd/internal.h"
#include "iommufd/unit.h"

static const struct iommufd_unit *const units[] = {&vtd_unit, &smmuv3_unit};

const struct iommufd_unit *iommufd_unit(unsigned int i)
{
	return i < ARRAY_SIZE(units) ? units[i] : NULL;
}

const struct iommufd_unit *iommufd_unit_find(const char *name)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(units[i]->name, name))
			return units[i];
	return NULL;
}

const char *iommufd_unit_name(const struct iommufd_unit *u)
{
	return u->name;
}

const char *iommufd_unit_text(const struct iommufd_unit *u)
{
	return u->text;
}

bool iommufd_unit_reserved(const struct iommufd_unit *u, unsigned int i, uint64_t *first, uint64_t *last)
{
	return u->reserved && u->reserved(i, first, last);
}

void iommufd_set_pci_unit(struct iommufd *m, const struct iommufd_unit *u)
{
	m->pci_unit = u;
}

const struct iommufd_unit *iommufd_pci_unit(const struct iommufd_ctx *ctx)
{
	return ctx->m->pci_unit;
}
