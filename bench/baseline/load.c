/*
 * Load generator: an NVMe/TCP host that makes a target work and says how fast it was, in one line of JSON.
 *
 *   load ADDRESS PORT NQN [options]     see usage() below
 *
 * One thread on epoll, any NVMe/TCP target. For each readiness event of a queue one recv, all PDUs in it, one writev
 * with all commands that they make room for. Data that is read is taken out of the socket but copied nowhere.
 *
 * Every status, length and identifier is checked; anything that the specification does not allow ends the run with a
 * sentence and exit code 1. With --verify the data is checked as well: each 8-byte word of the namespace gets a value
 * that follows from its place, see pattern_word().
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "nvme-tcp.h"

enum {
  MAX_QUEUES = 64,
  MAX_DEPTH = 1024,
  MAX_BLOCK = 1 << 20,
  RECEIVE_BYTES = 512 * 1024,
  IOV_ENTRIES = 1024,
  /* One header of 24 bytes for each H2CData PDU in a batch; command capsules have their own place. */
  DATA_HEADERS = IOV_ENTRIES / 2,
  STALL_MS = 10000,
  FILL_BLOCK = 128 * 1024,
  FILL_DEPTH = 8,
};

enum operation { READ, WRITE };

/* ---- options ---- */

static struct {
  const char *address, *nqn, *hostnqn;
  int port;
  enum operation operation;
  bool random;
  uint32_t bs;
  uint32_t depth;
  uint32_t queues;
  double seconds, warmup;
  bool flow_control, verify, fill;
  uint64_t region;
  uint64_t seed;
  long server_pid;
} options = {
    .hostnqn = "nqn.2014-08.org.nvmexpress:uuid:6c6f6164-0000-4000-8000-6e7662726164",
    .random = true,
    .bs = 4096,
    .depth = 32,
    .queues = 1,
    .seconds = 1,
    .warmup = 0.2,
    .seed = 1,
};

static void usage(FILE *out) {
  fputs(
      "usage: load ADDRESS PORT NQN [options]\n"
      "  --rw read|write|randread|randwrite  default randread\n"
      "  --bs BYTES          bytes of one command, default 4096, a multiple of the block size\n"
      "  --depth N           commands under way on each queue, default 32\n"
      "  --queues N          I/O queues, one connection each, default 1\n"
      "  --seconds S         how long to measure, default 1\n"
      "  --warmup S          how long to run before that, default 0.2\n"
      "  --region BYTES      use only the start of the namespace\n"
      "  --disable-sqflow    ask for queues without flow control (the default)\n"
      "  --sqflow            keep flow control of the submission queues\n"
      "  --fill              write the whole region before the run\n"
      "  --verify            check the data of reads; after a run of writes read everything back. Implies --fill\n"
      "  --seed N            of the random offsets and of the pattern, default 1\n"
      "  --server-pid PID    also report the CPU time of that process for each command\n"
      "  --hostnqn NQN\n",
      out);
}

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  exit(1);
}

static void *allocate(size_t size) {
  void *memory = calloc(1, size);
  if (!memory) fail("out of memory");
  return memory;
}

