#define _GNU_SOURCE
#include "handshake.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "load-tools.h"

static void send_all(int fd, const void *data, size_t length) {
  const uint8_t *bytes = data;
  while (length > 0) {
    ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
    if (n < 0) fail("sending: %s", strerror(errno));
    bytes += n;
    length -= (size_t)n;
  }
}

static void receive_all(int fd, void *data, size_t length, const char *what) {
  uint8_t *bytes = data;
  while (length > 0) {
    ssize_t n = recv(fd, bytes, length, 0);
    if (n == 0) fail("the target closed the connection instead of answering %s", what);
    if (n < 0) fail("no answer to %s: %s", what, errno == EAGAIN ? "timed out" : strerror(errno));
    bytes += n;
    length -= (size_t)n;
  }
}

void check_header(const struct pdu_header *header, uint32_t hlen) {
  if (header->type == PDU_C2H_TERM_REQ) fail("the target terminates the connection (C2HTermReq)");
  if (header->hlen != hlen) fail("PDU type %02xh: hlen %u", header->type, header->hlen);
}

/* Sends `sqe` with `length` bytes in the capsule, collects `reply_size` bytes of data, answers the completion. */
static struct cqe command(int fd, struct sqe sqe, const void *data, uint32_t length, void *reply, uint32_t reply_size,
                          const char *what) {
  struct capsule_cmd capsule = {
      .header = {.type = PDU_CAPSULE_CMD, .hlen = 72, .pdo = length ? 72 : 0, .plen = 72 + length},
      .sqe = sqe,
  };
  uint32_t received = 0;
  capsule.sqe.flags = SQE_SGL;
  capsule.sqe.sgl_length = length ? length : reply_size;
  capsule.sqe.sgl_id = length ? SGL_OFFSET : SGL_TRANSPORT;
  send_all(fd, &capsule, sizeof capsule);
  send_all(fd, data, length);
  for (;;) {
    union {
      struct pdu_header header;
      struct data_pdu data;
      struct capsule_resp resp;
    } pdu;
    receive_all(fd, &pdu, sizeof pdu, what);
    check_header(&pdu.header, 24);
    if (pdu.header.type == PDU_C2H_DATA) {
      if (pdu.data.cid != sqe.cid || pdu.data.offset != received || pdu.data.length > reply_size - received ||
          pdu.header.pdo != 24 || pdu.header.plen != 24 + pdu.data.length)
        fail("%s: wrong C2HData", what);
      receive_all(fd, (uint8_t *)reply + received, pdu.data.length, what);
      received += pdu.data.length;
      if (!(pdu.header.flags & FLAG_SUCCESS)) continue;
      if (received != reply_size) fail("%s: success after %u bytes of data", what, received);
      return (struct cqe){.cid = sqe.cid};
    } else if (pdu.header.type == PDU_CAPSULE_RESP) {
      if (pdu.header.plen != 24 || pdu.resp.cqe.cid != sqe.cid) fail("%s: wrong CapsuleResp", what);
      if (cqe_status(&pdu.resp.cqe)) fail("%s: status %03xh", what, cqe_status(&pdu.resp.cqe));
      if (received != reply_size) fail("%s: success after %u bytes of data", what, received);
      return pdu.resp.cqe;
    } else {
      fail("%s: unexpected PDU type %02xh", what, pdu.header.type);
    }
  }
}

static uint64_t get_property(int fd, uint32_t offset, bool wide, const char *what) {
  struct sqe sqe = {.opcode = FABRICS, .cid = 1, .nsid = FCTYPE_PROPERTY_GET, .cdw10 = wide, .cdw11 = offset};
  struct cqe cqe = command(fd, sqe, NULL, 0, NULL, 0, what);
  return cqe.dw0 | (wide ? (uint64_t)cqe.dw1 << 32 : 0);
}

/* A connection that ICReq and ICResp have set up. */
static int open_connection(const struct host *host, uint32_t *max_h2c_data) {
  struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons((uint16_t)host->port)};
  struct timeval timeout = {.tv_sec = STALL_MS / 1000};
  struct ic_pdu ic = {.header = {.type = PDU_ICREQ, .hlen = 128, .plen = 128}};
  if (inet_pton(AF_INET, host->address, &sin.sin_addr) != 1) fail("%s is not an IPv4 address", host->address);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (void *)&sin, sizeof sin) < 0)
    fail("cannot connect to %s:%d: %s", host->address, host->port, strerror(errno));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);

  send_all(fd, &ic, sizeof ic);
  receive_all(fd, &ic, sizeof ic, "ICReq");
  check_header(&ic.header, 128);
  if (ic.header.type != PDU_ICRESP || ic.header.plen != 128 || ic.pfv != 0 || ic.digests != 0) fail("wrong ICResp");
  if (ic.alignment != 0) fail("the target wants data aligned (CPDA %u), which is not supported", ic.alignment);
  if (ic.limit < 4096) fail("ICResp: MAXH2CDATA %u", ic.limit);
  *max_h2c_data = ic.limit;
  return fd;
}

