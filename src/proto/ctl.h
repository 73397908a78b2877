/* SPDX-License-Identifier: BSD-3-Clause */
/* Between `pinfold ctl` and a broker: a SOCK_SEQPACKET socket, an order per message, and an answer to each. */
#ifndef PINFOLD_PROTO_CTL_H
#define PINFOLD_PROTO_CTL_H

#define ENV_CONTROL    "PINFOLD_CONTROL" /* where the program's own broker takes orders */
#define CTL_SUFFIX     ".ctl"		 /* a standing broker's, beside its socket */
#define CTL_PATH_MAX   107
#define CTL_ORDER_MAX  1024  /* "VERB ARGUMENT", without an end */
#define CTL_ANSWER_MAX 65536 /* one of the bytes below, then text for a person */

enum { CTL_OK = 'O', CTL_USAGE = 'U', CTL_FAILED = 'F' };

#endif
