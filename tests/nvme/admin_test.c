/* SPDX-License-Identifier: BSD-3-Clause */
/* Registers and the admin command set, command by command, with every status the specification names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <linux/pci_regs.h>
#include <string.h>

#include "host.h"

static struct host h;
static uint64_t buf;

static int setup(void **state)
{
	host_open(&h, "serial=S123,queues=8");
	host_enable(&h, 16, 0);
	buf = host_alloc(&h, 4 * MACHINE_PAGE, MACHINE_PAGE);
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static uint16_t admin(unsigned int op, uint32_t nsid, uint32_t cdw10, uint32_t cdw11, uint32_t *dw0)
{
	struct nvme_cmd cmd = {
	    .opcode = (uint8_t)op, .nsid = nsid, .dptr = {buf, buf + MACHINE_PAGE}, .cdw10 = cdw10, .cdw11 = cdw11};

	return host_cmd(&h, 0, &cmd, dw0);
}

/* ---- registers ---- */
static void registers_have_their_values(void **state)
{
	uint64_t v;

	assert_int_equal(pci_bar_read(h.m.f, 0, NVME_REG_CAP, 8, &v), 0);
	assert_int_equal(v & 0xffff, 4095);
	assert_true(v & NVME_CAP_CQR);
	assert_int_equal((v >> 32) & 15, 0); /* DSTRD */
	assert_true(v & NVME_CAP_CSS_NVM);
	assert_int_equal(host_reg(&h, NVME_REG_VS), 0x00010400);
	assert_int_equal(pci_bar_read(h.m.f, 0, NVME_REG_VS + 1, 2, &v), 0);
	assert_int_equal(v, 0x0104);
	assert_int_equal(pci_bar_read(h.m.f, 0, NVME_REG_VS + 2, 8, &v), 0);
	assert_int_equal(v & 0xffff, 0x0001);
	host_set_reg(&h, NVME_REG_INTMS, 5);
	host_set_reg(&h, NVME_REG_INTMC, 1);
	assert_int_equal(host_reg(&h, NVME_REG_INTMS), 4);
	host_set_reg(&h, NVME_REG_CAP, 0);
	assert_true(host_reg(&h, NVME_REG_CAP) & 4095);
}

static void queue_registers_survive_disable_and_not_flr(void **state)
{
	uint32_t aqa = host_reg(&h, NVME_REG_AQA);

	assert_int_not_equal(aqa, 0);
	host_disable(&h);
	assert_int_equal(host_reg(&h, NVME_REG_AQA), aqa);
	assert_int_equal(host_reg(&h, NVME_REG_ASQ), (uint32_t)h.q[0].sq);
	host_enable(&h, 16, 0);
	assert_int_equal(host_identify(&h, 1, 0, buf), NVME_OK);
	pci_func_reset(h.m.f);
	pci_cfg_write(h.m.f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(host_reg(&h, NVME_REG_AQA), 0);
	assert_int_equal(host_reg(&h, NVME_REG_CSTS), 0);
	host_enable(&h, 16, 0);
	assert_int_equal(host_identify(&h, 1, 0, buf), NVME_OK);
}

static void bad_configuration_is_fatal(void **state)
{
	static const uint32_t bad[] = {1 << 4, 5 << 7, 1 << 11};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		host_disable(&h);
		host_set_reg(&h, NVME_REG_CC, 4 << 20 | 6 << 16 | bad[i] | NVME_CC_EN);
		assert_int_equal(host_reg(&h, NVME_REG_CSTS), NVME_CSTS_CFS);
	}
	host_disable(&h);
	host_set_reg(&h, NVME_REG_AQA, 0);
	host_set_reg(&h, NVME_REG_CC, 4 << 20 | 6 << 16 | NVME_CC_EN);
	assert_int_equal(host_reg(&h, NVME_REG_CSTS), NVME_CSTS_CFS);
	host_disable(&h);
	assert_int_equal(host_reg(&h, NVME_REG_CSTS), 0);
	host_enable(&h, 16, 0);
}

