/* The load generator: many readers of server-sent events, each of them checked.
 *
 *   load PORT SECONDS [together] < targets
 *
 * Each line of stdin up to an empty line is "<group> <connections> <events> <path>". The program
 * connects, and prints "ready" when every connection has its response head. It ends when every
 * connection has all its events, SECONDS after "ready", or at the end of stdin. Then it prints one line
 * of JSON. With "together", it prints "ready" when all are connected, and then sends all requests at once.
 *
 * The program polls its sockets every 500 us. A sleeping reader on loopback makes the server's write()
 * pay for waking a core, 5 us and more on a virtual machine, which a reader behind a network card does
 * not. Polling makes delays up to 500 us too long, for all servers alike.
 *
 * Each connection must receive the seqs 0, 1, 2, ... of payload.h. A skipped seq counts as a gap, a seq
 * that arrives twice as a repeat, and a seq that arrives after a later one as a disorder.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "payload.h"

#define LINE_BYTES 1024 /* the buffer for an incomplete line or response head */
#define OPENING_AT_ONCE 64
#define LOOK_EVERY_NS 500000
#define READ_AT_ONCE 512
#define FEW 16 /* with this many ready sockets or more, poll again at once */
#define GROUPS 4
#define MANTISSA_BITS 7 /* precision of a latency in the histogram: an error below 1 % */
#define BUCKETS ((64 - MANTISSA_BITS) << MANTISSA_BITS)

enum phase { UNOPENED, CONNECTING, WAITING, HEAD, BODY, OVER };
enum chunk { SIZE, DATA, SIZE_END, DATA_END };

struct connection {
    int fd, group;
    enum phase phase;
    enum chunk chunk;
    int is_chunked, is_done;
    uint64_t left;             /* bytes of the chunk that have not arrived */
    uint64_t expected, got, next; /* numbers of events, and the next seq in order */
    uint64_t missed;           /* for the 64 seqs before `next`: bit i is set if next - 1 - i is missing */
    const char *path;
    size_t held;
    char line[LINE_BYTES];
};

struct group {
    uint64_t events, latencies[BUCKETS], max;
};

static struct connection *connections;
static size_t count, opened, opening, ready, done, wanted;
static struct group groups[GROUPS];
static uint64_t gaps, repeats, disorders, broken, refused, first_ns, last_ns, ready_ns;
static double ready_cpu_s;
static int poller, port, is_together;
static char buffer[1 << 18];

static size_t bucket_of(uint64_t ns) {
    if (ns < 1u << MANTISSA_BITS) return ns;
    int shift = 63 - __builtin_clzll(ns) - MANTISSA_BITS;
    return ((size_t)(shift + 1) << MANTISSA_BITS) + (ns >> shift) - (1u << MANTISSA_BITS);
}

static double bucket_ms(size_t bucket) {
    size_t shift = bucket >> MANTISSA_BITS, mantissa = bucket & ((1u << MANTISSA_BITS) - 1);
    if (!shift) return (double)mantissa / 1e6;
    return (double)((mantissa + (1u << MANTISSA_BITS)) << (shift - 1)) / 1e6;
}

static double percentile_ms(const struct group *g, double share) {
    uint64_t rank = (uint64_t)((double)g->events * share), seen = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        if ((seen += g->latencies[i]) > rank) return bucket_ms(i);
    return (double)g->max / 1e6;
}

static void check_order(struct connection *c, uint64_t seq) {
    if (seq >= c->next) {
        uint64_t jumped = seq - c->next;
        gaps += jumped;
        c->missed = jumped >= 63 ? ~0ull << 1 : c->missed << (jumped + 1) | ((1ull << jumped) - 1) << 1;
        c->next = seq + 1;
        return;
    }
    uint64_t back = c->next - 1 - seq;
    if (back < 64 && c->missed >> back & 1) {
        c->missed &= ~(1ull << back);
        gaps--;
        disorders++;
    } else {
        repeats++;
    }
}