/* ---- time, numbers, pattern ---- */

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t own_cpu_us(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
         (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* utime + stime of /proc/PID/stat: all threads, in steps of a clock tick. */
static uint64_t server_cpu_us(void) {
  char path[64], line[1024];
  unsigned long user, system;
  if (options.server_pid == 0) return 0;
  snprintf(path, sizeof path, "/proc/%ld/stat", options.server_pid);
  FILE *file = fopen(path, "r");
  if (!file || !fgets(line, sizeof line, file)) fail("cannot read %s", path);
  fclose(file);
  /* The name of the program is in parentheses and may contain anything. */
  const char *rest = strrchr(line, ')');
  if (!rest || sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
    fail("cannot understand %s", path);
  return (uint64_t)(user + system) * (1000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

static uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static uint64_t random_state;
static uint64_t random_below(uint64_t bound) {
  random_state += 0x9e3779b97f4a7c15u;
  return (uint64_t)(((unsigned __int128)mix(random_state) * bound) >> 64);
}

/* The word at `byte` of the namespace (a multiple of 8), as it is filled and as it is written later. */
static uint64_t pattern_word(uint64_t byte, bool written) {
  return mix(byte + (options.seed << 1 | written) * 0x9e3779b97f4a7c15u);
}

static void make_pattern(uint8_t *data, uint64_t byte, uint32_t length, bool written) {
  for (uint32_t i = 0; i < length; i += 8) {
    uint64_t word = pattern_word(byte + i, written);
    memcpy(data + i, &word, 8);
  }
}

/* Latencies: 32 buckets for each power of two, so that a value is known to 3 %. */
enum { SUB_BITS = 5, BUCKETS = 64 << SUB_BITS };
static uint64_t latency_count[BUCKETS];

static uint32_t latency_bucket(uint64_t ns) {
  if (ns < 1 << SUB_BITS) return (uint32_t)ns;
  uint32_t shift = 63 - SUB_BITS - (uint32_t)__builtin_clzll(ns);
  return ((shift + 1) << SUB_BITS) + ((uint32_t)(ns >> shift) & ((1 << SUB_BITS) - 1));
}

static double latency_us(double fraction, uint64_t total) {
  uint64_t rank = (uint64_t)(fraction * (double)total), seen = 0;
  for (uint32_t b = 0; b < BUCKETS; b++) {
    seen += latency_count[b];
    if (seen <= rank) continue;
    if (b < 1 << SUB_BITS) return b / 1e3;
    uint32_t shift = (b >> SUB_BITS) - 1;
    /* The middle of the bucket. */
    return ((double)((uint64_t)((1 << SUB_BITS) + (b & ((1 << SUB_BITS) - 1))) << shift) + (1ull << shift) / 2.0) / 1e3;
  }
  return 0;
}

/* ---- a queue: one connection ---- */

enum slot_state { FREE, COMMAND, DATA, WAITING };

/* One command; its number is the CID. */
struct slot {
  enum slot_state state; /* COMMAND, DATA: in the list of what is to be sent; WAITING: for the target */
  enum operation operation;
  uint64_t start_ns;
  uint64_t byte; /* where in the namespace */
  uint32_t length;
  uint32_t done;    /* bytes that have been received, or handed over for sending */
  uint32_t r2t_end; /* data may be sent up to here */
  uint16_t ttag;
  uint8_t *data; /* what to write */
  struct capsule_cmd capsule;
};

struct queue {
  int fd;
  uint16_t qid;
  bool flow_control;
  uint32_t max_h2c_data;
  uint32_t depth;
  uint32_t busy;
  struct slot *slots;
  uint16_t *free_slots;
  uint32_t free_count;
  uint8_t *write_data; /* one piece for each slot, side by side */

  uint8_t *receive;
  uint32_t start, end;
  struct slot *arriving; /* the read whose data is arriving */
  uint32_t arriving_bytes;
  bool arriving_success; /* its PDU ends the command */

  uint16_t *to_send; /* ring of slots */
  uint32_t send_first, send_count;
  struct iovec iov[IOV_ENTRIES];
  int sent, count;
  struct data_pdu data_headers[DATA_HEADERS];
  uint32_t data_header_count;
  bool blocked;
};

/* What the target said about itself. */
static struct {
  uint16_t cntlid;
  uint32_t in_capsule_bytes;
  uint64_t max_data; /* bytes of one command */
  uint32_t block_size;
  uint64_t bytes;
} target;

static struct queue admin, queues[MAX_QUEUES];
static int epoll_fd;

static uint16_t cqe_status(const struct cqe *cqe) { return cqe->status >> 1 & 0x7ff; }

/* ---- handshake: one command at a time, blocking ---- */

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

static void check_header(const struct pdu_header *header, uint32_t hlen) {
  if (header->type == PDU_C2H_TERM_REQ) fail("the target terminates the connection (C2HTermReq)");
  if (header->hlen != hlen) fail("PDU type %02xh: hlen %u", header->type, header->hlen);
}

/* Sends `sqe` on a queue, collects up to `reply_size` bytes of data, answers the completion with status 0. */
static struct cqe command(struct queue *q, struct sqe sqe, const void *data, uint32_t length, void *reply,
                          uint32_t reply_size, const char *what) {
  struct capsule_cmd capsule = {
      .header = {.type = PDU_CAPSULE_CMD, .hlen = 72, .pdo = length ? 72 : 0, .plen = 72 + length},
      .sqe = sqe,
  };
  uint32_t received = 0;
  capsule.sqe.flags = SQE_SGL;
  capsule.sqe.sgl_length = length ? length : reply_size;
  capsule.sqe.sgl_id = length ? SGL_OFFSET : SGL_TRANSPORT;
  send_all(q->fd, &capsule, sizeof capsule);
  send_all(q->fd, data, length);
  for (;;) {
    union {
      struct pdu_header header;
      struct data_pdu data;
      struct capsule_resp resp;
    } pdu;
    receive_all(q->fd, &pdu, sizeof pdu, what);
    check_header(&pdu.header, 24);
    if (pdu.header.type == PDU_C2H_DATA) {
      if (pdu.data.cid != sqe.cid || pdu.data.offset != received || pdu.data.length > reply_size - received ||
          pdu.header.pdo != 24 || pdu.header.plen != 24 + pdu.data.length)
        fail("%s: wrong C2HData", what);
      receive_all(q->fd, (uint8_t *)reply + received, pdu.data.length, what);
      received += pdu.data.length;
      if (pdu.header.flags & FLAG_SUCCESS) return (struct cqe){.cid = sqe.cid};
    } else if (pdu.header.type == PDU_CAPSULE_RESP) {
      if (pdu.header.plen != 24 || pdu.resp.cqe.cid != sqe.cid) fail("%s: wrong CapsuleResp", what);
      if (cqe_status(&pdu.resp.cqe)) fail("%s: status %03xh", what, cqe_status(&pdu.resp.cqe));
      return pdu.resp.cqe;
    } else {
      fail("%s: unexpected PDU type %02xh", what, pdu.header.type);
    }
  }
}

static uint64_t get_property(uint32_t offset, bool wide, const char *what) {
  struct sqe sqe = {.opcode = FABRICS, .cid = 1, .nsid = FCTYPE_PROPERTY_GET, .cdw10 = wide, .cdw11 = offset};
  struct cqe cqe = command(&admin, sqe, NULL, 0, NULL, 0, what);
  return cqe.dw0 | (wide ? (uint64_t)cqe.dw1 << 32 : 0);
}

static void open_queue(struct queue *q, uint16_t qid, uint32_t depth) {
  struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
  struct timeval timeout = {.tv_sec = STALL_MS / 1000};
  struct ic_pdu ic = {.header = {.type = PDU_ICREQ, .hlen = 128, .plen = 128}};
  struct connect_data *data = allocate(sizeof *data);
  struct cqe cqe;
  if (inet_pton(AF_INET, options.address, &sin.sin_addr) != 1) fail("%s is not an IPv4 address", options.address);
  q->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (q->fd < 0 || connect(q->fd, (void *)&sin, sizeof sin) < 0)
    fail("cannot connect to %s:%d: %s", options.address, options.port, strerror(errno));
  setsockopt(q->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  setsockopt(q->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);

  send_all(q->fd, &ic, sizeof ic);
  receive_all(q->fd, &ic, sizeof ic, "ICReq");
  check_header(&ic.header, 128);
  if (ic.header.type != PDU_ICRESP || ic.header.plen != 128 || ic.pfv != 0 || ic.digests != 0) fail("wrong ICResp");
  if (ic.alignment != 0) fail("the target wants data aligned (CPDA %u), which is not supported", ic.alignment);
  if (ic.limit < 4096) fail("ICResp: MAXH2CDATA %u", ic.limit);
  q->qid = qid;
  q->max_h2c_data = ic.limit;
  q->depth = depth;

  memset(data->hostid, 0x6e, sizeof data->hostid);
  data->cntlid = qid == 0 ? 0xffff : target.cntlid;
  strcpy(data->subnqn, options.nqn);
  strcpy(data->hostnqn, options.hostnqn);
  /* A queue of N + 1 entries holds N commands; its size is 0's based. */
  uint32_t attributes = options.flow_control ? 0 : CATTR_DISABLE_SQFLOW;
  struct sqe sqe = {.opcode = FABRICS,
                    .nsid = FCTYPE_CONNECT,
                    .cdw10 = (uint32_t)qid << 16,
                    .cdw11 = depth | attributes << 16};
  cqe = command(q, sqe, data, sizeof *data, NULL, 0, qid ? "Connect of an I/O queue" : "Connect of the admin queue");
  if (qid == 0) {
    if (cqe.dw0 >> 16) fail("the target wants authentication");
    target.cntlid = (uint16_t)cqe.dw0;
  } else if ((uint16_t)cqe.dw0 != target.cntlid) {
    fail("Connect of an I/O queue: cntlid %u instead of %u", cqe.dw0 & 0xffff, target.cntlid);
  }
  /* SQHD FFFFh confirms that there is none (Base 6.3), which some targets forget to say: what was asked for counts. */
  q->flow_control = options.flow_control;
  if (q->flow_control && cqe.sqhd == 0xffff) fail("the target disables SQ flow control although nobody asked for it");
  free(data);
}

static void set_up_controller(void) {
  static uint8_t page[4096];
  uint32_t wanted = options.queues - 1;
  open_queue(&admin, 0, 31);
  uint64_t cap = get_property(PROPERTY_CAP, true, "Property Get CAP");
  uint32_t most = cap & 0xffff;
  if (options.depth > most) fail("--depth: the queues of this target hold %u commands", most);
  struct sqe enable = {.opcode = FABRICS, .cid = 2, .nsid = FCTYPE_PROPERTY_SET, .cdw11 = PROPERTY_CC};
  enable.cdw12 = 1 | 6 << 16 | 4 << 20; /* EN, IOSQES, IOCQES */
  command(&admin, enable, NULL, 0, NULL, 0, "Property Set CC");
  uint64_t deadline = now_ns() + (cap >> 24 & 0xff) * 500000000u;
  while (!(get_property(PROPERTY_CSTS, false, "Property Get CSTS") & 1)) {
    if (now_ns() > deadline) fail("the controller does not become ready");
    usleep(1000);
  }

  command(&admin, (struct sqe){.opcode = ADMIN_IDENTIFY, .cid = 3, .cdw10 = 1}, NULL, 0, page, sizeof page,
          "Identify Controller");
  uint32_t ioccsz;
  memcpy(&ioccsz, page + 1792, 4);
  if (ioccsz < 4) fail("IOCCSZ is %u", ioccsz);
  target.in_capsule_bytes = ioccsz * 16 - 64;
  uint32_t page_shift = 12 + (uint32_t)(cap >> 48 & 0xf);
  target.max_data = page[77] ? 1ull << (page[77] + page_shift) : UINT64_MAX;

  struct cqe cqe = command(&admin,
                           (struct sqe){.opcode = ADMIN_SET_FEATURES,
                                        .cid = 4,
                                        .cdw10 = FEATURE_NUMBER_OF_QUEUES,
                                        .cdw11 = wanted | wanted << 16},
                           NULL, 0, NULL, 0, "Set Features Number of Queues");
  if ((cqe.dw0 & 0xffff) < wanted || cqe.dw0 >> 16 < wanted)
    fail("--queues: the target grants %u", (cqe.dw0 & 0xffff) + 1);

  command(&admin, (struct sqe){.opcode = ADMIN_IDENTIFY, .cid = 5, .nsid = 1}, NULL, 0, page, sizeof page,
          "Identify Namespace");
  uint64_t blocks;
  uint32_t format;
  memcpy(&blocks, page, 8);
  memcpy(&format, page + 128 + 4 * (page[26] & 0xf), 4);
  if (blocks == 0) fail("there is no namespace 1");
  if ((format & 0xffff) != 0) fail("namespace 1 has metadata");
  target.block_size = 1u << (format >> 16 & 0xff);
  target.bytes = blocks * target.block_size;
}

static void set_up_io_queue(struct queue *q, uint16_t qid) {
  open_queue(q, qid, options.depth > FILL_DEPTH ? options.depth : FILL_DEPTH);
  q->slots = allocate(q->depth * sizeof *q->slots);
  q->free_slots = allocate(q->depth * sizeof *q->free_slots);
  q->to_send = allocate(q->depth * sizeof *q->to_send);
  q->receive = allocate(RECEIVE_BYTES);
  size_t write_bytes = (size_t)q->depth * (options.bs > FILL_BLOCK ? options.bs : FILL_BLOCK);
  if (options.operation == WRITE || options.fill) {
    /* Touched once, or all of it would be the one zero page of the kernel. */
    q->write_data = aligned_alloc(4096, (write_bytes + 4095) & ~4095ull);
    if (!q->write_data) fail("out of memory");
    make_pattern(q->write_data, 0, (uint32_t)(write_bytes > 1 << 24 ? 1 << 24 : write_bytes), false);
  }
  for (uint32_t i = 0; i < q->depth; i++) q->free_slots[q->free_count++] = (uint16_t)(q->depth - 1 - i);
  if (fcntl(q->fd, F_SETFL, O_NONBLOCK) < 0) fail("fcntl: %s", strerror(errno));
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = q};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, q->fd, &event) < 0) fail("epoll_ctl: %s", strerror(errno));
}

/* ---- what to do ---- */

/* A run of commands: sequential until the region is done, or for a time. */
static struct {
  enum operation operation;
  bool random;
  bool written; /* which of the two patterns is written */
  bool check;
  uint32_t bs;
  uint32_t depth;
  uint64_t region;
  uint64_t next; /* sequential: next byte */
  uint64_t start_ns, end_ns; /* of the measured window; 0: until the region is done */
  bool stopping;
} phase;

/* One bit for each block of the region: it has been written since it was filled. */
static uint8_t *written_blocks;
static bool is_written(uint64_t byte) {
  uint64_t block = byte / target.block_size;
  return written_blocks && written_blocks[block >> 3] >> (block & 7) & 1;
}

static struct {
  uint64_t ios;
  uint64_t cpu_us, server_cpu_us;
  uint64_t start_ns, end_ns;
  uint64_t verified_bytes;
  bool open;
} window;

static void queue_to_send(struct queue *q, struct slot *slot, enum slot_state state) {
  uint32_t at = q->send_first + q->send_count++;
  slot->state = state;
  q->to_send[at < q->depth ? at : at - q->depth] = (uint16_t)(slot - q->slots);
}

static void submit(struct queue *q, uint64_t now) {
  uint64_t byte;
  if (phase.random) {
    byte = random_below(phase.region / phase.bs) * phase.bs;
  } else {
    if (phase.next + phase.bs > phase.region) {
      if (phase.end_ns == 0) phase.stopping = true;
      phase.next = 0;
      if (phase.stopping) return;
    }
    byte = phase.next;
    phase.next += phase.bs;
  }
  uint16_t cid = q->free_slots[--q->free_count];
  struct slot *slot = &q->slots[cid];
  bool write = phase.operation == WRITE;
  bool inside = write && phase.bs <= target.in_capsule_bytes;
  slot->operation = phase.operation;
  slot->start_ns = now;
  slot->byte = byte;
  slot->length = phase.bs;
  slot->done = 0;
  slot->r2t_end = 0;
  slot->capsule = (struct capsule_cmd){
      .header = {.type = PDU_CAPSULE_CMD, .hlen = 72, .pdo = inside ? 72 : 0, .plen = 72 + (inside ? phase.bs : 0)},
      .sqe = {.opcode = write ? IO_WRITE : IO_READ,
              .flags = SQE_SGL,
              .cid = cid,
              .nsid = 1,
              .sgl_length = phase.bs,
              .sgl_id = inside ? SGL_OFFSET : SGL_TRANSPORT,
              .cdw10 = (uint32_t)(byte / target.block_size),
              .cdw11 = (uint32_t)(byte / target.block_size >> 32),
              .cdw12 = phase.bs / target.block_size - 1},
  };
  if (write) {
    slot->data = q->write_data + (size_t)cid * phase.bs;
    if (options.verify || phase.end_ns == 0) make_pattern(slot->data, byte, phase.bs, phase.written);
  }
  q->busy++;
  queue_to_send(q, slot, COMMAND);
}

static void complete(struct queue *q, struct slot *slot, uint64_t now) {
  if (slot->done != slot->length)
    fail("cid %u is complete after %u of %u bytes", (unsigned)(slot - q->slots), slot->done, slot->length);
  if (phase.operation == WRITE && phase.written) {
    for (uint32_t i = 0; i < slot->length; i += target.block_size) {
      uint64_t block = (slot->byte + i) / target.block_size;
      written_blocks[block >> 3] |= (uint8_t)(1 << (block & 7));
    }
  }
  slot->state = FREE;
  q->free_slots[q->free_count++] = (uint16_t)(slot - q->slots);
  q->busy--;
  if (window.open) {
    window.ios++;
    latency_count[latency_bucket(now - slot->start_ns)]++;
  }
  if (!phase.stopping) submit(q, now);
}

/* ---- sending ---- */

static void watch(struct queue *q, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = q};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, q->fd, &event) < 0) fail("epoll_ctl: %s", strerror(errno));
}

