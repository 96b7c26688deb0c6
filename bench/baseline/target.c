/*
 * Baseline target: what a good C program on epoll makes of NVMe/TCP on this machine, the 1.00 of the benchmark.
 *
 *   target NQN [ADDRESS] [PORT] [MIB] [BLOCK SIZE]      prints "listening PORT" and serves until it is killed
 *
 * One thread. For each readiness event of a connection one recv, all commands in it, one writev with all replies.
 * Reads are sent from the namespace without a copy; writes enter it when all their data is there, so that a block is
 * never half written. A reply that the socket does not take at once stays where it is, and is copied only if a write is
 * about to change it. A protocol violation closes the connection.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "target.h"

const char *subnqn;
uint64_t block_count;
uint32_t block_size;
static uint8_t *namespace_memory;
static int epoll_fd;
static struct connection connections = {.next = &connections, .previous = &connections};
static int blocked_connections;

__attribute__((noreturn)) static void die(const char *what) {
  fprintf(stderr, "target: %s: %s\n", what, strerror(errno));
  exit(1);
}

void *allocate(size_t size) {
  void *memory = calloc(1, size);
  if (!memory) die("memory");
  return memory;
}

static void watch(struct connection *c, int operation, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = c};
  if (epoll_ctl(epoll_fd, operation, c->fd, &event) < 0) die("epoll_ctl");
}

/* ---- replies ---- */

static void add_segment(struct connection *c, const void *base, uint32_t length) {
  if (c->count > c->sent) {
    struct iovec *last = &c->iov[c->count - 1];
    if ((const uint8_t *)last->iov_base + last->iov_len == base) {
      last->iov_len += length;
      return;
    }
  }
  c->iov[c->count++] = (struct iovec){.iov_base = (void *)base, .iov_len = length};
}

static void *add_header(struct connection *c, uint32_t length) {
  void *header = c->headers + c->header_bytes;
  c->header_bytes += length;
  add_segment(c, header, length);
  return header;
}

void reply_status(struct connection *c, uint16_t cid, uint16_t status, uint64_t result) {
  struct capsule_resp *resp = add_header(c, sizeof *resp);
  *resp = (struct capsule_resp){
      .header = {.type = PDU_CAPSULE_RESP, .hlen = sizeof *resp, .plen = sizeof *resp},
      .cqe = {.dw0 = (uint32_t)result,
              .dw1 = (uint32_t)(result >> 32),
              .sqhd = (uint16_t)c->sqhd,
              .cid = cid,
              .status = (uint16_t)(status << 1)},
  };
}

void reply_data(struct connection *c, uint16_t cid, const void *data, uint32_t length) {
  struct data_pdu *pdu = add_header(c, sizeof *pdu);
  *pdu = (struct data_pdu){
      .header = {.type = PDU_C2H_DATA,
                 .flags = c->flow_control ? FLAG_LAST_PDU : FLAG_LAST_PDU | FLAG_SUCCESS,
                 .hlen = sizeof *pdu,
                 .pdo = sizeof *pdu,
                 .plen = sizeof *pdu + length},
      .cid = cid,
      .length = length,
  };
  add_segment(c, data, length);
  if (c->flow_control) reply_status(c, cid, STATUS_SUCCESS, 0);
}

static bool replies_fit(const struct connection *c) {
  return c->count + 3 <= IOV_MAX_ENTRIES && c->header_bytes + 2 * sizeof(struct data_pdu) <= HEADER_BYTES;
}

/* Sends what there is. False when the connection is lost. */
static bool send_replies(struct connection *c) {
  if (c->sent == c->count) return true;
  ssize_t n = writev(c->fd, c->iov + c->sent, c->count - c->sent);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) return false;
    n = 0;
  }
  while (c->sent < c->count && (size_t)n >= c->iov[c->sent].iov_len) n -= c->iov[c->sent++].iov_len;
  if (c->sent < c->count) {
    c->iov[c->sent].iov_base = (uint8_t *)c->iov[c->sent].iov_base + n;
    c->iov[c->sent].iov_len -= n;
    if (!c->blocked) {
      c->blocked = true;
      blocked_connections++;
      watch(c, EPOLL_CTL_MOD, EPOLLOUT);
    }
    return true;
  }
  c->sent = c->count = 0;
  c->header_bytes = 0;
  while (c->copy_count > 0) free(c->copies[--c->copy_count]);
  if (c->blocked) {
    c->blocked = false;
    blocked_connections--;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
  }
  return true;
}