static void shutdown_completes_and_enable_clears_it(void **state)
{
	host_set_reg(&h, NVME_REG_CC, host_reg(&h, NVME_REG_CC) | 1 << 14);
	assert_int_equal(host_reg(&h, NVME_REG_CSTS) & NVME_CSTS_SHST, NVME_CSTS_SHST_BUSY);
	while ((host_reg(&h, NVME_REG_CSTS) & NVME_CSTS_SHST) != NVME_CSTS_SHST_DONE)
		loop_step(h.m.loop, true);
	host_disable(&h);
	host_enable(&h, 16, 0);
	/* A reset in the middle of a shutdown forgets it. */
	host_set_reg(&h, NVME_REG_CC, host_reg(&h, NVME_REG_CC) | 2 << 14);
	host_disable(&h);
	host_run(&h, 50);
	assert_int_equal(host_reg(&h, NVME_REG_CSTS), 0);
}

static void subsystem_reset(void **state)
{
	host_set_reg(&h, NVME_REG_NSSR, 1);
	assert_int_equal(host_reg(&h, NVME_REG_CSTS), NVME_CSTS_RDY);
	host_set_reg(&h, NVME_REG_NSSR, NVME_NSSR_MAGIC);
	assert_int_equal(host_reg(&h, NVME_REG_CSTS), NVME_CSTS_NSSRO);
	assert_int_equal(host_reg(&h, NVME_REG_CC), 0);
	host_set_reg(&h, NVME_REG_CSTS, NVME_CSTS_NSSRO);
	assert_int_equal(host_reg(&h, NVME_REG_CSTS), 0);
}

/* ---- identify ---- */
static void identify_pages(void **state)
{
	const struct nvme_id_ctrl *id = host_ptr(&h, buf);
	const struct nvme_id_ns *ns = host_ptr(&h, buf);
	const uint32_t *list = host_ptr(&h, buf);
	const uint8_t *d = host_ptr(&h, buf);

	assert_int_equal(host_identify(&h, 1, 0, buf), NVME_OK);
	assert_memory_equal(id->sn, "S123                ", 20);
	assert_memory_equal(id->mn, "Pinfold NVMe        ", 20);
	assert_int_equal(id->ver, 0x00010400);
	assert_int_equal(id->sqes, 0x66);
	assert_int_equal(id->cqes, 0x44);
	assert_int_equal(id->nn, 1);
	assert_int_equal(id->mdts, 7);
	assert_int_equal(host_identify(&h, 0, 1, buf), NVME_OK);
	assert_int_equal(ns->nsze, DISK_SIZE / 512);
	assert_int_equal(ns->lbaf[ns->flbas].lbads, 9);
	assert_int_equal(host_identify(&h, 2, 0, buf), NVME_OK);
	assert_int_equal(list[0], 1);
	assert_int_equal(list[1], 0);
	assert_int_equal(host_identify(&h, 2, 1, buf), NVME_OK);
	assert_int_equal(list[0], 0);
	assert_int_equal(host_identify(&h, 3, 1, buf), NVME_OK);
	assert_int_equal(d[0], 3);
	assert_int_equal(d[1], 16);
	assert_int_equal(d[20], 0);
}

static void identify_errors(void **state)
{
	assert_int_equal(host_identify(&h, 0, 0, buf), NVME_INVALID_NAMESPACE);
	assert_int_equal(host_identify(&h, 0, 2, buf), NVME_INVALID_NAMESPACE);
	assert_int_equal(host_identify(&h, 0, NVME_NSID_ALL, buf), NVME_INVALID_NAMESPACE);
	assert_int_equal(host_identify(&h, 2, NVME_NSID_ALL, buf), NVME_INVALID_NAMESPACE);
	assert_int_equal(host_identify(&h, 2, NVME_NSID_ALL - 1, buf), NVME_INVALID_NAMESPACE);
	assert_int_equal(host_identify(&h, 3, 9, buf), NVME_INVALID_NAMESPACE);
	assert_int_equal(host_identify(&h, 0x77, 1, buf), NVME_INVALID_FIELD);
	assert_int_equal(host_identify(&h, 1, 0, buf + 2), NVME_PRP_OFFSET);
	assert_int_equal(host_identify(&h, 1, 0, HOST_IOVA + HOST_MEM), NVME_DATA_TRANSFER_ERROR);
	assert_int_equal(h.m.faults, 1);
	assert_non_null(strstr(h.m.fault_line, "SQ0 CID"));
	assert_non_null(strstr(h.m.fault_line, "PRP1"));
}