/* A queue of N + 1 entries holds N commands; its size is 0's based. */
static struct cqe connect_queue(int fd, const struct host *host, uint16_t qid, uint16_t cntlid, uint32_t depth) {
  const char *what = qid == 0 ? "Connect of the admin queue" : "Connect of an I/O queue";
  struct connect_data data = {.cntlid = cntlid};
  uint32_t attributes = host->flow_control ? 0 : CATTR_DISABLE_SQFLOW;
  struct sqe sqe = {.opcode = FABRICS,
                    .nsid = FCTYPE_CONNECT,
                    .cdw10 = (uint32_t)qid << 16,
                    .cdw11 = depth | attributes << 16};
  memset(data.hostid, 0x6e, sizeof data.hostid);
  strcpy(data.subnqn, host->nqn);
  strcpy(data.hostnqn, host->hostnqn);
  struct cqe cqe = command(fd, sqe, &data, sizeof data, NULL, 0, what);
  /* FFFFh confirms that there is no SQ flow control (Base 6.3). Some targets forget that: what was asked for counts. */
  if (host->flow_control && cqe.sqhd == 0xffff) fail("%s: flow control is disabled although nobody asked", what);
  return cqe;
}

int connect_io_queue(const struct host *host, const struct target_info *target, uint16_t qid, uint32_t *max_h2c_data) {
  int fd = open_connection(host, max_h2c_data);
  struct cqe cqe = connect_queue(fd, host, qid, target->cntlid, host->depth);
  if ((uint16_t)cqe.dw0 != target->cntlid)
    fail("Connect of an I/O queue: cntlid %u instead of %u", cqe.dw0 & 0xffff, target->cntlid);
  return fd;
}

static void enable(int fd, uint64_t cap) {
  struct sqe set_cc = {.opcode = FABRICS, .cid = 2, .nsid = FCTYPE_PROPERTY_SET, .cdw11 = PROPERTY_CC};
  uint64_t deadline = now_ns() + (cap >> 24 & 0xff) * 500000000u;
  set_cc.cdw12 = 1 | 6 << 16 | 4 << 20; /* EN, IOSQES, IOCQES */
  command(fd, set_cc, NULL, 0, NULL, 0, "Property Set CC");
  while (!(get_property(fd, PROPERTY_CSTS, false, "Property Get CSTS") & 1)) {
    if (now_ns() > deadline) fail("the controller does not become ready");
    usleep(1000);
  }
}

static void ask_for_queues(int fd, uint32_t count) {
  struct sqe sqe = {.opcode = ADMIN_SET_FEATURES, .cid = 4, .cdw10 = FEATURE_NUMBER_OF_QUEUES};
  sqe.cdw11 = (count - 1) | (count - 1) << 16;
  struct cqe cqe = command(fd, sqe, NULL, 0, NULL, 0, "Set Features Number of Queues");
  uint32_t submission = (cqe.dw0 & 0xffff) + 1, completion = (cqe.dw0 >> 16) + 1;
  if (submission < count || completion < count)
    fail("--queues: the target grants %u", submission < completion ? submission : completion);
}

static void identify_controller(int fd, uint64_t cap, struct target_info *target) {
  uint8_t page[4096];
  uint32_t ioccsz;
  struct sqe sqe = {.opcode = ADMIN_IDENTIFY, .cid = 3, .cdw10 = 1};
  command(fd, sqe, NULL, 0, page, sizeof page, "Identify Controller");
  memcpy(&ioccsz, page + 1792, 4);
  if (ioccsz < 4) fail("IOCCSZ is %u", ioccsz);
  target->in_capsule_bytes = ioccsz * 16 - 64;
  uint32_t page_shift = 12 + (uint32_t)(cap >> 48 & 0xf);
  target->max_data = page[77] ? 1ull << (page[77] + page_shift) : UINT64_MAX;
}

static void identify_namespace(int fd, struct target_info *target) {
  uint8_t page[4096];
  uint64_t blocks;
  uint32_t format;
  struct sqe sqe = {.opcode = ADMIN_IDENTIFY, .cid = 5, .nsid = 1};
  command(fd, sqe, NULL, 0, page, sizeof page, "Identify Namespace");
  memcpy(&blocks, page, 8);
  memcpy(&format, page + 128 + 4 * (page[26] & 0xf), 4);
  if (blocks == 0) fail("there is no namespace 1");
  if ((format & 0xffff) != 0) fail("namespace 1 has metadata");
  target->block_size = 1u << (format >> 16 & 0xff);
  target->bytes = blocks * target->block_size;
}

void set_up_controller(const struct host *host, struct target_info *target) {
  uint32_t max_h2c_data;
  int fd = open_connection(host, &max_h2c_data);
  struct cqe cqe = connect_queue(fd, host, 0, 0xffff, 31);
  if (cqe.dw0 >> 16) fail("the target wants authentication");
  target->cntlid = (uint16_t)cqe.dw0;
  uint64_t cap = get_property(fd, PROPERTY_CAP, true, "Property Get CAP");
  uint32_t most = cap & 0xffff;
  if (host->depth > most) fail("--depth: the queues of this target hold %u commands", most);
  enable(fd, cap);
  identify_controller(fd, cap, target);
  ask_for_queues(fd, host->queues);
  identify_namespace(fd, target);
}
