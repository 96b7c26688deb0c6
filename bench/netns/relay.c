/*
 * Links between two network namespaces with a rate, a delay and a loss, for kernels without netem. Each link is a TUN
 * device in either namespace; what one sends is handed to the other as `netem rate R delay D loss P limit N` would do at
 * the sender. With segmentation offload a packet is what TCP hands to its device, up to 64 KiB, and is lost whole, as
 * netem does it; without, packets have the size of the wire.
 *
 * usage: relay SEED offload|wire SIDE-A SIDE-B LINK...
 * SIDE is the path of a network namespace, LINK is NAME-A,NAME-B. Prints "ready" when the devices are there. Standard
 * input sets a link, "LINK RATE-BITS DELAY-US LOSS-PPM LIMIT" (from 0 on), each answered with "ok"; "stats" answers a
 * line of JSON. Ends when standard input does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define LINKS_MAX 16
#define PACKET_MAX (12 + 65536)
#define VNET_HEADER 10
/* Packets taken from one device before the others have their turn. */
#define BATCH 64

struct packet {
	struct packet *next;
	uint64_t due_ns;
	uint32_t bytes;
	unsigned char data[];
};

/* What one side sends to the other. */
struct lane {
	int from;
	int to;
	uint64_t rate_bits;
	uint64_t delay_ns;
	uint32_t loss_ppm;
	uint32_t limit;
	uint64_t random;
	struct packet *head;
	struct packet *tail;
	uint32_t queued;
	uint64_t packets;
	uint64_t bytes;
	uint64_t lost;
	uint64_t overflowed;
	/* The other device did not take it: it is down, or has no memory. */
	uint64_t refused;
};

static struct lane lanes[LINKS_MAX * 2];
static int nr_lanes;
static bool offload;

static void fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fputs("relay: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* splitmix64: each lane has a sequence of its own. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static void enter(const char *namespace)
{
	int fd = open(namespace, O_RDONLY | O_CLOEXEC);
	if (fd < 0) fail("%s: %s", namespace, strerror(errno));
	if (setns(fd, CLONE_NEWNET) != 0) fail("cannot enter %s: %s", namespace, strerror(errno));
	close(fd);
}

/* A TUN device in the namespace that this process is in. */
static int make_device(const char *name)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) fail("/dev/net/tun: %s", strerror(errno));
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI | (offload ? IFF_VNET_HDR : 0) };
	if (strlen(name) >= sizeof request.ifr_name) fail("%s: the name is too long", name);
	strcpy(request.ifr_name, name);
	if (ioctl(fd, TUNSETIFF, &request) != 0) fail("cannot make the device %s: %s", name, strerror(errno));
	if (offload && ioctl(fd, TUNSETOFFLOAD, (unsigned long)(TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)) != 0) {
		fail("%s has no segmentation offload: %s", name, strerror(errno));
	}
	return fd;
}

/* When a packet that is sent now arrives: behind the one before it, as netem reckons. */
static uint64_t arrival(const struct lane *lane, uint64_t now, uint32_t bytes)
{
	uint64_t due = now + lane->delay_ns;
	if (lane->rate_bits == 0) return due;
	if (lane->tail != NULL && lane->tail->due_ns > due) due = lane->tail->due_ns;
	return due + (uint64_t)bytes * 8u * 1000000000u / lane->rate_bits;
}

static void take(struct lane *lane, const unsigned char *data, uint32_t bytes, uint64_t now)
{
	uint32_t on_wire = offload ? bytes - VNET_HEADER : bytes;
	lane->packets++;
	lane->bytes += on_wire;
	if (lane->loss_ppm > 0 && next_random(&lane->random) % 1000000u < lane->loss_ppm) {
		lane->lost++;
		return;
	}
	if (lane->queued >= lane->limit) {
		lane->overflowed++;
		return;
	}
	struct packet *packet = malloc(sizeof *packet + bytes);
	if (packet == NULL) fail("out of memory");
	packet->next = NULL;
	packet->bytes = bytes;
	packet->due_ns = arrival(lane, now, on_wire);
	memcpy(packet->data, data, bytes);
	if (lane->tail == NULL) lane->head = packet;
	else lane->tail->next = packet;
	lane->tail = packet;
	lane->queued++;
}

static void receive(struct lane *lane)
{
	static unsigned char data[PACKET_MAX];
	for (int i = 0; i < BATCH; i++) {
		ssize_t got = read(lane->from, data, sizeof data);
		if (got <= (offload ? VNET_HEADER : 0)) return;
		take(lane, data, (uint32_t)got, now_ns());
	}
}

/* Hands over what has arrived. Answers when the next one does, or the end of time. */
static uint64_t deliver(struct lane *lane, uint64_t now)
{
	while (lane->head != NULL && lane->head->due_ns <= now) {
		struct packet *packet = lane->head;
		if (write(lane->to, packet->data, packet->bytes) < 0) lane->refused++;
		lane->head = packet->next;
		if (lane->head == NULL) lane->tail = NULL;
		lane->queued--;
		free(packet);
	}
	return lane->head == NULL ? UINT64_MAX : lane->head->due_ns;
}

