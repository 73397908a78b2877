/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The broker: the process that stands where the kernel stands. One thread, one loop, every object.
 */
#ifndef PINFOLD_BROKER_BROKER_H
#define PINFOLD_BROKER_BROKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct broker;

struct check_options;

struct broker_options {
	const char *const *devices; /* -d specifications */
	size_t ndevices;
	const char *const *faults; /* --fault specifications */
	size_t nfaults;
	const char *iommu;	/* the kind of IOMMU before the devices; NULL: the default */
	const char *const *p2p; /* --p2p INITIATOR:TARGET */
	size_t np2p;
	const char *control; /* path to take orders on; NULL: beside socket, or a private abstract name */
	const char *socket;  /* path to listen on; NULL: a private abstract name */
	uint64_t memlock;    /* bytes each client may pin; 0: the client's own RLIMIT_MEMLOCK, as Linux has it */
	bool strict;	     /* refuse legacy paths that Linux merely warns about */
	bool host_devices;   /* the machine's own PCI devices stay visible beside ours */
	bool iommufd_test;   /* serve the ioctl with which Linux's own tests of iommufd make mock devices */
	const struct check_options *check; /* NULL: nothing is checked */
	bool summary;			   /* print what happened when the broker ends */
	bool verbose;
};

/* The kinds of IOMMUs that there are, a line for each. */
void broker_iommu_help(char *text, size_t size);
/*
 * Creates devices, the shadow tree of /sys and /dev, and the listening socket. On failure NULL with one line in err,
 * and errno: EINVAL for the user's mistake (a device specification, a path), anything else for ours.
 */
struct broker *broker_new(const struct broker_options *o, char *err, size_t errlen);
/* What clients connect to, as ENV_SOCKET wants it ("@name" or a path). */
const char *broker_address(const struct broker *b);
/* Where it takes orders: what `pinfold ctl` connects to. "": nowhere. */
const char *broker_control(const struct broker *b);
/* Serves until stop_fd becomes readable or hangs up, or broker_stop. 0 or -errno. */
int broker_serve(struct broker *b, int stop_fd);
void broker_stop(struct broker *b);
/* How the program ended for which the broker is there: a status of waitpid. A report says so. */
void broker_program_ended(struct broker *b, uint32_t pid, int status);
/*
 * Ends every session, frees everything, removes the tree and the socket; prints the summary if asked for. The number of
 * the checker's findings.
 */
uint64_t broker_free(struct broker *b);

#endif