static void sgl_and_fuse_are_refused(void **state)
{
	struct nvme_cmd cmd = {.opcode = NVME_ADM_IDENTIFY, .flags = 1 << 6, .dptr = {buf}, .cdw10 = 1};

	assert_int_equal(host_cmd(&h, 0, &cmd, NULL), NVME_INVALID_FIELD);
	cmd.flags = 1;
	assert_int_equal(host_cmd(&h, 0, &cmd, NULL), NVME_INVALID_FIELD);
	assert_int_equal(admin(0x7f, 0, 0, 0, NULL), NVME_INVALID_OPCODE);
	assert_int_equal(admin(NVME_ADM_KEEP_ALIVE, 0, 0, 0, NULL), NVME_INVALID_OPCODE);
}

/* ---- queues ---- */
static uint16_t create_cq(unsigned int qid, unsigned int qsize, uint32_t cdw11)
{
	return admin(NVME_ADM_CREATE_CQ, 0, qsize << 16 | qid, cdw11, NULL);
}

static uint16_t create_sq(unsigned int qid, unsigned int qsize, uint32_t cdw11)
{
	return admin(NVME_ADM_CREATE_SQ, 0, qsize << 16 | qid, cdw11, NULL);
}

static void queue_errors(void **state)
{
	assert_int_equal(create_cq(0, 7, 1), NVME_QID_INVALID);
	assert_int_equal(create_cq(9, 7, 1), NVME_QID_INVALID);
	assert_int_equal(create_cq(1, 0, 1), NVME_QSIZE_INVALID);
	assert_int_equal(create_cq(1, 4096, 1), NVME_QSIZE_INVALID);
	assert_int_equal(create_cq(1, 7, 0), NVME_INVALID_FIELD);
	assert_int_equal(create_cq(1, 7, 9 << 16 | 3), NVME_INVALID_VECTOR);
	buf += 4;
	assert_int_equal(create_cq(1, 7, 1), NVME_PRP_OFFSET);
	buf -= 4;
	assert_int_equal(create_cq(1, 7, 8 << 16 | 3), NVME_OK);
	assert_int_equal(create_cq(1, 7, 1), NVME_QID_INVALID);

	assert_int_equal(create_sq(0, 7, 1 << 16 | 1), NVME_QID_INVALID);
	assert_int_equal(create_sq(9, 7, 1 << 16 | 1), NVME_QID_INVALID);
	assert_int_equal(create_sq(1, 7, 0 << 16 | 1), NVME_QID_INVALID);
	assert_int_equal(create_sq(1, 7, 9 << 16 | 1), NVME_QID_INVALID);
	assert_int_equal(create_sq(1, 7, 2 << 16 | 1), NVME_CQ_INVALID);
	assert_int_equal(create_sq(1, 0, 1 << 16 | 1), NVME_QSIZE_INVALID);
	assert_int_equal(create_sq(1, 7, 1 << 16), NVME_INVALID_FIELD);
	assert_int_equal(create_sq(1, 7, 1 << 16 | 1), NVME_OK);
	assert_int_equal(create_sq(2, 4095, 1 << 16 | 1), NVME_OK);
	assert_int_equal(create_sq(1, 7, 1 << 16 | 1), NVME_QID_INVALID);

	assert_int_equal(admin(NVME_ADM_DELETE_CQ, 0, 1, 0, NULL), NVME_INVALID_QUEUE_DELETION);
	assert_int_equal(admin(NVME_ADM_DELETE_SQ, 0, 0, 0, NULL), NVME_QID_INVALID);
	assert_int_equal(admin(NVME_ADM_DELETE_SQ, 0, 3, 0, NULL), NVME_QID_INVALID);
	assert_int_equal(admin(NVME_ADM_DELETE_SQ, 0, 1, 0, NULL), NVME_OK);
	assert_int_equal(admin(NVME_ADM_DELETE_SQ, 0, 2, 0, NULL), NVME_OK);
	assert_int_equal(admin(NVME_ADM_DELETE_CQ, 0, 1, 0, NULL), NVME_OK);
	assert_int_equal(admin(NVME_ADM_DELETE_CQ, 0, 1, 0, NULL), NVME_QID_INVALID);
	assert_int_equal(admin(NVME_ADM_DELETE_CQ, 0, 0, 0, NULL), NVME_QID_INVALID);
}

