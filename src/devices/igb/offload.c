/* SPDX-License-Identifier: BSD-3-Clause */
/* What is done to a frame on its way out, and found out about one on its way in. */
#include "devices/igb/igb.h"
#include "net/frame.h"

/* 8.12.1: without TCTL.PSP short frames are too short for anyone to take. */
static enum net_verdict send_short(struct igb_txq *q, const struct igb_tx_frame *fr)
{
	uint8_t padded[NET_FRAME_MIN] = {0};
	struct iovec iov = {padded, sizeof(padded)};

	if (!(igb_reg(q->r.d, IGB_TCTL) & IGB_TCTL_PSP) || frame_copy(fr->iov, fr->n, 0, padded, fr->len))
		return NET_DROPPED;
	return igb_tx_send(q, &iov, 1, sizeof(padded), padded);
}

enum net_verdict igb_tx_emit(struct igb_txq *q, struct igb_tx_frame *fr)
{
	if (unlikely(fr->len < NET_FRAME_MIN))
		return send_short(q, fr);
	if (fr->len > NET_FRAME_MAX)
		return NET_DROPPED;
	return igb_tx_send(q, fr->iov, fr->n, fr->len, fr->head);
}

bool igb_rx_wants_headers(const struct igb *d)
{
	return false;
}

void igb_rx_classify(struct igb *d, struct igb_rx_frame *fr)
{
	fr->queue = igb_reg(d, IGB_MRQC) >> 3 & 7;
}