static void print_stats(void)
{
	putchar('[');
	for (int i = 0; i < nr_lanes; i++) {
		const struct lane *lane = &lanes[i];
		printf("%s{\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"overflowed\":%" PRIu64
		       ",\"refused\":%" PRIu64 "}",
		       i == 0 ? "" : ",", lane->packets, lane->bytes, lane->lost, lane->overflowed, lane->refused);
	}
	puts("]");
	fflush(stdout);
}

static void obey(const char *line)
{
	unsigned link;
	uint64_t rate, delay_us;
	uint32_t loss_ppm, limit;
	if (strcmp(line, "stats") == 0) {
		print_stats();
		return;
	}
	if (sscanf(line, "%u %" SCNu64 " %" SCNu64 " %" SCNu32 " %" SCNu32, &link, &rate, &delay_us, &loss_ppm, &limit) != 5 ||
	    link * 2 >= (unsigned)nr_lanes) {
		fail("'%s' is no setting", line);
	}
	for (unsigned i = link * 2; i < link * 2 + 2; i++) {
		lanes[i].rate_bits = rate;
		lanes[i].delay_ns = delay_us * 1000u;
		lanes[i].loss_ppm = loss_ppm;
		lanes[i].limit = limit;
	}
	puts("ok");
	fflush(stdout);
}

/* Standard input, line by line. Answers false at its end. */
static bool read_settings(void)
{
	static char text[4096];
	static size_t used;
	ssize_t got = read(STDIN_FILENO, text + used, sizeof text - 1 - used);
	if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) return false;
	if (got < 0) return true;
	used += (size_t)got;
	char *start = text;
	for (char *end; (end = memchr(start, '\n', used - (size_t)(start - text))) != NULL; start = end + 1) {
		*end = '\0';
		obey(start);
	}
	used -= (size_t)(start - text);
	memmove(text, start, used);
	if (used == sizeof text - 1) fail("a setting is too long");
	return true;
}

static void make_links(uint64_t seed, const char *const sides[2], char **links, int nr_links)
{
	int fds[2][LINKS_MAX];
	for (int side = 0; side < 2; side++) {
		enter(sides[side]);
		for (int i = 0; i < nr_links; i++) {
			char *comma = strchr(links[i], ',');
			if (comma == NULL) fail("'%s' is not two names", links[i]);
			char name[64] = "";
			if (side == 0) snprintf(name, sizeof name, "%.*s", (int)(comma - links[i]), links[i]);
			else snprintf(name, sizeof name, "%s", comma + 1);
			fds[side][i] = make_device(name);
		}
	}
	for (int i = 0; i < nr_links; i++) {
		for (int side = 0; side < 2; side++) {
			struct lane *lane = &lanes[nr_lanes];
			lane->from = fds[side][i];
			lane->to = fds[1 - side][i];
			lane->limit = 1000;
			lane->random = seed * 1000003u + (uint64_t)nr_lanes;
			nr_lanes++;
		}
	}
}

/* A link does not wait for a processor. Without the right to ask for that it is only less exact. */
static void hurry(void)
{
	struct sched_param param = { .sched_priority = 1 };
	sched_setscheduler(0, SCHED_FIFO, &param);
}

int main(int argc, char **argv)
{
	if (argc < 6) fail("usage: relay SEED offload|wire SIDE-A SIDE-B NAME-A,NAME-B...");
	if (argc - 5 > LINKS_MAX) fail("at most %d links", LINKS_MAX);
	offload = strcmp(argv[2], "offload") == 0;
	const char *const sides[2] = { argv[3], argv[4] };
	make_links(strtoull(argv[1], NULL, 10), sides, argv + 5, argc - 5);
	hurry();
	puts("ready");
	fflush(stdout);
	struct pollfd polls[1 + LINKS_MAX * 2] = { { .fd = STDIN_FILENO, .events = POLLIN } };
	for (int i = 0; i < nr_lanes; i++) polls[1 + i] = (struct pollfd){ .fd = lanes[i].from, .events = POLLIN };
	for (;;) {
		uint64_t now = now_ns();
		uint64_t next = UINT64_MAX;
		for (int i = 0; i < nr_lanes; i++) {
			uint64_t due = deliver(&lanes[i], now);
			if (due < next) next = due;
		}
		now = now_ns();
		uint64_t wait = next <= now ? 0 : next - now;
		struct timespec timeout = { .tv_sec = (time_t)(wait / 1000000000u), .tv_nsec = (long)(wait % 1000000000u) };
		int ready = ppoll(polls, (nfds_t)(1 + nr_lanes), next == UINT64_MAX ? NULL : &timeout, NULL);
		if (ready < 0 && errno != EINTR) fail("poll: %s", strerror(errno));
		if (ready <= 0) continue;
		for (int i = 0; i < nr_lanes; i++) {
			if (polls[1 + i].revents & POLLIN) receive(&lanes[i]);
			else if (polls[1 + i].revents != 0) fail("a device is gone");
		}
		if (polls[0].revents != 0 && !read_settings()) return 0;
	}
}
