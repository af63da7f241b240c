/* The source of events: writes into many logs at a rate, with the calls that each server accepts.
 *
 *   publish append|append-0.1 PORT RATE EVENTS GROUP SHA MAX_ENTRIES MAX_BYTES < targets
 *   publish xadd   PORT RATE EVENTS GROUP < targets
 *   publish http   PORT RATE EVENTS 1 < targets
 *
 * RATE and EVENTS apply to each log; one call has GROUP events of a log. A line of stdin is one log:
 * for both appends "<request key> <log key> <channel> <attempt> <first seq>", for xadd "<key>", for http
 * "<path>". Calls for different logs are spread evenly over time. Redis calls use one pipelined
 * connection (password in REDIS_PASSWORD). HTTP calls use 64 persistent connections, each with one call
 * at a time. Prints one line of JSON: the events sent, the events refused, and the largest delay.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "payload.h"

#define TARGET_BYTES 400
#define PUBLISHERS 64 /* each connection publishes one message at a time */
#define TICK_NS 1000000 /* each wake costs up to 50 us on a virtual machine, on the core of Redis and the readers */
#define GIVE_UP_NS 10000000000ull /* so long after the last call was due, the server has failed to keep up */

struct target {
    char names[TARGET_BYTES], log[TARGET_BYTES / 2], channel[TARGET_BYTES / 2];
    unsigned long long attempt, first_seq;
};

struct call {
    uint64_t at_ns;
    size_t target;
    uint32_t seq;
};

struct connection {
    int fd, is_busy;
    struct call *waiting; /* a ring of `room` */
    size_t head, used, room, held;
    char answer[2048];
};