static void on_line(struct connection *c, const char *line, size_t length, uint64_t now) {
    uint64_t seq, ns;
    if (length < 5 || memcmp(line, "data:", 5) || !read_payload(line + 5, length - 5, &seq, &ns)) return;
    check_order(c, seq);
    struct group *g = &groups[c->group];
    uint64_t latency = now > ns ? now - ns : 0;
    g->events++;
    g->latencies[bucket_of(latency)]++;
    if (latency > g->max) g->max = latency;
    if (!first_ns) first_ns = now;
    last_ns = now;
    c->got++;
    if (c->next >= c->expected && !c->is_done && c->expected) c->is_done = 1, done++;
}

static void keep(struct connection *c, const char *from, size_t length) {
    size_t room = LINE_BYTES - c->held;
    if (length > room) length = room;
    memcpy(c->line + c->held, from, length);
    c->held += length;
}

static void on_text(struct connection *c, const char *at, size_t length, uint64_t now) {
    for (const char *end; length && (end = memchr(at, '\n', length));) {
        size_t size = (size_t)(end - at);
        if (c->held) {
            keep(c, at, size);
            on_line(c, c->line, c->held, now);
            c->held = 0;
        } else {
            on_line(c, at, size, now);
        }
        at = end + 1;
        length -= size + 1;
    }
    keep(c, at, length);
}

static int hex(char digit) {
    return digit <= '9' ? digit - '0' : (digit | 32) - 'a' + 10;
}

static void on_body(struct connection *c, const char *at, size_t length, uint64_t now) {
    if (!c->is_chunked) {
        on_text(c, at, length, now);
        return;
    }
    while (length) {
        if (c->chunk == DATA) {
            size_t size = length < c->left ? length : c->left;
            on_text(c, at, size, now);
            at += size, length -= size, c->left -= size;
            if (!c->left) c->chunk = DATA_END;
            continue;
        }
        char byte = *at++;
        length--;
        if (byte == '\n') {
            c->chunk = c->chunk == DATA_END ? SIZE : DATA;
            if (c->chunk == DATA && !c->left) c->phase = OVER; /* the last chunk */
        } else if (c->chunk == SIZE && ((byte >= '0' && byte <= '9') || ((byte | 32) >= 'a' && (byte | 32) <= 'f'))) {
            c->left = c->left * 16 + (uint64_t)hex(byte);
        } else if (c->chunk == SIZE) {
            c->chunk = SIZE_END;
        }
    }
}

static void let_go(struct connection *c) {
    if (c->phase < BODY) opening -= !is_together || c->phase == CONNECTING, ready++;
    if (c->expected && !c->is_done) c->is_done = 1, done++, broken++;
    close(c->fd);
    c->fd = -1;
    c->phase = OVER;
}

static void on_head(struct connection *c, const char *at, size_t length, uint64_t now) {
    size_t before = c->held;
    keep(c, at, length);
    char *end = memmem(c->line, c->held, "\r\n\r\n", 4);
    if (!end) return;
    size_t used = (size_t)(end - c->line) + 4 - before;
    *end = 0;
    if (strncmp(c->line, "HTTP/1.1 200", 12)) {
        if (!refused++) fprintf(stderr, "%s: %.*s\n", c->path, (int)strcspn(c->line, "\r"), c->line);
        let_go(c);
        return;
    }
    c->is_chunked = strcasestr(c->line, "transfer-encoding: chunked") != NULL;
    c->phase = BODY;
    c->held = 0;
    opening -= !is_together;
    ready++;
    on_body(c, at + used, length - used, now);
}

static void ask(struct connection *c) {
    int length = snprintf(buffer, sizeof buffer, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n\r\n", c->path, port);
    c->phase = HEAD;
    if (write(c->fd, buffer, (size_t)length) != length) let_go(c);
}

static void on_event(struct connection *c, uint32_t events) {
    if (c->fd < 0) return;
    if (c->phase == CONNECTING) {
        struct epoll_event want = {EPOLLIN, {.ptr = c}};
        epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &want);
        if (events & (EPOLLERR | EPOLLHUP)) {
            let_go(c);
        } else if (is_together) {
            c->phase = WAITING, opening--, ready++;
        } else {
            ask(c);
        }
        return;
    }
    ssize_t length = recv(c->fd, buffer, sizeof buffer, 0);
    if (length < 0 && errno == EAGAIN) return;
    if (length > 0 && c->phase == HEAD) on_head(c, buffer, (size_t)length, now_ns());
    else if (length > 0 && c->phase == BODY) on_body(c, buffer, (size_t)length, now_ns());
    if (length <= 0 || c->phase == OVER) let_go(c);
}