static void entry_sizes_must_be_set(void **state)
{
	host_set_reg(&h, NVME_REG_CC, NVME_CC_EN);
	assert_int_equal(create_cq(1, 7, 1), NVME_INVALID_FIELD);
	host_set_reg(&h, NVME_REG_CC, 4 << 20 | NVME_CC_EN);
	assert_int_equal(create_cq(1, 7, 1), NVME_OK);
	assert_int_equal(create_sq(1, 7, 1 << 16 | 1), NVME_INVALID_FIELD);
}

/* ---- features ---- */
static void feature_words_are_kept(void **state)
{
	static const struct {
		uint32_t fid, set, want;
	} f[] = {
	    {0x01, 0x04030207, 0x04030207}, {0x06, 0, 0}, {0x08, 0xffff0305, 0x0305}, {0x0a, 3, 1}, {0x0b, 0x102, 0x02},
	};
	uint32_t dw0;

	for (unsigned int i = 0; i < ARRAY_SIZE(f); i++) {
		uint32_t def;

		assert_int_equal(admin(NVME_ADM_GET_FEATURES, 0, f[i].fid, 0, &def), NVME_OK);
		assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, f[i].fid, f[i].set, NULL), NVME_OK);
		assert_int_equal(admin(NVME_ADM_GET_FEATURES, 0, f[i].fid, 0, &dw0), NVME_OK);
		assert_int_equal(dw0, f[i].want);
		assert_int_equal(admin(NVME_ADM_GET_FEATURES, 0, f[i].fid | 1 << 8, 0, &dw0), NVME_OK);
		assert_int_equal(dw0, def);
		assert_int_equal(admin(NVME_ADM_GET_FEATURES, 0, f[i].fid | 2 << 8, 0, &dw0), NVME_OK);
		assert_int_equal(dw0, def);
		assert_int_equal(admin(NVME_ADM_GET_FEATURES, 0, f[i].fid | 3 << 8, 0, &dw0), NVME_OK);
		assert_int_equal(dw0, BIT(2));
		assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, f[i].fid | BIT(31), 0, NULL), NVME_NOT_SAVEABLE);
		assert_int_equal(admin(NVME_ADM_SET_FEATURES, 1, f[i].fid, 0, NULL),
				 f[i].fid == 0x06 ? NVME_OK : NVME_NOT_NS_SPECIFIC);
		assert_int_equal(admin(NVME_ADM_SET_FEATURES, 5, f[i].fid, 0, NULL), NVME_INVALID_NAMESPACE);
	}
	host_disable(&h);
	host_enable(&h, 16, 0);
	assert_int_equal(admin(NVME_ADM_GET_FEATURES, 0, 0x06, 0, &dw0), NVME_OK);
	assert_int_equal(dw0, 1);
}