static void add(struct queue *q, void *base, uint32_t length) {
  q->iov[q->count++] = (struct iovec){.iov_base = base, .iov_len = length};
}

/* Turns what is to be sent into segments, as long as there is room. */
static void gather(struct queue *q) {
  while (q->send_count > 0 && q->count + 2 <= IOV_ENTRIES && q->data_header_count < DATA_HEADERS) {
    struct slot *slot = &q->slots[q->to_send[q->send_first]];
    if (slot->state == COMMAND) {
      add(q, &slot->capsule, sizeof slot->capsule);
      if (slot->capsule.header.pdo) {
        add(q, slot->data, slot->length);
        slot->done = slot->length;
      }
    } else {
      struct data_pdu *header = &q->data_headers[q->data_header_count++];
      uint32_t length = slot->r2t_end - slot->done;
      if (length > q->max_h2c_data) length = q->max_h2c_data;
      bool last = slot->done + length == slot->r2t_end;
      *header = (struct data_pdu){
          .header = {.type = PDU_H2C_DATA,
                     .flags = last ? FLAG_LAST_PDU : 0,
                     .hlen = sizeof *header,
                     .pdo = sizeof *header,
                     .plen = sizeof *header + length},
          .cid = (uint16_t)(slot - q->slots),
          .ttag = slot->ttag,
          .offset = slot->done,
          .length = length,
      };
      add(q, header, sizeof *header);
      add(q, slot->data + slot->done, length);
      slot->done += length;
      if (!last) continue;
    }
    slot->state = WAITING;
    q->send_first = q->send_first + 1 == q->depth ? 0 : q->send_first + 1;
    q->send_count--;
  }
}

