/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two processes that `pinfold run` looks after: the broker and the program.
 *
 * The parent has every signal blocked and waits for them one by one; it has one thread and owns no other state, so
 * nothing here races. The broker lives in a session of its own, deaf to the terminal and to polite signals: it ends
 * when the control pipe closes, by our hand or by our death.
 */
#ifndef PINFOLD_CLI_SUPERVISE_H
#define PINFOLD_CLI_SUPERVISE_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>
#include "broker/broker.h"

/* What the broker is told through the pipe whose end tells it to stop. */
struct program_end {
	uint32_t pid; /* 0: it has not ended */
	int status;   /* as waitpid has it */
};

struct supervisor {
	pid_t broker;  /* 0: none, or reaped */
	pid_t program; /* 0: none, or reaped */
	int control;   /* write end of the broker's stop pipe; -1 if there is no broker */
	bool broker_failed;
	bool findings;		      /* of the checker */
	unsigned int findings_status; /* to end with if there are any; 0: with the program's */
	int program_status;	      /* as waitpid has it, once program has been reaped */
	struct program_end end;
	sigset_t mask; /* what the program shall find, as we found it */
	struct sigaction on_child, on_pipe;
};

/* Blocks and takes over the signals. Before anything else. */
void supervisor_init(struct supervisor *s);

/*
 * Starts a broker and waits until it is ready. 0, or the exit status with a line in text. On success text is the
 * address for ENV_SOCKET, control the one for ENV_CONTROL.
 */
int supervisor_start_broker(struct supervisor *s, const struct broker_options *o, char *text, size_t size,
			    char *control, size_t control_size);

/* Starts the program. 0, or the exit status with a line in err. */
int supervisor_start_program(struct supervisor *s, char *const argv[], char *err, size_t size);

/* Forwards signals and keeps in step with job control until the program has ended. */
void supervisor_wait_program(struct supervisor *s);

/* Ends the broker and waits for it. A terminating signal meanwhile kills it. */
void supervisor_end_broker(struct supervisor *s);

/* Ends this process as the program ended: with its status, or by the same signal. */
_Noreturn void supervisor_exit(struct supervisor *s);

#endif
