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
 * that follows from its place.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "handshake.h"
#include "load-tools.h"
#include "nvme-tcp.h"

enum {
  MAX_QUEUES = 64,
  MAX_DEPTH = 1024,
  MAX_BLOCK = 1 << 20,
  RECEIVE_BYTES = 512 * 1024,
  IOV_ENTRIES = 1024,
  /* One header of 24 bytes for each H2CData PDU in a batch; command capsules have their own place. */
  DATA_HEADERS = IOV_ENTRIES / 2,
  FILL_BLOCK = 128 * 1024,
  FILL_DEPTH = 8,
};

enum operation { READ, WRITE };

/* ---- options ---- */

static struct {
  struct host host;
  enum operation operation;
  bool random;
  uint32_t bs;
  uint32_t depth;
  double seconds, warmup;
  bool verify, fill;
  uint64_t region;
  uint64_t seed;
  long server_pid;
} options = {
    .host = {.hostnqn = "nqn.2014-08.org.nvmexpress:uuid:6c6f6164-0000-4000-8000-6e7662726164", .queues = 1},
    .random = true,
    .bs = 4096,
    .depth = 32,
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

static struct target_info target;
static struct queue queues[MAX_QUEUES];
static int epoll_fd;

static void set_up_io_queue(struct queue *q, uint16_t qid) {
  q->fd = connect_io_queue(&options.host, &target, qid, &q->max_h2c_data);
  q->qid = qid;
  q->depth = options.host.depth;
  q->slots = allocate(q->depth * sizeof *q->slots);
  q->free_slots = allocate(q->depth * sizeof *q->free_slots);
  q->to_send = allocate(q->depth * sizeof *q->to_send);
  q->receive = allocate(RECEIVE_BYTES);
  size_t write_bytes = (size_t)q->depth * (options.bs > FILL_BLOCK ? options.bs : FILL_BLOCK);
  if (options.operation == WRITE || options.fill) {
    /* Touched once, or all of it would be the one zero page of the kernel. */
    q->write_data = aligned_alloc(4096, (write_bytes + 4095) & ~4095ull);
    if (!q->write_data) fail("out of memory");
    make_pattern(q->write_data, options.seed, 0, (uint32_t)(write_bytes > 1 << 24 ? 1 << 24 : write_bytes), false);
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

/* Offsets come from a generator of our own: the same seed makes the same run everywhere. */
static uint64_t random_state;
static uint64_t random_below(uint64_t bound) {
  random_state += 0x9e3779b97f4a7c15u;
  return (uint64_t)(((unsigned __int128)mix(random_state) * bound) >> 64);
}

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
    if (options.verify || phase.end_ns == 0) make_pattern(slot->data, options.seed, byte, phase.bs, phase.written);
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
    add_latency(now - slot->start_ns);
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
    uint64_t word = pattern_word(options.seed, at & ~7ull, is_written(at));
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
      if (q->arriving_success && options.host.flow_control) fail("C2HData with SUCCESS in spite of SQ flow control");
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
      if (options.host.flow_control && cqe->sqhd > q->depth) fail("cid %u: sqhd %u", cqe->cid, cqe->sqhd);
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

static uint64_t server_cpu_us(void) { return options.server_pid ? process_cpu_us(options.server_pid) : 0; }

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
  for (uint32_t i = 0; i < options.host.queues; i++) {
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
         options.host.queues, options.host.flow_control ? "true" : "false", seconds, (unsigned long long)window.ios);
  printf("\"iops\":%.0f,\"mbps\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"cpu_us_client\":%.3f",
         ios / seconds, ios * options.bs / seconds / 1e6, latency_us(0.5), latency_us(0.99),
         latency_us(0.999), (double)window.cpu_us / ios);
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
  options.host.address = argv[1];
  options.host.port = (int)number("PORT", argv[2], 1, 65535);
  options.host.nqn = argv[3];
  for (int i = 4; i < argc; i++) {
    const char *o = argv[i];
    if (!strcmp(o, "--sqflow")) options.host.flow_control = true;
    else if (!strcmp(o, "--disable-sqflow")) options.host.flow_control = false;
    else if (!strcmp(o, "--verify")) options.verify = options.fill = true;
    else if (!strcmp(o, "--fill")) options.fill = true;
    else if (i + 1 == argc) { usage(stderr); exit(2); }
    else if (!strcmp(o, "--rw")) parse_rw(argv[++i]);
    else if (!strcmp(o, "--bs")) options.bs = (uint32_t)number(o, argv[++i], 512, MAX_BLOCK);
    else if (!strcmp(o, "--depth")) options.depth = (uint32_t)number(o, argv[++i], 1, MAX_DEPTH);
    else if (!strcmp(o, "--queues")) options.host.queues = (uint32_t)number(o, argv[++i], 1, MAX_QUEUES);
    else if (!strcmp(o, "--seconds")) options.seconds = number(o, argv[++i], 0.01, 86400);
    else if (!strcmp(o, "--warmup")) options.warmup = number(o, argv[++i], 0, 3600);
    else if (!strcmp(o, "--region")) options.region = (uint64_t)number(o, argv[++i], 512, 1e18);
    else if (!strcmp(o, "--seed")) options.seed = (uint64_t)number(o, argv[++i], 0, 1e15);
    else if (!strcmp(o, "--server-pid")) options.server_pid = (long)number(o, argv[++i], 1, 1 << 30);
    else if (!strcmp(o, "--hostnqn")) options.host.hostnqn = argv[++i];
    else { usage(stderr); exit(2); }
  }
  if (strlen(options.host.nqn) > 223 || strlen(options.host.hostnqn) > 223) fail("an NQN has at most 223 bytes");
}

int main(int argc, char **argv) {
  parse_options(argc, argv);
  signal(SIGPIPE, SIG_IGN);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) fail("epoll_create1: %s", strerror(errno));
  random_state = mix(options.seed);
  options.host.depth = options.depth > FILL_DEPTH ? options.depth : FILL_DEPTH;
  set_up_controller(&options.host, &target);
  if (options.bs % target.block_size) fail("--bs: not a multiple of the block size %u", target.block_size);
  if (options.bs > target.max_data) fail("--bs: the target takes %u bytes at most", (uint32_t)target.max_data);
  if (options.region == 0 || options.region > target.bytes) options.region = target.bytes;
  options.region -= options.region % (options.region > FILL_BLOCK ? FILL_BLOCK : target.block_size);
  if (options.region < options.bs) fail("--region: smaller than --bs");
  for (uint32_t i = 0; i < options.host.queues; i++) set_up_io_queue(&queues[i], (uint16_t)(i + 1));

  if (options.fill) sequential_phase(WRITE, false);
  if (options.verify) written_blocks = allocate(options.region / target.block_size / 8 + 1);
  timed_phase();
  if (options.verify && options.operation == WRITE) sequential_phase(READ, true);
  report();
  return 0;
}
