/* The callers: submits requests to an upstream or to Tickertape, and measures the delay of each delta.
 *
 *   ask openai|native PORT AT_ONCE EACH SPREAD_MS "plan DELTAS RATE PER_SEGMENT"
 *
 * `openai` sends a chat completion, which both an upstream and Tickertape accept; `native` sends a
 * submit and then reads its event stream. Each of AT_ONCE callers has a separate connection, and sends
 * EACH requests one after the other. The callers start at random times within SPREAD_MS. Prints JSON:
 * `first_us` from the submit to the first delta, `each_us` from the upstream's write of a delta to its
 * arrival, both only while all callers are active; `took_s` from the start of the program's first call to
 * the end of the last one; `complete` counts the answers in which every delta
 * arrived once and in order, `faulty` all others.
 *
 * The program polls its sockets every 200 us. If each write woke it, the server would pay for waking a
 * core, which a network card does not cause. Polling adds 100 us on average, to both ways alike.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 16, HEAD_BYTES = 2 * READ_BYTES, EVENTS = 256, LOOK_EVERY_NS = 200000 };
static const long long LONGEST_SILENCE_NS = 20000000000LL;
enum Phase { WAITING, HEAD, JSON, STREAM, DONE };

typedef struct {
    int fd, asked, is_faulty, in_chunk_head, is_last_chunk, closes;
    enum Phase phase;
    char head[HEAD_BYTES];
    size_t got;
    long next_delta, number;
    unsigned long chunk_left;
    int has_at;
    long long start_ns, asked_ns, stamp;
} Caller;

static int poll_fd, port, at_once, each, is_native, finished;
static long deltas;
static long long all_begun_ns;
static const char *plan;
static Caller *callers;
static long complete, faulty;

typedef struct {
    long long *values;
    size_t size, room;
} Series;
static Series first_us, each_us;

static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void note(Series *series, long long ns) {
    if (series->size == series->room) {
        series->room = series->room ? 2 * series->room : 4096;
        series->values = realloc(series->values, series->room * sizeof *series->values);
    }
    series->values[series->size++] = ns / 1000;
}

static void print(const char *name, const Series *series) {
    printf("\"%s\":[", name);
    for (size_t n = 0; n < series->size; n++) printf(n ? ",%lld" : "%lld", series->values[n]);
    printf("],");
}

/* Connections. */

static void hang_up(Caller *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
}

static void connect_to_server(Caller *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) {
        perror("connect");
        exit(1);
    }
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event);
}

static void send_request(Caller *c, const char *method, const char *path, const char *body) {
    char request[4096];
    int size = snprintf(request, sizeof request,
                        "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
                        "Content-Length: %zu\r\n\r\n%s",
                        method, path, port, strlen(body), body);
    if (c->fd < 0) connect_to_server(c);
    if (write(c->fd, request, size) != size) {
        /* The peer may have closed a kept-alive connection, so retry once on a new connection. */
        hang_up(c);
        connect_to_server(c);
        if (write(c->fd, request, size) != size) c->is_faulty = 1;
    }
    c->phase = HEAD;
    c->got = 0;
}

static void ask(Caller *c) {
    char body[1024];
    c->asked++;
    c->is_faulty = c->next_delta = c->has_at = c->number = 0;
    if (is_native) snprintf(body, sizeof body, "{\"message\":\"%s\"}", plan);
    else
        snprintf(body, sizeof body,
                 "{\"model\":\"bench\",\"stream\":true,\"messages\":[{\"role\":\"user\","
                 "\"content\":\"%s\"}]}",
                 plan);
    c->asked_ns = now_ns();
    send_request(c, "POST", is_native ? "/chat" : "/v1/chat/completions", body);
}

static void ended(Caller *c) {
    if (!c->is_faulty && c->next_delta == deltas) complete++;
    else faulty++;
    c->phase = DONE;
    if (c->closes) hang_up(c);
    if (c->asked < each) ask(c);
    else finished++;
}

/* Answers. */

static void take_delta(Caller *c) {
    long long now = now_ns();
    int is_measured = !finished && now > all_begun_ns;
    if (c->number != c->next_delta++) c->is_faulty = 1;
    if (is_measured && c->asked_ns > all_begun_ns && c->number == 0) note(&first_us, now - c->asked_ns);
    if (is_measured) note(&each_us, now - c->stamp);
}

/* A delta has the form "number@nanoseconds ", which nothing else in a stream has. */
static void take_text(Caller *c, char byte) {
    if (byte >= '0' && byte <= '9') {
        if (c->has_at) c->stamp = 10 * c->stamp + byte - '0';
        else c->number = 10 * (c->number % 100000000) + byte - '0';
        return;
    }
    if (byte == '@') {
        c->has_at = 1;
        c->stamp = 0;
        return;
    }
    if (byte == ' ' && c->has_at) take_delta(c);
    c->has_at = c->number = 0;
}