static void feature_errors(void **state)
{
	uint32_t dw0;

	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, 0x00, 0, NULL), NVME_INVALID_FIELD);
	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, 0x7f, 0, NULL), NVME_INVALID_FIELD);
	assert_int_equal(admin(NVME_ADM_GET_FEATURES, 0, 0x03, 0, NULL), NVME_INVALID_FIELD);
	assert_int_equal(admin(NVME_ADM_GET_FEATURES, 0, 0x01 | 4 << 8, 0, NULL), NVME_INVALID_FIELD);
	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, 0x02, 1, NULL), NVME_INVALID_FIELD);
	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, 0x04, 1 << 16, NULL), NVME_INVALID_FIELD);
	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, 0x04, 2 << 20, NULL), NVME_INVALID_FIELD);
	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, 0x09, 9, NULL), NVME_INVALID_FIELD);
	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, 0x09, 1 << 16 | 8, NULL), NVME_OK);
	assert_int_equal(admin(NVME_ADM_GET_FEATURES, 0, 0x09, 8, &dw0), NVME_OK);
	assert_int_equal(dw0, 1 << 16 | 8);
	/* Error recovery belongs to a namespace. */
	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 1, 0x05, 77, NULL), NVME_OK);
	assert_int_equal(admin(NVME_ADM_GET_FEATURES, 1, 0x05, 0, &dw0), NVME_OK);
	assert_int_equal(dw0, 77);
	assert_int_equal(admin(NVME_ADM_GET_FEATURES, 2, 0x05, 0, &dw0), NVME_INVALID_NAMESPACE);
	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, 0x05, 0, NULL), NVME_INVALID_NAMESPACE);
	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 1, 0x05, BIT(16), NULL), NVME_INVALID_FIELD);
	assert_int_equal(admin(NVME_ADM_GET_FEATURES, 0, 0x05 | 3 << 8, 0, &dw0), NVME_OK);
	assert_int_equal(dw0, BIT(1) | BIT(2));
}

static void number_of_queues(void **state)
{
	uint32_t dw0;

	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, 0x07, 0xffff0001, NULL), NVME_INVALID_FIELD);
	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, 0x07, 0x0001ffff, NULL), NVME_INVALID_FIELD);
	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, 0x07, 0x00030003, &dw0), NVME_OK);
	assert_int_equal(dw0, 7 << 16 | 7);
	assert_int_equal(create_cq(1, 7, 1), NVME_OK);
	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, 0x07, 0x00030003, NULL), NVME_SEQUENCE_ERROR);
}

static void timestamp_counts_from_what_was_set(void **state)
{
	uint64_t *v = host_ptr(&h, buf);
	uint64_t set = 0x123456789a;

	assert_int_equal(admin(NVME_ADM_GET_FEATURES, 0, 0x0e, 0, NULL), NVME_OK);
	assert_int_equal(*v >> 48, 0);
	*v = set;
	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, 0x0e, 0, NULL), NVME_OK);
	assert_int_equal(admin(NVME_ADM_GET_FEATURES, 0, 0x0e, 0, NULL), NVME_OK);
	assert_true((*v & ((1ULL << 48) - 1)) >= set);
	assert_int_equal(*v >> 49, 1);
}

/* ---- logs ---- */
static uint16_t get_log(unsigned int lid, uint32_t bytes, uint64_t off, uint32_t nsid)
{
	struct nvme_cmd cmd = {.opcode = NVME_ADM_GET_LOG,
			       .nsid = nsid,
			       .dptr = {buf, buf + MACHINE_PAGE},
			       .cdw10 = (bytes / 4 - 1) << 16 | lid,
			       .cdw12 = (uint32_t)off,
			       .cdw13 = (uint32_t)(off >> 32)};

	return host_cmd(&h, 0, &cmd, NULL);
}

static void smart_counts(void **state)
{
	const struct nvme_smart *s = host_ptr(&h, buf);
	uint64_t data = host_alloc(&h, 2 * MACHINE_PAGE, MACHINE_PAGE);

	host_io_queue(&h, 1, 16);
	for (unsigned int i = 0; i < 70; i++)
		assert_int_equal(host_rw(&h, 1, NVME_IO_READ, i * 16, 16, data), NVME_OK);
	assert_int_equal(host_rw(&h, 1, NVME_IO_WRITE, 0, 1, data), NVME_OK);
	assert_int_equal(get_log(2, 512, 0, NVME_NSID_ALL), NVME_OK);
	assert_int_equal(s->host_reads[0], 70);
	assert_int_equal(s->units_read[0], 2);
	assert_int_equal(s->host_writes[0], 1);
	assert_int_equal(s->units_written[0], 1);
	assert_int_equal(s->critical, 0);
	assert_int_equal(s->temperature[0] | s->temperature[1] << 8, 310);
	assert_int_equal(get_log(2, 512, 0, 1), NVME_INVALID_FIELD);
}

