/* The admin queue of the baseline target and Connect: as little as hosts need. */
#define _GNU_SOURCE
#include <string.h>

#include "target.h"

enum { MAX_CONTROLLERS = 1024 };
/* By cntlid: true while its admin queue lives. */
static bool controllers[MAX_CONTROLLERS];

void forget_controller(uint16_t cntlid) { controllers[cntlid] = false; }

static void put16(uint8_t *page, int at, uint16_t value) { memcpy(page + at, &value, 2); }
static void put32(uint8_t *page, int at, uint32_t value) { memcpy(page + at, &value, 4); }
static void put64(uint8_t *page, int at, uint64_t value) { memcpy(page + at, &value, 8); }
static void put_text(uint8_t *page, int at, int size, const char *text) {
  memset(page + at, ' ', size);
  memcpy(page + at, text, strlen(text));
}

static void identify(struct connection *c, const struct sqe *sqe) {
  if (!c->identify) c->identify = allocate(4096);
  uint8_t *page = memset(c->identify, 0, 4096);
  uint8_t cns = sqe->cdw10 & 0xff;
  if (sqe->sgl_length != 4096 || sqe->sgl_id != SGL_TRANSPORT) {
    reply_status(c, sqe->cid, STATUS_SGL_LENGTH_INVALID, 0);
    return;
  }
  if (cns != 1 && cns != 2 && sqe->nsid != 1) {
    reply_status(c, sqe->cid, STATUS_INVALID_NAMESPACE, 0);
    return;
  }
  switch (cns) {
    case 0: /* namespace */
      put64(page, 0, block_count);
      put64(page, 8, block_count);
      put64(page, 16, block_count);
      page[30] = 1; /* NMIC: all controllers have it */
      put32(page, 128, (uint32_t)__builtin_ctz(block_size) << 16);
      break;
    case 1: /* controller */
      put_text(page, 4, 20, "BASELINE");
      put_text(page, 24, 40, "epoll baseline target");
      put_text(page, 64, 8, "1");
      page[76] = 2; /* CMIC: there may be other controllers, as for hosts with two paths */
      page[77] = MDTS_SHIFT;
      put16(page, 78, c->cntlid);
      put32(page, 80, VERSION);
      page[111] = 1; /* I/O controller */
      put16(page, 320, 10); /* KAS: the timer is never armed */
      page[512] = 0x66;
      page[513] = 0x44;
      put16(page, 514, MAX_QUEUE_ENTRIES);
      put32(page, 516, 1);
      put32(page, 536, 1 | 1 << 20); /* SGLs, with an offset into the capsule */
      strcpy((char *)page + 768, subnqn);
      put32(page, 1792, (64 + IN_CAPSULE_BYTES) / 16);
      put32(page, 1796, 1);
      page[1803] = 1;
      break;
    case 2: /* active namespaces */
      if (sqe->nsid < 1) put32(page, 0, 1);
      break;
    case 3: /* descriptors: a UUID made of the block count */
      page[0] = 3;
      page[1] = 16;
      put64(page, 4, block_count);
      put64(page, 12, 0xba5e11ed);
      break;
    default:
      reply_status(c, sqe->cid, STATUS_INVALID_FIELD, 0);
      return;
  }
  reply_data(c, sqe->cid, page, 4096);
}

void connect_queue(struct connection *c, const struct sqe *sqe, const uint8_t *payload, uint32_t length) {
  const struct connect_data *data = (const void *)payload;
  uint16_t qid = sqe->cdw10 >> 16;
  uint32_t entries = (sqe->cdw11 & 0xffff) + 1;
  bool valid = length == sizeof *data && entries >= 2 && entries <= MAX_QUEUE_ENTRIES &&
               !strncmp(data->subnqn, subnqn, sizeof data->subnqn);
  if (valid && qid == 0) {
    valid = data->cntlid == 0xffff;
    for (c->cntlid = 1; c->cntlid < MAX_CONTROLLERS && controllers[c->cntlid]; c->cntlid++) {}
    valid = valid && c->cntlid < MAX_CONTROLLERS;
  } else if (valid) {
    c->cntlid = data->cntlid;
    valid = c->cntlid < MAX_CONTROLLERS && controllers[c->cntlid];
  }
  if (c->qid >= 0 || !valid) {
    reply_status(c, sqe->cid, c->qid >= 0 ? STATUS_COMMAND_SEQUENCE_ERROR : STATUS_CONNECT_INVALID_PARAMETERS, 0);
    return;
  }
  c->qid = qid;
  if (qid == 0) controllers[c->cntlid] = true;
  c->entries = entries;
  c->sqhd = 1;
  c->flow_control = !(sqe->cdw11 >> 16 & CATTR_DISABLE_SQFLOW);
  c->transfers = allocate(entries * sizeof *c->transfers);
  c->free_transfer = allocate(entries * sizeof *c->free_transfer);
  for (uint32_t i = 0; i < entries; i++) c->free_transfer[c->free_transfers++] = entries - 1 - i;
  /* SQHD FFFFh in this one response confirms that there is no flow control (Base 6.3). */
  if (!c->flow_control) c->sqhd = 0xffff;
  reply_status(c, sqe->cid, STATUS_SUCCESS, c->cntlid);
  if (!c->flow_control) c->sqhd = 0;
}

void execute_property(struct connection *c, const struct sqe *sqe) {
  uint64_t value;
  if ((sqe->nsid & 0xff) == FCTYPE_PROPERTY_SET) {
    if (sqe->cdw11 == PROPERTY_CC) c->cc = sqe->cdw12;
    reply_status(c, sqe->cid, sqe->cdw11 == PROPERTY_CC ? STATUS_SUCCESS : STATUS_INVALID_FIELD, 0);
    return;
  }
  switch (sqe->cdw11) {
    case PROPERTY_CAP: value = CAPABILITIES; break;
    case PROPERTY_VS: value = VERSION; break;
    case PROPERTY_CC: value = c->cc; break;
    /* RDY follows CC.EN, SHST says "complete" as soon as CC.SHN asks for a shutdown. */
    case PROPERTY_CSTS: value = (c->cc & 1) | ((c->cc >> 14 & 3) ? 2u << 2 : 0); break;
    default: reply_status(c, sqe->cid, STATUS_INVALID_FIELD, 0); return;
  }
  reply_status(c, sqe->cid, STATUS_SUCCESS, value);
}

void execute_admin(struct connection *c, const struct sqe *sqe) {
  switch (sqe->opcode) {
    case ADMIN_IDENTIFY: identify(c, sqe); return;
    case ADMIN_KEEP_ALIVE: reply_status(c, sqe->cid, STATUS_SUCCESS, 0); return;
    case ADMIN_ASYNC_EVENT: return; /* nothing ever happens here */
    case ADMIN_SET_FEATURES:
    case ADMIN_GET_FEATURES:
      switch (sqe->cdw10 & 0xff) {
        case FEATURE_NUMBER_OF_QUEUES: reply_status(c, sqe->cid, STATUS_SUCCESS, 127 | 127 << 16); return;
        case FEATURE_ASYNC_EVENT:
        case FEATURE_KEEP_ALIVE: reply_status(c, sqe->cid, STATUS_SUCCESS, 0); return;
        default: reply_status(c, sqe->cid, STATUS_INVALID_FIELD, 0); return;
      }
    default: reply_status(c, sqe->cid, STATUS_INVALID_OPCODE, 0);
  }
}