static void flush(struct queue *q) {
  for (;;) {
    if (q->sent == q->count) {
      q->sent = q->count = 0;
      q->data_header_count = 0;
      gather(q);
      if (q->count == 0) break;
    }
    ssize_t n = writev(q->fd, q->iov + q->sent, q->count - q->sent);
    if (n < 0 && errno != EAGAIN) fail("sending on queue %u: %s", q->qid, strerror(errno));
    while (n > 0 && q->sent < q->count && (size_t)n >= q->iov[q->sent].iov_len) n -= q->iov[q->sent++].iov_len;
    if (q->sent < q->count) {
      if (n > 0) {
        q->iov[q->sent].iov_base = (uint8_t *)q->iov[q->sent].iov_base + n;
        q->iov[q->sent].iov_len -= n;
      }
      if (!q->blocked) watch(q, EPOLLIN | EPOLLOUT);
      q->blocked = true;
      return;
    }
  }
  if (q->blocked) watch(q, EPOLLIN);
  q->blocked = false;
}

/* ---- receiving ---- */

static struct slot *waiting_slot(struct queue *q, uint16_t cid, enum operation operation, const char *pdu) {
  struct slot *slot = cid < q->depth ? &q->slots[cid] : NULL;
  if (!slot || slot->state != WAITING || slot->operation != operation)
    fail("%s for cid %u, which waits for none", pdu, cid);
  return slot;
}