/* Part of a block may be on the wire already: the rest of it must not change under a reply that waits. */
static void keep_promised_bytes(const uint8_t *start, uint32_t length) {
  for (struct connection *c = connections.next; c != &connections; c = c->next) {
    if (!c->blocked) continue;
    for (int i = c->sent; i < c->count; i++) {
      const uint8_t *base = c->iov[i].iov_base;
      if (base >= start + length || base + c->iov[i].iov_len <= start) continue;
      void *copy = malloc(c->iov[i].iov_len);
      if (!copy) die("memory");
      if (!c->copies) c->copies = allocate(IOV_MAX_ENTRIES * sizeof *c->copies);
      c->copies[c->copy_count++] = copy;
      c->iov[i].iov_base = memcpy(copy, base, c->iov[i].iov_len);
    }
  }
}

static void write_namespace(uint64_t offset, const uint8_t *data, uint32_t length) {
  if (blocked_connections > 0) keep_promised_bytes(namespace_memory + offset, length);
  memcpy(namespace_memory + offset, data, length);
}

/* ---- I/O queues ---- */

static void request_data(struct connection *c, const struct sqe *sqe, uint64_t offset) {
  struct data_pdu *r2t;
  struct transfer *transfer;
  if (c->free_transfers == 0) {
    reply_status(c, sqe->cid, STATUS_COMMAND_SEQUENCE_ERROR, 0);
    return;
  }
  uint16_t ttag = c->free_transfer[--c->free_transfers];
  transfer = &c->transfers[ttag];
  if (transfer->capacity < sqe->sgl_length) {
    free(transfer->data);
    transfer->data = allocate(sqe->sgl_length);
    transfer->capacity = sqe->sgl_length;
  }
  transfer->busy = true;
  transfer->cid = sqe->cid;
  transfer->offset = offset;
  transfer->length = sqe->sgl_length;
  transfer->received = 0;
  r2t = add_header(c, sizeof *r2t);
  *r2t = (struct data_pdu){
      .header = {.type = PDU_R2T, .hlen = sizeof *r2t, .plen = sizeof *r2t},
      .cid = sqe->cid,
      .ttag = ttag,
      .length = sqe->sgl_length,
  };
}

static void execute_io(struct connection *c, const struct sqe *sqe, const uint8_t *payload, uint32_t length) {
  uint64_t lba = sqe->cdw10 | (uint64_t)sqe->cdw11 << 32;
  uint32_t blocks = (sqe->cdw12 & 0xffff) + 1;
  uint64_t bytes = (uint64_t)blocks * block_size;
  uint16_t status = STATUS_SUCCESS;
  if (sqe->opcode == IO_FLUSH) {
    reply_status(c, sqe->cid, STATUS_SUCCESS, 0);
    return;
  }
  if (sqe->opcode != IO_READ && sqe->opcode != IO_WRITE) {
    status = STATUS_INVALID_OPCODE;
  } else if (sqe->nsid != 1) {
    status = STATUS_INVALID_NAMESPACE;
  } else if (lba > block_count || blocks > block_count - lba) {
    status = STATUS_LBA_OUT_OF_RANGE;
  } else if (sqe->sgl_length != bytes) {
    status = STATUS_SGL_LENGTH_INVALID;
  } else if (bytes > MAX_DATA) {
    status = STATUS_INVALID_FIELD;
  }
  if (status != STATUS_SUCCESS) {
    reply_status(c, sqe->cid, status, 0);
  } else if (sqe->opcode == IO_READ) {
    reply_data(c, sqe->cid, namespace_memory + lba * block_size, (uint32_t)bytes);
  } else if (sqe->sgl_id == SGL_TRANSPORT) {
    request_data(c, sqe, lba * block_size);
  } else if (length != bytes) {
    reply_status(c, sqe->cid, STATUS_SGL_LENGTH_INVALID, 0);
  } else {
    write_namespace(lba * block_size, payload, length);
    reply_status(c, sqe->cid, STATUS_SUCCESS, 0);
  }
}

