/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/lock.h"

/* A switch, because the boundary has no relocations to spare for a table of pointers. */
const char *lock_class_name(enum lock_class c)
{
	switch (c) {
	case LOCK_FOLLOW:
		return "follow";
	case LOCK_SCRATCH:
		return "scratch";
	case LOCK_SLOT:
		return "slot";
	case LOCK_DESCRIBE:
		return "describe";
	case LOCK_SCRATCH_TWO:
		return "nested scratch";
	case LOCK_ADOPT:
		return "adopt";
	case LOCK_SHARE:
		return "share";
	case LOCK_HELD:
		return "held files";
	case LOCK_WINDOWS:
		return "windows";
	case LOCK_INSNS:
		return "instructions";
	case LOCK_SIGNALS:
		return "signals";
	case LOCK_PROCESS:
		return "process";
	case LOCK_FDS:
		return "descriptors";
	case LOCK_RING:
		return "ring";
	case LOCK_WATCH:
		return "watch";
	case LOCK_MODULES:
		return "modules";
	case LOCK_WORKER:
		return "worker";
	case LOCK_THREADS:
		return "threads";
	case LOCK_STACKS:
		return "stacks";
	case LOCK_BLOCK:
		return "block";
	case LOCK_CLOSER:
		return "closer";
	case LOCK_CLASSES:
		break;
	}
	return "?";
}