static void check_data(const struct slot *slot, const uint8_t *data, uint32_t length) {
  uint64_t at = slot->byte + slot->done, end = at + length;
  window.verified_bytes += length;
  while (at < end) {
    uint64_t word = pattern_word(at & ~7ull, is_written(at));
    uint32_t skip = at & 7, n = 8 - skip;
    if (n > end - at) n = (uint32_t)(end - at);
    if (memcmp(data, (uint8_t *)&word + skip, n))
      fail("wrong data at byte %llu of the namespace (LBA %llu)", (unsigned long long)at,
           (unsigned long long)(at / target.block_size));
    data += n;
    at += n;
  }
}

/* Looks at `length` bytes of read data at `data`; they may be anywhere in the PDU. */
static void data_arrived(struct queue *q, const uint8_t *data, uint32_t length, uint64_t now) {
  struct slot *slot = q->arriving;
  if (phase.check) check_data(slot, data, length);
  slot->done += length;
  q->arriving_bytes -= length;
  if (q->arriving_bytes > 0) return;
  q->arriving = NULL;
  if (q->arriving_success) complete(q, slot, now);
}

static void handle(struct queue *q, const struct pdu_header *header, uint64_t now) {
  const struct data_pdu *data = (const void *)header;
  const struct cqe *cqe = &((const struct capsule_resp *)header)->cqe;
  struct slot *slot;
  switch (header->type) {
    case PDU_C2H_DATA:
      slot = waiting_slot(q, data->cid, READ, "C2HData");
      if (header->pdo != 24 || header->plen != 24 + data->length || data->length == 0 || data->offset != slot->done ||
          data->length > slot->length - slot->done)
        fail("C2HData for cid %u: %u bytes at %u, plen %u", data->cid, data->length, data->offset, header->plen);
      if (((header->flags & FLAG_LAST_PDU) != 0) != (data->offset + data->length == slot->length))
        fail("C2HData for cid %u: LAST_PDU is wrong", data->cid);
      q->arriving_success = header->flags & FLAG_SUCCESS;
      if (q->arriving_success && q->flow_control) fail("C2HData with SUCCESS although there is SQ flow control");
      if (q->arriving_success && !(header->flags & FLAG_LAST_PDU)) fail("C2HData with SUCCESS but not the last");
      q->arriving = slot;
      q->arriving_bytes = data->length;
      return;
    case PDU_R2T:
      slot = waiting_slot(q, data->cid, WRITE, "R2T");
      if (header->plen != 24 || data->length == 0 || data->offset != slot->done ||
          data->length > slot->length - slot->done)
        fail("R2T for cid %u: %u bytes at %u", data->cid, data->length, data->offset);
      slot->ttag = data->ttag;
      slot->r2t_end = data->offset + data->length;
      queue_to_send(q, slot, DATA);
      return;
    case PDU_CAPSULE_RESP:
      if (header->plen != 24) fail("CapsuleResp: plen %u", header->plen);
      if (cqe_status(cqe)) fail("cid %u: status %03xh", cqe->cid, cqe_status(cqe));
      if (q->flow_control && cqe->sqhd > q->depth) fail("cid %u: sqhd %u", cqe->cid, cqe->sqhd);
      complete(q, waiting_slot(q, cqe->cid, phase.operation, "CapsuleResp"), now);
      return;
    default: fail("unexpected PDU type %02xh", header->type);
  }
}