/* A command capsule that has arrived whole. False: protocol violation. */
static bool execute(struct connection *c, const struct capsule_cmd *capsule) {
  const struct sqe *sqe = &capsule->sqe;
  const uint8_t *payload = (const uint8_t *)capsule + capsule->header.pdo;
  uint32_t length = capsule->header.pdo ? capsule->header.plen - capsule->header.pdo : 0;
  uint8_t fctype = sqe->nsid & 0xff;
  if (sqe->sgl_id == SGL_OFFSET && sqe->sgl_length != length) return false;
  if (sqe->opcode == FABRICS && fctype == FCTYPE_CONNECT) {
    connect_queue(c, sqe, payload, length);
    return true;
  }
  if (c->qid < 0) return false;
  if (c->flow_control && ++c->sqhd == c->entries) c->sqhd = 0;
  if (c->qid > 0) {
    execute_io(c, sqe, payload, length);
  } else if (sqe->opcode == FABRICS && (fctype == FCTYPE_PROPERTY_GET || fctype == FCTYPE_PROPERTY_SET)) {
    execute_property(c, sqe);
  } else {
    execute_admin(c, sqe);
    /* The Identify page of the connection is used again by its next command. */
    return send_replies(c);
  }
  return true;
}

/* ---- receiving ---- */

static bool initialize(struct connection *c, const struct ic_pdu *request) {
  struct ic_pdu *response;
  if (c->initialized || request->pfv != 0 || request->alignment != 0) return false;
  c->initialized = true;
  response = add_header(c, sizeof *response);
  *response = (struct ic_pdu){
      .header = {.type = PDU_ICRESP, .hlen = sizeof *response, .plen = sizeof *response},
      .limit = MAX_H2C_DATA,
  };
  return true;
}

static bool begin_data(struct connection *c, const struct data_pdu *pdu) {
  struct transfer *transfer;
  if (c->qid < 0 || pdu->ttag >= c->entries) return false;
  transfer = &c->transfers[pdu->ttag];
  if (!transfer->busy || transfer->cid != pdu->cid || pdu->offset != transfer->received || pdu->length == 0 ||
      pdu->length > MAX_H2C_DATA || pdu->length > transfer->length - transfer->received ||
      pdu->header.pdo != sizeof *pdu || pdu->header.plen != sizeof *pdu + pdu->length)
    return false;
  c->arriving = transfer;
  c->arriving_bytes = pdu->length;
  return true;
}

/* `length` bytes of payload are in place. */
static void data_arrived(struct connection *c, uint32_t length) {
  struct transfer *transfer = c->arriving;
  transfer->received += length;
  c->arriving_bytes -= length;
  if (c->arriving_bytes > 0) return;
  c->arriving = NULL;
  if (transfer->received < transfer->length) return;
  write_namespace(transfer->offset, transfer->data, transfer->length);
  reply_status(c, transfer->cid, STATUS_SUCCESS, 0);
  transfer->busy = false;
  c->free_transfer[c->free_transfers++] = (uint16_t)(transfer - c->transfers);
}

/* Takes one step through the received bytes: 1 it took some, 0 more must arrive, -1 protocol violation. */
static int take(struct connection *c) {
  const struct pdu_header *header = (const void *)(c->receive + c->start);
  uint32_t available = c->end - c->start;
  uint32_t used;
  bool valid;
  if (c->arriving) {
    if (available == 0) return 0;
    used = available < c->arriving_bytes ? available : c->arriving_bytes;
    memcpy(c->arriving->data + c->arriving->received, header, used);
    c->start += used;
    data_arrived(c, used);
    return 1;
  }
  if (available < sizeof *header) return 0;
  switch (header->type) {
    case PDU_ICREQ: valid = header->hlen == 128 && header->plen == 128; break;
    case PDU_CAPSULE_CMD:
      valid = c->initialized && header->hlen == 72 && header->plen <= 72 + IN_CAPSULE_BYTES &&
              (header->plen == 72 ? header->pdo == 0 : header->pdo == 72 && header->plen > 72);
      break;
    case PDU_H2C_DATA: valid = c->initialized && header->hlen == 24; break;
    default: valid = false;
  }
  if (!valid) return -1;
  used = header->type == PDU_H2C_DATA ? header->hlen : header->plen;
  if (available < used) return 0;
  switch (header->type) {
    case PDU_ICREQ: valid = initialize(c, (const void *)header); break;
    case PDU_CAPSULE_CMD: valid = execute(c, (const void *)header); break;
    case PDU_H2C_DATA: valid = begin_data(c, (const void *)header); break;
  }
  c->start += used;
  return valid ? 1 : -1;
}

/* Runs everything that has arrived, then sends all replies. False when the connection is to be closed. */
static bool run(struct connection *c) {
  while (!c->blocked) {
    int step = take(c);
    if (step < 0) return false;
    if (step == 0) break;
    if (!replies_fit(c) && !send_replies(c)) return false;
  }
  return c->blocked || send_replies(c);
}

