/* SPDX-License-Identifier: BSD-3-Clause */
/* Device types, as `-d TYPE,KEY=VALUE` names them. A new device is one struct device_type and one line in the table of
 * types.c. */
#ifndef PINFOLD_DEVICES_DEVICE_H
#define PINFOLD_DEVICES_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct events;
struct loop;
struct pci_func;

/*
 * OPT_NESTED is a specification of its own: "KIND:...". Words behind it whose keys the device does not have are part of
 * it, and its commas in values stay doubled. A type has one of these at most.
 */
enum option_kind { OPT_STRING, OPT_SIZE, OPT_UINT, OPT_BOOL, OPT_NESTED };

struct device_option {
	const char *key;
	enum option_kind kind;
	const char *def; /* default as a person writes it; NULL = none; "required" in help when required is set */
	bool required;
	const char *help;		       /* one line */
	uint64_t min, max;		       /* OPT_UINT and OPT_SIZE; both 0 = no limits */
	size_t (*more)(char *buf, size_t len); /* what -d TYPE,help says of an OPT_NESTED; as snprintf */
};

/* One parsed KEY=VALUE; every option of the type is present, defaults filled in, in the order of the table. */
struct device_value {
	const char *str; /* NULL if neither given nor defaulted; valid during create */
	uint64_t num;	 /* OPT_SIZE in bytes, OPT_UINT, OPT_BOOL 0/1 */
};

struct device_env {
	struct loop *loop;
	struct events *evs;
};

struct device_type {
	const char *name;
	const char *summary;		     /* one line */
	const struct device_option *options; /* ends with key NULL */
	/*
	 * Creates the function, not yet placed. v[i] belongs to options[i]. On failure returns -errno and leaves one
	 * clear line without newline in err.
	 */
	int (*create)(const struct device_env *env, const struct device_value *v, struct pci_func **f, char *err,
		      size_t errlen);
};

extern const struct device_type *const device_types[]; /* ends with NULL */
extern const struct device_type device_nvme;
extern const struct device_type device_root_port, device_upstream, device_downstream;
extern const struct device_type device_ioat;
extern const struct device_type device_ats;
extern const struct device_type device_igb;

const struct device_type *device_type_find(const char *name);

/*
 * Parses and creates "TYPE[,KEY=VALUE]...": a comma in a value is written twice. Common keys, beside the type's own:
 * addr=[DDDD:]BB:DD.F, group=N, acs=on|off, driver=NAME. On failure -EINVAL (the user's mistake: unknown type or key,
 * with the nearest known one in err) or what create returned.
 */
struct device_place {
	int domain;	 /* 0 unless addr= gives one */
	int bdf;	 /* -1: the next free one, 01:00.0, 02:00.0, ... */
	int group;	 /* -1: as Linux would form it */
	int acs;	 /* -1: as the type has it */
	char driver[32]; /* "vfio-pci", "none", or the name of one of the host's own */
};
int device_create(const struct device_env *env, const char *spec, struct pci_func **f, struct device_place *place,
		  char *err, size_t errlen);
/* Text for `-d help` and `-d TYPE,help`, on standard output. 0 or -EINVAL with err. */
int device_help(const char *spec, char *err, size_t errlen);

#endif