static void receive(struct queue *q) {
  memmove(q->receive, q->receive + q->start, q->end - q->start);
  q->end -= q->start;
  q->start = 0;
  ssize_t n = recv(q->fd, q->receive + q->end, RECEIVE_BYTES - q->end, 0);
  if (n == 0) fail("the target closed queue %u", q->qid);
  if (n < 0) {
    if (errno == EAGAIN || errno == EINTR) return;
    fail("receiving on queue %u: %s", q->qid, strerror(errno));
  }
  uint64_t now = now_ns();
  q->end += (uint32_t)n;
  while (q->start < q->end) {
    const uint8_t *bytes = q->receive + q->start;
    uint32_t available = q->end - q->start;
    if (q->arriving) {
      uint32_t length = available < q->arriving_bytes ? available : q->arriving_bytes;
      q->start += length;
      data_arrived(q, bytes, length, now);
    } else {
      if (available < 8) break;
      check_header((const void *)bytes, 24);
      if (available < 24) break;
      q->start += 24;
      handle(q, (const void *)bytes, now);
    }
  }
}

/* ---- runs ---- */

static void open_or_close_window(uint64_t now) {
  if (!window.open && !window.end_ns && now >= phase.start_ns) {
    window.open = true;
    window.start_ns = now;
    window.cpu_us = own_cpu_us();
    window.server_cpu_us = server_cpu_us();
  } else if (window.open && now >= phase.end_ns) {
    window.open = false;
    window.end_ns = now;
    window.cpu_us = own_cpu_us() - window.cpu_us;
    window.server_cpu_us = server_cpu_us() - window.server_cpu_us;
  }
  if (now >= phase.end_ns) phase.stopping = true;
}