static void error_log_has_the_newest_first(void **state)
{
	const struct nvme_error_entry *e = host_ptr(&h, buf);

	for (unsigned int i = 0; i < 70; i++)
		assert_int_equal(admin(0x7f, i, 0, 0, NULL), NVME_INVALID_OPCODE);
	assert_int_equal(get_log(1, 4096, 0, 0), NVME_OK);
	for (unsigned int i = 0; i < 64; i++) {
		assert_int_equal(e[i].count, 70 - i);
		assert_int_equal(e[i].nsid, 69 - i);
		assert_int_equal((e[i].status >> 1) & 0x7ff, NVME_INVALID_OPCODE);
		assert_int_equal(e[i].sqid, 0);
	}
	assert_int_equal(get_log(1, 64, 64, 0), NVME_OK);
	assert_int_equal(e[0].count, 69);
}

static void other_logs_and_errors(void **state)
{
	const struct nvme_fw_slot *fw = host_ptr(&h, buf);
	const struct nvme_effects *fx = host_ptr(&h, buf);

	assert_int_equal(get_log(3, 512, 0, 0), NVME_OK);
	assert_int_equal(fw->afi, 1);
	assert_memory_equal(fw->frs[0], "1.0     ", 8);
	assert_int_equal(get_log(5, 4096, 0, 0), NVME_OK);
	assert_true(fx->admin[NVME_ADM_IDENTIFY] & 1);
	assert_false(fx->admin[NVME_ADM_KEEP_ALIVE]);
	assert_int_equal(fx->io[NVME_IO_WRITE] & 3, 3);
	assert_int_equal(get_log(0x42, 512, 0, 0), NVME_INVALID_LOG);
	assert_int_equal(get_log(3, 512, 2, 0), NVME_INVALID_FIELD);
	assert_int_equal(get_log(3, 512, 516, 0), NVME_INVALID_FIELD);
	assert_int_equal(get_log(3, 512, 1ULL << 40, 0), NVME_INVALID_FIELD);
	/* Longer than MDTS; and longer than the page, which fills only the page. */
	assert_int_equal(admin(NVME_ADM_GET_LOG, 0, 0xffff0003, 4, NULL), NVME_INVALID_FIELD);
	memset(host_ptr(&h, buf), 0xee, 2 * MACHINE_PAGE);
	assert_int_equal(get_log(3, 1024, 0, 0), NVME_OK);
	assert_int_equal(((uint8_t *)host_ptr(&h, buf))[511], 0);
	assert_int_equal(((uint8_t *)host_ptr(&h, buf))[512], 0xee);
}

/* ---- asynchronous events and abort ---- */
static uint16_t put_aer(void)
{
	struct nvme_cmd cmd = {.opcode = NVME_ADM_AER};
	uint16_t cid = host_put(&h, 0, &cmd);

	host_ring(&h, 0);
	return cid;
}

static void assert_event(uint16_t cid, uint32_t dw0)
{
	struct nvme_cqe cqe;

	host_wait(&h, 0, &cqe);
	assert_int_equal(cqe.cid, cid);
	assert_int_equal(cqe.status >> 1, 0);
	assert_int_equal(cqe.dw0, dw0);
}

static void bad_doorbells_raise_error_events(void **state)
{
	uint16_t cid = put_aer();
	struct nvme_cqe cqe;

	/* A queue that is not there. */
	host_doorbell(&h, 5, false, 1);
	assert_event(cid, 1 << 16 | 0 << 8 | 0);
	/* Masked until the log page is read. */
	cid = put_aer();
	host_doorbell(&h, 5, false, 1);
	host_run(&h, 5);
	assert_false(host_poll(&h, 0, &cqe));
	assert_int_equal(get_log(1, 64, 0, 0), NVME_OK);
	/* Outside the queue; the same value again; a completion that does not exist. */
	host_doorbell(&h, 0, false, 16);
	assert_event(cid, 1 << 16 | 1 << 8 | 0);
	cid = put_aer();
	assert_int_equal(get_log(1, 64, 0, 0), NVME_OK);
	host_ring(&h, 0);
	assert_event(cid, 1 << 16 | 1 << 8 | 0);
	assert_int_equal(get_log(1, 64, 0, 0), NVME_OK);
	cid = put_aer();
	host_doorbell(&h, 0, true, (h.q[0].cq_head + 3) % 16);
	assert_event(cid, 1 << 16 | 1 << 8 | 0);
	/* Nothing of that disturbed the queue. */
	assert_int_equal(host_identify(&h, 1, 0, buf), NVME_OK);
}

