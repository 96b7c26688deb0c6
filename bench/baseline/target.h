/* What target.c, the connections and I/O queues, and target-admin.c know of each other. */
#ifndef TARGET_H
#define TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "nvme-tcp.h"

enum {
  IN_CAPSULE_BYTES = 16384,
  MDTS_SHIFT = 8, /* 4096 << 8 = 1 MiB */
  MAX_DATA = 4096 << MDTS_SHIFT,
  MAX_H2C_DATA = 131072,
  MAX_QUEUE_ENTRIES = 1024,
  RECEIVE_BYTES = 256 * 1024,
  IOV_MAX_ENTRIES = 1024,
  /* A command adds at most two headers of 24 bytes and two iovec entries. */
  HEADER_BYTES = IOV_MAX_ENTRIES * 24,
};
#define VERSION 0x00020100u
/* CAP: MQES, CQR, TO = 7.5 s, CSS = NVM. */
#define CAPABILITIES ((uint64_t)(MAX_QUEUE_ENTRIES - 1) | 1ull << 16 | 15ull << 24 | 1ull << 37)

/* Data of one write on its way by R2T. */
struct transfer {
  bool busy;
  uint16_t cid;
  uint32_t length;
  uint32_t received;
  uint64_t offset;
  uint32_t capacity;
  uint8_t *data;
};

struct connection {
  int fd;
  bool initialized; /* ICReq was answered */
  int qid;          /* -1 until Connect */
  uint16_t cntlid;
  bool flow_control;
  uint32_t entries; /* of the submission queue */
  uint32_t sqhd;
  uint32_t cc; /* admin queue: the CC property */
  uint8_t *identify;

  /* Received bytes not yet looked at lie between `start` and `end`. */
  uint32_t start, end;
  uint8_t *receive;
  /* The H2CData PDU whose payload is arriving. */
  struct transfer *arriving;
  uint32_t arriving_bytes;
  struct transfer *transfers; /* one for each entry of the submission queue, by ttag */
  uint32_t free_transfers;
  uint16_t *free_transfer;

  /* Replies between `sent` and `count` are still to be sent. */
  struct iovec iov[IOV_MAX_ENTRIES];
  int sent, count;
  uint32_t header_bytes;
  uint8_t headers[HEADER_BYTES];
  bool blocked; /* the socket is full: nothing is executed until it has taken everything */
  void **copies;
  int copy_count;
  struct connection *next, *previous;
};

extern const char *subnqn;
extern uint64_t block_count;
extern uint32_t block_size;

/* Zeroed memory. */
void *allocate(size_t size);
void reply_status(struct connection *c, uint16_t cid, uint16_t status, uint64_t result);
/* Success with data. Only without flow control may the data stand for the response as well (NVMe-TCP 3.3.2.1). */
void reply_data(struct connection *c, uint16_t cid, const void *data, uint32_t length);

void connect_queue(struct connection *c, const struct sqe *sqe, const uint8_t *payload, uint32_t length);
void execute_property(struct connection *c, const struct sqe *sqe);
void execute_admin(struct connection *c, const struct sqe *sqe);
/* The admin queue of a controller is gone. */
void forget_controller(uint16_t cntlid);

#endif