static void run_phase(void) {
  uint32_t busy = 0;
  uint64_t now = now_ns();
  for (uint32_t i = 0; i < options.queues; i++) {
    for (uint32_t n = 0; n < phase.depth && !phase.stopping; n++) submit(&queues[i], now);
    flush(&queues[i]);
    busy += queues[i].busy;
  }
  while (busy > 0) {
    struct epoll_event events[MAX_QUEUES];
    int count = epoll_wait(epoll_fd, events, MAX_QUEUES, STALL_MS);
    if (count == 0) fail("nothing has come for %d s with %u commands under way", STALL_MS / 1000, busy);
    if (count < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
    if (phase.end_ns) open_or_close_window(now_ns());
    for (int i = 0; i < count; i++) {
      struct queue *q = events[i].data.ptr;
      busy -= q->busy;
      if (events[i].events & ~(uint32_t)EPOLLOUT) receive(q);
      flush(q);
      busy += q->busy;
    }
  }
}

static void sequential_phase(enum operation operation, bool check) {
  memset(&phase, 0, sizeof phase);
  phase.operation = operation;
  phase.check = check;
  phase.bs = FILL_BLOCK > target.max_data ? (uint32_t)target.max_data : FILL_BLOCK;
  while (phase.bs > options.region || options.region % phase.bs) phase.bs /= 2;
  phase.depth = FILL_DEPTH;
  phase.region = options.region;
  run_phase();
}

static void timed_phase(void) {
  uint64_t now = now_ns();
  memset(&phase, 0, sizeof phase);
  phase.operation = options.operation;
  phase.random = options.random;
  phase.check = options.verify && options.operation == READ;
  phase.written = options.verify && options.operation == WRITE;
  phase.bs = options.bs;
  phase.depth = options.depth;
  phase.region = options.region;
  phase.start_ns = now + (uint64_t)(options.warmup * 1e9);
  phase.end_ns = phase.start_ns + (uint64_t)(options.seconds * 1e9);
  run_phase();
}

static void report(void) {
  double seconds = (double)(window.end_ns - window.start_ns) / 1e9;
  double ios = (double)window.ios;
  if (window.ios == 0 || window.end_ns == 0) fail("no command was completed in %.1f s", options.seconds);
  printf("{\"rw\":\"%s%s\",\"bs\":%u,\"depth\":%u,\"queues\":%u,\"sqflow\":%s,\"seconds\":%.3f,\"ios\":%llu,",
         options.random ? "rand" : "", options.operation == READ ? "read" : "write", options.bs, options.depth,
         options.queues, options.flow_control ? "true" : "false", seconds, (unsigned long long)window.ios);
  printf("\"iops\":%.0f,\"mbps\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"cpu_us_client\":%.3f",
         ios / seconds, ios * options.bs / seconds / 1e6, latency_us(0.5, window.ios), latency_us(0.99, window.ios),
         latency_us(0.999, window.ios), (double)window.cpu_us / ios);
  if (options.server_pid) printf(",\"cpu_us_server\":%.3f", (double)window.server_cpu_us / ios);
  if (options.verify) printf(",\"verified_bytes\":%llu", (unsigned long long)window.verified_bytes);
  printf("}\n");
}

static double number(const char *option, const char *text, double least, double most) {
  char *end;
  double value = strtod(text, &end);
  if (*text == 0 || *end != 0 || !(value >= least && value <= most)) {
    fprintf(stderr, "load: %s takes a number from %.15g to %.15g, not '%s'\n", option, least, most, text);
    exit(2);
  }
  return value;
}

static void parse_rw(const char *word) {
  options.random = !strncmp(word, "rand", 4);
  if (options.random) word += 4;
  if (strcmp(word, "read") && strcmp(word, "write")) {
    fprintf(stderr, "load: --rw takes read, write, randread or randwrite\n");
    exit(2);
  }
  options.operation = strcmp(word, "write") ? READ : WRITE;
}

static void parse_options(int argc, char **argv) {
  if (argc == 2 && !strcmp(argv[1], "--help")) {
    usage(stdout);
    exit(0);
  }
  if (argc < 4) {
    usage(stderr);
    exit(2);
  }
  options.address = argv[1];
  options.port = (int)number("PORT", argv[2], 1, 65535);
  options.nqn = argv[3];
  for (int i = 4; i < argc; i++) {
    const char *o = argv[i];
    if (!strcmp(o, "--sqflow")) options.flow_control = true;
    else if (!strcmp(o, "--disable-sqflow")) options.flow_control = false;
    else if (!strcmp(o, "--verify")) options.verify = options.fill = true;
    else if (!strcmp(o, "--fill")) options.fill = true;
    else if (i + 1 == argc) { usage(stderr); exit(2); }
    else if (!strcmp(o, "--rw")) parse_rw(argv[++i]);
    else if (!strcmp(o, "--bs")) options.bs = (uint32_t)number(o, argv[++i], 512, MAX_BLOCK);
    else if (!strcmp(o, "--depth")) options.depth = (uint32_t)number(o, argv[++i], 1, MAX_DEPTH);
    else if (!strcmp(o, "--queues")) options.queues = (uint32_t)number(o, argv[++i], 1, MAX_QUEUES);
    else if (!strcmp(o, "--seconds")) options.seconds = number(o, argv[++i], 0.01, 86400);
    else if (!strcmp(o, "--warmup")) options.warmup = number(o, argv[++i], 0, 3600);
    else if (!strcmp(o, "--region")) options.region = (uint64_t)number(o, argv[++i], 512, 1e18);
    else if (!strcmp(o, "--seed")) options.seed = (uint64_t)number(o, argv[++i], 0, 1e15);
    else if (!strcmp(o, "--server-pid")) options.server_pid = (long)number(o, argv[++i], 1, 1 << 30);
    else if (!strcmp(o, "--hostnqn")) options.hostnqn = argv[++i];
    else { usage(stderr); exit(2); }
  }
  if (strlen(options.nqn) > 223 || strlen(options.hostnqn) > 223) fail("an NQN has at most 223 bytes");
}

int main(int argc, char **argv) {
  parse_options(argc, argv);
  signal(SIGPIPE, SIG_IGN);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) fail("epoll_create1: %s", strerror(errno));
  random_state = mix(options.seed);
  set_up_controller();
  if (options.bs % target.block_size) fail("--bs: not a multiple of the block size %u", target.block_size);
  if (options.bs > target.max_data) fail("--bs: the target takes %u bytes at most", (uint32_t)target.max_data);
  if (options.region == 0 || options.region > target.bytes) options.region = target.bytes;
  options.region -= options.region % (options.region > FILL_BLOCK ? FILL_BLOCK : target.block_size);
  if (options.region < options.bs) fail("--region: smaller than --bs");
  for (uint32_t i = 0; i < options.queues; i++) set_up_io_queue(&queues[i], (uint16_t)(i + 1));

  if (options.fill) sequential_phase(WRITE, false);
  if (options.verify) written_blocks = allocate(options.region / target.block_size / 8 + 1);
  timed_phase();
  if (options.verify && options.operation == WRITE) sequential_phase(READ, true);
  report();
  return 0;
}
