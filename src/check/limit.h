/* SPDX-License-Identifier: BSD-3-Clause */
/* How near programs come to what they may pin. */
#ifndef PINFOLD_CHECK_LIMIT_H
#define PINFOLD_CHECK_LIMIT_H

struct limits;

struct limits *limits_new(void);
void limits_free(struct limits *l);

#endif