static bool readable(struct connection *c) {
  /* What is left over moves to the front: the PDUs that follow stay aligned, and the free space is one piece. */
  if (c->start > 0) {
    memmove(c->receive, c->receive + c->start, c->end - c->start);
    c->end -= c->start;
    c->start = 0;
  }
  struct iovec iov[2] = {{0}, {.iov_base = c->receive + c->end, .iov_len = RECEIVE_BYTES - c->end}};
  uint32_t direct = 0;
  if (c->arriving) {
    /* Payload goes straight to where it is collected, what follows it into the buffer, by one call. */
    direct = c->arriving_bytes;
    iov[0] = (struct iovec){.iov_base = c->arriving->data + c->arriving->received, .iov_len = direct};
  }
  ssize_t n = direct ? readv(c->fd, iov, 2) : recv(c->fd, iov[1].iov_base, iov[1].iov_len, 0);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0) return false;
  if (direct) {
    if ((uint32_t)n < direct) direct = (uint32_t)n;
    data_arrived(c, direct);
  }
  c->end += (uint32_t)n - direct;
  return run(c);
}

static bool writable(struct connection *c) {
  if (!send_replies(c)) return false;
  return c->blocked || run(c);
}

static void accept_connection(int listener) {
  int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  struct connection *c = allocate(sizeof *c);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  c->fd = fd;
  c->qid = -1;
  c->receive = allocate(RECEIVE_BYTES);
  c->next = &connections;
  c->previous = connections.previous;
  c->previous->next = connections.previous = c;
  watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void close_connection(struct connection *c) {
  if (c->blocked) blocked_connections--;
  if (c->qid == 0) forget_controller(c->cntlid);
  c->previous->next = c->next;
  c->next->previous = c->previous;
  close(c->fd);
  if (c->transfers)
    for (uint32_t i = 0; i < c->entries; i++) free(c->transfers[i].data);
  while (c->copy_count > 0) free(c->copies[--c->copy_count]);
  free(c->transfers);
  free(c->free_transfer);
  free(c->copies);
  free(c->identify);
  free(c->receive);
  free(c);
}

static int listen_on(const char *address, int port) {
  struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  socklen_t size = sizeof sin;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (inet_pton(AF_INET, address, &sin.sin_addr) != 1) {
    fprintf(stderr, "target: %s is not an IPv4 address\n", address);
    exit(2);
  }
  if (fd < 0) die("socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
  if (bind(fd, (void *)&sin, size) < 0) die("bind");
  if (listen(fd, 256) < 0) die("listen");
  if (getsockname(fd, (void *)&sin, &size) < 0) die("getsockname");
  printf("listening %d\n", ntohs(sin.sin_port));
  fflush(stdout);
  return fd;
}

int main(int argc, char **argv) {
  if (argc < 2 || argc > 6 || strlen(argv[1]) > 223) {
    fprintf(stderr, "usage: target NQN [ADDRESS] [PORT] [MIB] [BLOCK SIZE]\n");
    return 2;
  }
  subnqn = argv[1];
  uint64_t namespace_bytes = (uint64_t)(argc > 4 ? atoi(argv[4]) : 256) << 20;
  block_size = argc > 5 ? (uint32_t)atoi(argv[5]) : 4096;
  if (namespace_bytes == 0 || (block_size != 512 && block_size != 4096)) {
    fprintf(stderr, "target: the block size is 512 or 4096, the size at least 1 MiB\n");
    return 2;
  }
  block_count = namespace_bytes / block_size;
  namespace_memory = mmap(NULL, namespace_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (namespace_memory == MAP_FAILED) die("mmap");
  signal(SIGPIPE, SIG_IGN);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) die("epoll_create1");
  int listener = listen_on(argc > 2 ? argv[2] : "127.0.0.1", argc > 3 ? atoi(argv[3]) : 0);
  struct epoll_event accept_event = {.events = EPOLLIN, .data.ptr = &connections};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &accept_event) < 0) die("epoll_ctl");
  for (;;) {
    struct epoll_event events[64];
    int count = epoll_wait(epoll_fd, events, 64, -1);
    if (count < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < count; i++) {
      struct connection *c = events[i].data.ptr;
      if (c == &connections) {
        accept_connection(listener);
      } else if (!(c->blocked ? writable(c) : readable(c))) {
        close_connection(c);
      }
    }
  }
}
