/* The host's side of an association until the I/O queues are connected: one command at a time, blocking. */
#ifndef HANDSHAKE_H
#define HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "nvme-tcp.h"

/* How long a target may be silent. */
enum { STALL_MS = 10000 };

struct host {
  const char *address, *nqn, *hostnqn;
  int port;
  uint32_t queues;
  /* Commands on each I/O queue. */
  uint32_t depth;
  bool flow_control;
};

/* What the target says about itself. */
struct target_info {
  uint16_t cntlid;
  uint32_t in_capsule_bytes;
  uint64_t max_data; /* bytes of one command */
  uint32_t block_size;
  uint64_t bytes;
};

/* Connects the admin queue, which stays open, enables the controller and asks it about itself and namespace 1. */
void set_up_controller(const struct host *host, struct target_info *target);

/* Connects an I/O queue; answers its socket and MAXH2CDATA. */
int connect_io_queue(const struct host *host, const struct target_info *target, uint16_t qid, uint32_t *max_h2c_data);

/* Ends the run unless a header that has begun to arrive is one with `hlen` bytes. */
void check_header(const struct pdu_header *header, uint32_t hlen);

/* SCT and SC. */
static inline uint16_t cqe_status(const struct cqe *cqe) { return cqe->status >> 1 & 0x7ff; }

#endif