/* The body of a chunked response; returns 1 once it has ended. */
static int take_chunked(Caller *c, const char *data, ssize_t size) {
    for (ssize_t n = 0; n < size; n++) {
        char byte = data[n];
        if (!c->in_chunk_head) {
            /* Skip the line end (two bytes) after the content of a chunk. */
            if (c->chunk_left > 2) take_text(c, byte);
            if (--c->chunk_left > 0) continue;
            if (c->is_last_chunk) return 1;
            c->in_chunk_head = 1;
        } else if (byte == '\n') {
            c->is_last_chunk = c->chunk_left == 0;
            c->chunk_left += 2;
            c->in_chunk_head = 0;
        } else if (byte != '\r') {
            c->chunk_left = 16 * c->chunk_left + (byte <= '9' ? byte - '0' : (byte | 32) - 'a' + 10);
        }
    }
    return 0;
}

static void fail(Caller *c, const char *why) {
    fprintf(stderr, "ask: %s: %.*s\n", why, (int)c->got, c->head);
    c->is_faulty = 1;
    hang_up(c);
    ended(c);
}

static void read_stream_url(Caller *c, const char *body) {
    const char *at = strstr(body, "\"stream_url\":\"");
    char path[256];
    if (!at || sscanf(at + 14, "%255[^\"]", path) != 1) fail(c, "no stream_url");
    else send_request(c, "GET", path, "");
}

static void take_head(Caller *c, const char *data, ssize_t size) {
    if (c->got + size >= HEAD_BYTES) {
        fail(c, "no end of a head");
        return;
    }
    memcpy(c->head + c->got, data, size);
    c->got += size;
    c->head[c->got] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) return;
    if (strncmp(c->head, "HTTP/1.1 20", 11) != 0) {
        fail(c, "refused");
        return;
    }
    const char *length = strcasestr(c->head, "\r\ncontent-length:");
    if (length && length < end) {
        if (c->got >= end + 4 - c->head + strtoul(length + 17, NULL, 10)) read_stream_url(c, end + 4);
        return;
    }
    const char *connection = strcasestr(c->head, "\r\nconnection: close");
    c->closes = connection && connection < end;
    c->phase = STREAM;
    c->in_chunk_head = 1;
    c->chunk_left = 0;
    if (take_chunked(c, end + 4, c->head + c->got - end - 4)) ended(c);
}

static void take(Caller *c) {
    static char data[READ_BYTES];
    ssize_t size = read(c->fd, data, sizeof data);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) {
        hang_up(c);
        if (c->phase != DONE) fail(c, "closed in the middle");
        return;
    }
    if (c->phase == HEAD) take_head(c, data, size);
    else if (c->phase == STREAM && take_chunked(c, data, size)) ended(c);
}

static int by_start(const void *a, const void *b) {
    long long x = ((const Caller *)a)->start_ns, y = ((const Caller *)b)->start_ns;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_TIMERSLACK, 1); /* the default slack makes pauses 50 us longer */
    is_native = strcmp(argv[1], "native") == 0;
    port = atoi(argv[2]), at_once = atoi(argv[3]), each = atoi(argv[4]), plan = argv[6];
    sscanf(plan, "plan %ld", &deltas);
    poll_fd = epoll_create1(0);
    callers = calloc(at_once, sizeof *callers);
    srandom(7); /* a fixed seed, so that both ways have the same start times */
    long long begun_ns = now_ns(), spread_ns = atoll(argv[5]) * 1000000;
    for (int n = 0; n < at_once; n++) {
        callers[n].fd = -1;
        callers[n].start_ns = begun_ns + spread_ns / 1000 * (random() % 1000);
    }
    qsort(callers, at_once, sizeof *callers, by_start);
    all_begun_ns = spread_ns ? callers[at_once - 1].start_ns : 0;
    struct epoll_event events[EVENTS];
    long long heard_ns = begun_ns;
    for (int begun = 0; finished < at_once;) {
        long long now = now_ns();
        for (; begun < at_once && callers[begun].start_ns <= now; begun++) ask(&callers[begun]);
        struct timespec pause = {0, LOOK_EVERY_NS};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        int count = epoll_wait(poll_fd, events, EVENTS, 0);
        for (int n = 0; n < count; n++) take(events[n].data.ptr);
        if (count > 0 || begun < at_once) heard_ns = now;
        if (now - heard_ns > LONGEST_SILENCE_NS) {
            fprintf(stderr, "ask: silence\n");
            return 1;
        }
    }
    printf("{");
    print("first_us", &first_us);
    print("each_us", &each_us);
    printf("\"took_s\":%.3f,\"complete\":%ld,\"faulty\":%ld}\n", (now_ns() - begun_ns) / 1e9, complete, faulty);
}
