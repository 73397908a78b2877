/* SPDX-License-Identifier: BSD-3-Clause */
/* A library that is loaded and unloaded; NAME is what its function is called within. */
static int done;

static __attribute__((noinline)) void NAME(void (*call)(void))
{
	call();
	done++;
}

void plugin_call(void (*call)(void));

void plugin_call(void (*call)(void))
{
#ifdef LATER
	done += 3;
	done ^= 12345;
#endif
	NAME(call);
	done++;
}