static void open_next(void) {
    struct connection *c = &connections[opened++];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int one = 1;
    if ((c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) < 0) perror("socket"), exit(1);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) perror("connect"), exit(1);
    struct epoll_event want = {EPOLLOUT, {.ptr = c}};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &want);
    c->phase = CONNECTING;
    opening++;
}

static void read_targets(void) {
    char line[LINE_BYTES], path[LINE_BYTES];
    int group;
    size_t each, events;
    while (fgets(line, sizeof line, stdin) && sscanf(line, "%d %zu %zu %1000s", &group, &each, &events, path) == 4) {
        connections = realloc(connections, (count + each) * sizeof *connections);
        if (!connections || group < 0 || group >= GROUPS) fputs("bad target\n", stderr), exit(1);
        memset(connections + count, 0, each * sizeof *connections);
        const char *kept = strdup(path);
        for (size_t i = 0; i < each; i++) connections[count++] = (struct connection){.fd = -1, .group = group, .expected = events, .path = kept};
        if (events) wanted += each;
    }
}

static void print_result(void) {
    uint64_t events = 0, expected = 0;
    for (int i = 0; i < GROUPS; i++) events += groups[i].events;
    for (size_t i = 0; i < count; i++) expected += connections[i].expected;
    printf("{\"events\":%llu,\"expected\":%llu,\"gaps\":%llu,\"repeats\":%llu,\"disorders\":%llu,\"broken\":%llu,\"refused\":%llu,",
           (unsigned long long)events, (unsigned long long)expected, (unsigned long long)gaps, (unsigned long long)repeats,
           (unsigned long long)disorders, (unsigned long long)broken, (unsigned long long)refused);
    printf("\"seconds\":%.6f,\"since_ready_s\":%.6f,\"cpu_s\":%.3f,\"groups\":[", (double)(last_ns - first_ns) / 1e9,
           last_ns ? (double)(last_ns - ready_ns) / 1e9 : 0, cpu_seconds() - ready_cpu_s);
    for (int i = 0; i < GROUPS; i++)
        printf("%s{\"events\":%llu,\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"max_ms\":%.4f}", i ? "," : "", (unsigned long long)groups[i].events,
               percentile_ms(&groups[i], 0.5), percentile_ms(&groups[i], 0.99), (double)groups[i].max / 1e6);
    puts("]}");
}

int main(int argc, char **argv) {
    if (argc < 3) return fputs("usage: load PORT SECONDS [together] < targets\n", stderr), 1;
    port = atoi(argv[1]);
    uint64_t limit_ns = (uint64_t)(atof(argv[2]) * 1e9);
    is_together = argc > 3;
    prctl(PR_SET_TIMERSLACK, 1); /* the default slack makes sleeps 50 us longer */
    setvbuf(stdin, NULL, _IONBF, 0); /* a buffer would hide input after the targets from epoll */
    read_targets();
    poller = epoll_create1(0);
    struct epoll_event want = {EPOLLIN, {.ptr = NULL}}, events[READ_AT_ONCE];
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &want);
    for (int is_ready = 0;;) {
        while (opened < count && opening < OPENING_AT_ONCE) open_next();
        if (!is_ready && ready == count) {
            puts("ready"), fflush(stdout);
            is_ready = 1, ready_ns = now_ns(), ready_cpu_s = cpu_seconds();
            for (size_t i = 0; is_together && i < count; i++) ask(&connections[i]);
        }
        if (is_ready && ((wanted && done == wanted) || now_ns() - ready_ns > limit_ns)) break;
        int n = epoll_wait(poller, events, READ_AT_ONCE, 0);
        for (int i = 0; i < n; i++) {
            if (!events[i].data.ptr) return print_result(), 0; /* stdin */
            on_event(events[i].data.ptr, events[i].events);
        }
        if (n < FEW) sleep_until(now_ns() + LOOK_EVERY_NS);
    }
    print_result();
    return 0;
}