static void event_without_request_waits(void **state)
{
	host_doorbell(&h, 7, true, 1);
	host_run(&h, 5);
	assert_event(put_aer(), 1 << 16 | 0 << 8 | 0);
}

static void temperature_threshold_event(void **state)
{
	const struct nvme_smart *s = host_ptr(&h, buf);
	struct nvme_cqe cqe;
	uint16_t cid = put_aer();

	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, 0x04, 300, NULL), NVME_OK);
	assert_false(host_poll(&h, 0, &cqe));
	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, 0x04, 400, NULL), NVME_OK);
	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, 0x0b, 2, NULL), NVME_OK);
	assert_false(host_poll(&h, 0, &cqe));
	assert_int_equal(admin(NVME_ADM_SET_FEATURES, 0, 0x04, 1 << 20 | 310, NULL), NVME_OK);
	assert_event(cid, 2 << 16 | 1 << 8 | 1);
	assert_int_equal(get_log(2, 512, 0, NVME_NSID_ALL), NVME_OK);
	assert_int_equal(s->critical, BIT(1));
}

static void aer_limit_and_abort(void **state)
{
	uint16_t cid[4], extra;
	struct nvme_cqe cqe;
	uint32_t dw0;

	for (unsigned int i = 0; i < 4; i++)
		cid[i] = put_aer();
	extra = put_aer();
	host_wait(&h, 0, &cqe);
	assert_int_equal(cqe.cid, extra);
	assert_int_equal((cqe.status >> 1) & 0x7ff, NVME_AER_LIMIT);
	assert_int_equal(admin(NVME_ADM_ABORT, 0, 0x7777 << 16, 0, &dw0), NVME_OK);
	assert_int_equal(dw0 & 1, 1);
	assert_int_equal(admin(NVME_ADM_ABORT, 0, (uint32_t)cid[1] << 16 | 1, 0, &dw0), NVME_OK);
	assert_int_equal(dw0 & 1, 1);
	assert_int_equal(admin(NVME_ADM_ABORT, 0, (uint32_t)cid[1] << 16, 0, &dw0), NVME_OK);
	assert_int_equal(dw0 & 1, 0);
	host_wait(&h, 0, &cqe);
	assert_int_equal(cqe.cid, cid[1]);
	assert_int_equal((cqe.status >> 1) & 0x7ff, NVME_ABORT_REQUESTED);
	/* There is room for one again, and the others are still there, in order. */
	put_aer();
	host_doorbell(&h, 5, false, 1);
	assert_event(cid[0], 1 << 16);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(registers_have_their_values),
	    T(queue_registers_survive_disable_and_not_flr),
	    T(bad_configuration_is_fatal),
	    T(shutdown_completes_and_enable_clears_it),
	    T(subsystem_reset),
	    T(identify_pages),
	    T(identify_errors),
	    T(sgl_and_fuse_are_refused),
	    T(queue_errors),
	    T(entry_sizes_must_be_set),
	    T(feature_words_are_kept),
	    T(feature_errors),
	    T(number_of_queues),
	    T(timestamp_counts_from_what_was_set),
	    T(smart_counts),
	    T(error_log_has_the_newest_first),
	    T(other_logs_and_errors),
	    T(bad_doorbells_raise_error_events),
	    T(event_without_request_waits),
	    T(temperature_threshold_event),
	    T(aer_limit_and_abort),
	};

	return cmocka_run_group_tests_name("nvme-admin", tests, NULL, NULL);
}