static struct target *targets;
static size_t target_count, out_held, out_room, answers;
static struct connection connections[PUBLISHERS];
static char *out, **arguments;
static uint32_t group;
static int is_of_release; /* the script of 0.1.0 takes its arguments in another order */
static uint64_t failed, late_ns;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int connected(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void put(const char *data, size_t length) {
    if (out_held + length > out_room && !(out = realloc(out, out_room = 2 * (out_held + length)))) fail("memory");
    memcpy(out + out_held, data, length);
    out_held += length;
}

static void put_bulk(const char *data, size_t length) {
    char size[30];
    put(size, (size_t)snprintf(size, sizeof size, "$%zu\r\n", length));
    put(data, length);
    put("\r\n", 2);
}

static void put_text(const char *text) { put_bulk(text, strlen(text)); }

static void put_number(unsigned long long number) {
    char text[30];
    snprintf(text, sizeof text, "%llu", number);
    put_text(text);
}

static void put_array(unsigned length) {
    char text[30];
    put(text, (size_t)snprintf(text, sizeof text, "*%u\r\n", length));
}

/* As broker/appender.py sends it; "d" is the letter of a plain delta in broker/codec.py. */
static void put_append(const struct target *t, uint32_t seq, uint64_t now) {
    char value[1 + PAYLOAD_BYTES] = "d";
    put_array((is_of_release ? 10 : 11) + group);
    put_text("EVALSHA"), put_text(arguments[0]), put_text("2"), put_text(t->names), put_text(t->log);
    if (!is_of_release) put_text(arguments[1]), put_text(arguments[2]);
    put_number(t->attempt), put_number(t->first_seq + seq);
    if (is_of_release) put_text(arguments[1]), put_text(arguments[2]);
    put_text(t->channel);
    if (!is_of_release) put_number(group);
    for (uint32_t i = 0; i < group; i++) {
        write_payload(value + 1, seq + i, now);
        put_bulk(value, sizeof value);
    }
}

static void put_xadd(const struct target *t, uint32_t seq, uint64_t now) {
    char value[PAYLOAD_BYTES];
    for (uint32_t i = 0; i < group; i++) {
        write_payload(value, seq + i, now);
        put_array(5);
        put_text("XADD"), put_text(t->names), put_text("*"), put_text("d");
        put_bulk(value, sizeof value);
    }
}

/* Counts replies by their lines: an append replies "*2 $2 OK :seq", an XADD "$n id". */
static void read_answers(int fd, int lines_each) {
    static char lines[1 << 16];
    static size_t held, line_in_answer;
    ssize_t n;
    while ((n = recv(fd, lines + held, sizeof lines - held, MSG_DONTWAIT)) > 0) {
        char *at = lines, *end, *stop = lines + held + n;
        for (; (end = memchr(at, '\n', (size_t)(stop - at))); at = end + 1) {
            int is_refusal = *at == '-' || (lines_each == 4 && line_in_answer == 2 && memcmp(at, "OK\r", 3));
            if (is_refusal && !failed++) fprintf(stderr, "%.*s\n", (int)(end - at), at);
            if (*at == '-' || ++line_in_answer == (size_t)lines_each) line_in_answer = 0, answers++;
        }
        held = (size_t)(stop - at);
        memmove(lines, at, held);
    }
    if (!n || (n < 0 && errno != EAGAIN)) fail("redis");
}

static void flush(int fd, int lines_each) {
    for (size_t sent = 0; sent < out_held;) {
        ssize_t n = send(fd, out + sent, out_held - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) sent += (size_t)n;
        else if (errno != EAGAIN) fail("send");
        read_answers(fd, lines_each);
    }
    out_held = 0;
}

static void redis_call(int fd, int is_append, const struct call *call) {
    (is_append ? put_append : put_xadd)(&targets[call->target], call->seq, call->at_ns);
    if (out_held > 1 << 16) flush(fd, is_append ? 4 : 2);
}

static void post_next(struct connection *c) {
    if (c->is_busy || !c->used) return;
    const struct call *call = &c->waiting[c->head];
    char request[1024];
    int length = snprintf(request, sizeof request, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n", targets[call->target].names, PAYLOAD_BYTES);
    write_payload(request + length, call->seq, call->at_ns);
    if (send(c->fd, request, (size_t)length + PAYLOAD_BYTES, MSG_NOSIGNAL) < 0) fail("post");
    c->head = (c->head + 1) % c->room;
    c->used--;
    c->is_busy = 1;
}

static void http_call(const struct call *call) {
    /* All calls for a log use one connection, which keeps their order. */
    struct connection *c = &connections[call->target % PUBLISHERS];
    if (c->used == c->room) fputs("the server does not keep up\n", stderr), exit(2);
    c->waiting[(c->head + c->used++) % c->room] = *call;
    post_next(c);
}

static void on_answer(struct connection *c) {
    ssize_t n = recv(c->fd, c->answer + c->held, sizeof c->answer - 1 - c->held, MSG_DONTWAIT);
    if (!n || (n < 0 && errno != EAGAIN)) fail("answer");
    if (n < 0) return;
    c->answer[c->held += (size_t)n] = 0;
    char *body = strstr(c->answer, "\r\n\r\n"), *length = strcasestr(c->answer, "content-length:");
    if (!body || c->held < (size_t)(body + 4 - c->answer) + (length ? strtoul(length + 15, NULL, 10) : 0)) return;
    if (memcmp(c->answer, "HTTP/1.1 20", 11) && !failed++) fprintf(stderr, "%.*s\n", (int)strcspn(c->answer, "\r"), c->answer);
    c->held = 0;
    c->is_busy = 0;
    answers++;
    post_next(c);
}

/* Reads replies until `until_ns`. */
static void wait_http(uint64_t until_ns) {
    struct pollfd waiting[PUBLISHERS];
    for (uint64_t now; (now = now_ns()) < until_ns;) {
        for (int i = 0; i < PUBLISHERS; i++) waiting[i] = (struct pollfd){connections[i].fd, POLLIN, 0};
        struct timespec limit = {0, (long)(until_ns - now)};
        if (ppoll(waiting, PUBLISHERS, &limit, NULL) <= 0) return;
        for (int i = 0; i < PUBLISHERS; i++)
            if (waiting[i].revents) on_answer(&connections[i]);
    }
}

static void open_connections(int port, int is_http, size_t calls) {
    for (int i = 0; i < (is_http ? PUBLISHERS : 1); i++) {
        connections[i].fd = connected(port);
        connections[i].room = calls / PUBLISHERS + 2 * (calls / (target_count ? target_count : 1)) + 64;
        connections[i].waiting = malloc(connections[i].room * sizeof(struct call));
    }
    const char *password = getenv("REDIS_PASSWORD");
    if (is_http || !password) return;
    char answer[100];
    put_array(2), put_text("AUTH"), put_text(password);
    if (send(connections[0].fd, out, out_held, 0) < 0 || recv(connections[0].fd, answer, sizeof answer, 0) < 3 || *answer != '+') fail("AUTH");
    out_held = 0;
}

static void read_targets(int is_append) {
    char line[2 * TARGET_BYTES];
    while (fgets(line, sizeof line, stdin)) {
        if (!(targets = realloc(targets, (target_count + 1) * sizeof *targets))) fail("memory");
        struct target *t = &targets[target_count++];
        int n = sscanf(line, "%399s %199s %199s %llu %llu", t->names, t->log, t->channel, &t->attempt, &t->first_seq);
        if (n != (is_append ? 5 : 1)) fputs("bad target\n", stderr), exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc < 6) return fputs("usage: publish append|xadd|http PORT RATE EVENTS GROUP ...\n", stderr), 1;
    int is_http = !strcmp(argv[1], "http"), is_append = !strncmp(argv[1], "append", 6), lines_each = is_append ? 4 : 2;
    double rate = atof(argv[3]);
    size_t events = (size_t)atol(argv[4]);
    group = (uint32_t)atoi(argv[5]);
    arguments = argv + 6;
    is_of_release = !strcmp(argv[1], "append-0.1");
    prctl(PR_SET_TIMERSLACK, 1); /* the default slack makes sleeps 50 us longer */
    read_targets(is_append);
    size_t calls = events / group * target_count, expected = calls * (is_append || is_http ? 1 : group);
    double gap_ns = 1e9 * group / rate / (double)target_count;
    open_connections(atoi(argv[2]), is_http, calls);
    int fd = connections[0].fd;
    uint64_t begin = now_ns() + TICK_NS, last_due = begin + (uint64_t)((double)calls * gap_ns);
    for (size_t made = 0; answers < expected;) {
        uint64_t now = now_ns(), due = begin + (uint64_t)((double)made * gap_ns);
        if (now > last_due + GIVE_UP_NS) break;
        for (; made < calls && due <= now; due = begin + (uint64_t)((double)++made * gap_ns)) {
            struct call call = {now, made % target_count, (uint32_t)(made / target_count) * group};
            if (now - due > late_ns) late_ns = now - due;
            if (is_http) http_call(&call);
            else redis_call(fd, is_append, &call);
        }
        uint64_t next = made < calls && due > now + TICK_NS ? due : now + TICK_NS;
        if (is_http) {
            wait_http(next);
        } else {
            flush(fd, lines_each);
            sleep_until(next);
            read_answers(fd, lines_each);
        }
    }
    printf("{\"sent\":%zu,\"answered\":%zu,\"failed\":%llu,\"seconds\":%.6f,\"late_ms\":%.3f,\"cpu_s\":%.3f}\n", expected, answers,
           (unsigned long long)failed, (double)(now_ns() - begin) / 1e9, (double)late_ns / 1e6, cpu_seconds());
    return failed != 0;
}
