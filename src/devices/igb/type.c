/* SPDX-License-Identifier: BSD-3-Clause */
/* The device type "igb": its options, and a card made from them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <linux/pci_regs.h>

#include "devices/device.h"
#include "devices/igb/igb.h"

enum { OPTION_NET, OPTION_MAC, OPTION_VECTORS, OPTION_VFS };

static const struct device_option options[] = {
    [OPTION_NET] = {"net", OPT_NESTED, "null", false, "what its cable leads to", .more = net_help},
    [OPTION_MAC] = {"mac", OPT_STRING, NULL, false, "the address; without it one is made up"},
    [OPTION_VECTORS] = {"vectors", OPT_UINT, "10", false, "MSI-X vectors", 1, IGB_VECTORS},
    [OPTION_VFS] = {"vfs", OPT_UINT, "0", false, "virtual functions at the start, whose addresses follow the card's", 0,
		    IGB_VFS},
    {NULL},
};

static void func_reset(struct pci_func *f)
{
	struct igb *d = container_of(f, struct igb, f);

	igb_power_on(d);
	/* Rule A5: between two owners. */
	if (!f->sink)
		igb_live_renew(d);
}

static void func_command_changed(struct pci_func *f)
{
	struct igb *d = container_of(f, struct igb, f);

	/* Rule A4: gone from every mapping before the call that cleared the bit returns. */
	if (!pci_mem_enabled(f))
		igb_live_close(d, false);
}

static void card_free(struct igb *d)
{
	igb_live_fini(d);
	pci_func_fini(&d->f);
	free(d);
}

static void func_destroy(struct pci_func *f)
{
	struct igb *d = container_of(f, struct igb, f);

	igb_tx_reset(d);
	igb_rx_reset(d);
	igb_intr_reset(d);
	igb_vfs_forget(d);
	net_close(d->net);
	card_free(d);
}

static void func_settle(struct pci_func *f)
{
	struct igb *d = container_of(f, struct igb, f);

	if (d->live.page.open)
		igb_live_before(d);
}

static const struct pci_func_ops ops = {
    .bar_read = igb_bar_read,
    .bar_write = igb_bar_write,
    .reset = func_reset,
    .command_changed = func_command_changed,
    .settle = func_settle,
    .resume = igb_resume,
    .set_link = igb_set_link,
    .quiesce = igb_quiesce,
    .run = igb_run,
    .save = igb_save,
    .load = igb_load,
    .destroy = func_destroy,
};

/* PCI Express Base 3.0 section 7.12: the address with two bytes of ones in its middle. */
static int add_serial(struct pci_func *f, const uint8_t *mac)
{
	int off = pci_add_ext_cap(f, PCI_EXT_CAP_ID_DSN, 1, 12);

	if (off < 0)
		return off;
	pci_cfg_define(f, off + 4, 4, 0xff000000u | mac[3] << 16 | mac[4] << 8 | mac[5], 0, 0);
	pci_cfg_define(f, off + 8, 4, (uint32_t)mac[0] << 24 | mac[1] << 16 | mac[2] << 8 | 0xff, 0, 0);
	return 0;
}

static int add_capabilities(struct igb *d, unsigned int vectors)
{
	struct pci_func *f = &d->f;
	int rc = pci_add_bar(f, 0, IGB_BAR_SIZE, false, false);

	if (!rc)
		rc = pci_add_bar(f, IGB_MSIX_BAR, IGB_MSIX_BAR_SIZE, false, false);
	if (!rc)
		rc = pci_add_pm(f);
	if (!rc)
		rc = pci_add_msi(f, 1);
	if (!rc)
		rc = pci_add_msix(f, vectors, IGB_MSIX_BAR, IGB_MSIX_TABLE, IGB_MSIX_PBA);
	if (!rc)
		rc = pci_add_express(f);
	if (!rc)
		rc = add_serial(f, d->mac);
	if (!rc)
		pci_add_intx(f);
	return rc;
}

/* Six hexadecimal bytes, and an address that a station can have. */
static bool mac_parse(const char *s, uint8_t mac[6])
{
	int end = 0;

	if (sscanf(s, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5],
		   &end) != 6)
		return false;
	return !s[end] && !(mac[0] & 1) && (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]);
}

/* Cards of different programs may share a cable: made up ones are to differ. */
static void mac_make(uint8_t mac[6])
{
	static const uint8_t ours[3] = {0x02, 0x50, 0x46};

	memcpy(mac, ours, sizeof(ours));
	if (getrandom(mac + 3, 3, GRND_NONBLOCK) != 3)
		memset(mac + 3, 1, 3);
}

static int card_new(const struct device_env *env, struct igb **out)
{
	struct pci_ids ids = {.vendor = IGB_VENDOR,
			      .device = IGB_DEVICE,
			      .subvendor = IGB_VENDOR,
			      .subdevice = IGB_DEVICE,
			      .class = IGB_CLASS,
			      .revision = IGB_REVISION};
	struct igb *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return -ENOMEM;
	rc = pci_func_init(&d->f, &ops, "igb", &ids, env->evs);
	if (rc) {
		free(d);
		return rc;
	}
	d->loop = env->loop;
	d->card = (struct net_card){.receive = igb_rx_receive,
				    .received = igb_rx_received,
				    .missed = igb_rx_missed,
				    .writable = igb_tx_writable,
				    .link = igb_link_changed};
	igb_regs_init(d);
	igb_tx_init(d);
	igb_rx_init(d);
	igb_intr_init(d);
	*out = d;
	return 0;
}

static int create(const struct device_env *env, const struct device_value *v, struct pci_func **f, char *err,
		  size_t errlen)
{
	struct net_env ne = {.loop = env->loop};
	struct igb *d;
	int rc;

	snprintf(err, errlen, "igb: %s", strerror(ENOMEM));
	rc = card_new(env, &d);
	if (rc)
		return rc;
	if (!v[OPTION_MAC].str) {
		mac_make(d->mac);
	} else if (!mac_parse(v[OPTION_MAC].str, d->mac)) {
		snprintf(err, errlen,
			 "igb: mac is six bytes in hexadecimal, as 02:00:00:00:00:01; '%s' is no station's",
			 v[OPTION_MAC].str);
		card_free(d);
		return -EINVAL;
	}
	rc = add_capabilities(d, (unsigned int)v[OPTION_VECTORS].num);
	if (!rc)
		rc = net_open(&ne, v[OPTION_NET].str, &d->card, &d->net, err, errlen);
	if (rc) {
		card_free(d);
		return rc;
	}
	igb_nvm_init(d);
	igb_live_init(d);
	igb_power_on(d);
	rc = igb_vfs_add(d, (unsigned int)v[OPTION_VFS].num);
	if (rc) {
		func_destroy(&d->f);
		return rc;
	}
	*f = &d->f;
	return 0;
}

const struct device_type device_igb = {
    .name = "igb",
    .summary = "Intel 82576 Ethernet controller: 16 queue pairs",
    .options = options,
    .create = create,
};
