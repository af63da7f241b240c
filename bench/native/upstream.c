/* An OpenAI-compatible streaming upstream, fast enough that it never limits a measurement.
 *
 *   upstream PORT      prints its base URL; 0 selects a free port; ends on SIGTERM
 *
 * The last "plan DELTAS RATE PER_SEGMENT" in a request's body defines the answer: DELTAS deltas, RATE
 * a second (0: as fast as the client reads), with PER_SEGMENT chunks in each write. A delta has the form
 * "n@nanoseconds ", its number and the monotonic time of its write, in a chunk of about 340 bytes.
 * Connections are kept alive, and carry one request at a time.
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

enum { MAX_REQUEST = 1 << 20, MAX_SEGMENT = 8 * 512 + 2048, MAX_FDS = 8192, EVENTS = 512 };

typedef struct {
    int fd, is_streaming, wants_out, heap_at;
    char *request;
    size_t got;
    long deltas, said, per_segment;
    double rate;
    long long begun_ns, due_ns;
    char out[MAX_SEGMENT];
    size_t out_at, out_end;
} Conn;

static Conn *conns[MAX_FDS];
static Conn *heap[MAX_FDS]; /* streams whose sockets are writable, the next due stream first */
static int heap_size, poll_fd;

static const char HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char CHUNK[] =
    "data: {\"id\":\"chatcmpl-BenchBenchBenchBenchBenchBenc\",\"object\":\"chat.completion.chunk\","
    "\"created\":1700000000,\"model\":\"bench\",\"service_tier\":\"default\","
    "\"system_fingerprint\":\"fp_0123456789\",\"choices\":[{\"index\":0,\"delta\":{%s},"
    "\"logprobs\":null,\"finish_reason\":%s}],\"usage\":null,\"obfuscation\":\"0123456789abcdef\"}\n\n";
static const char USAGE[] =
    "data: {\"id\":\"chatcmpl-BenchBenchBenchBenchBenchBenc\",\"object\":\"chat.completion.chunk\","
    "\"created\":1700000000,\"model\":\"bench\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,"
    "\"completion_tokens\":%ld,\"total_tokens\":%ld}}\n\ndata: [DONE]\n\n";
static const char MODELS[] =
    "{\"object\":\"list\",\"data\":[{\"id\":\"bench\",\"object\":\"model\",\"owned_by\":\"bench\"}]}";

static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* The heap of streams by the time of their next write. */

static void put(int at, Conn *c) {
    heap[at] = c;
    c->heap_at = at;
}

static void sift(int at) {
    Conn *c = heap[at];
    while (at > 0 && heap[(at - 1) / 2]->due_ns > c->due_ns) {
        put(at, heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (int child; (child = 2 * at + 1) < heap_size; at = child) {
        if (child + 1 < heap_size && heap[child + 1]->due_ns < heap[child]->due_ns) child++;
        if (heap[child]->due_ns >= c->due_ns) break;
        put(at, heap[child]);
    }
    put(at, c);
}

static void schedule(Conn *c, long long due_ns) {
    c->due_ns = due_ns;
    if (c->heap_at < 0) put(heap_size++, c);
    sift(c->heap_at);
}

static void unschedule(Conn *c) {
    int at = c->heap_at;
    if (at < 0) return;
    c->heap_at = -1;
    Conn *last = heap[--heap_size];
    if (last != c) {
        put(at, last);
        sift(at);
    }
}

static void watch(Conn *c, int wants_out) {
    if (c->wants_out == wants_out) return;
    c->wants_out = wants_out;
    struct epoll_event event = {.events = EPOLLIN | (wants_out ? EPOLLOUT : 0), .data.fd = c->fd};
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

static void drop(Conn *c) {
    unschedule(c);
    conns[c->fd] = NULL;
    close(c->fd);
    free(c->request);
    free(c);
}

/* Answers. */

static void add_chunked(Conn *c, const char *body, int size) {
    c->out_end += sprintf(c->out + c->out_end, "%x\r\n", size);
    memcpy(c->out + c->out_end, body, size);
    memcpy(c->out + c->out_end + size, "\r\n", 2);
    c->out_end += size + 2;
}

static void next_segment(Conn *c) {
    char body[MAX_SEGMENT - 64], delta[64];
    int size = 0;
    long long now = now_ns();
    for (long n = 0; n < c->per_segment && c->said < c->deltas; n++) {
        snprintf(delta, sizeof delta, "\"content\":\"%ld@%lld \"", c->said++, now);
        size += sprintf(body + size, CHUNK, delta, "null");
    }
    if (size) add_chunked(c, body, size);
    if (c->said == c->deltas) {
        size = sprintf(body, CHUNK, "", "\"stop\"");
        size += sprintf(body + size, USAGE, c->deltas, c->deltas + 1);
        add_chunked(c, body, size);
        c->out_end += sprintf(c->out + c->out_end, "0\r\n\r\n");
        c->is_streaming = 0;
    }
}

/* Sends the buffered bytes; returns whether all were sent. It may close the connection. */
static int flush(Conn *c) {
    while (c->out_at < c->out_end) {
        ssize_t sent = send(c->fd, c->out + c->out_at, c->out_end - c->out_at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            unschedule(c);
            watch(c, 1);
            return 0;
        }
        if (sent < 0) {
            drop(c);
            return 0;
        }
        c->out_at += sent;
    }
    c->out_at = c->out_end = 0;
    watch(c, 0);
    return 1;
}

/* A paced stream is timed from its start, so that a late write does not delay later writes. */
static void schedule_next(Conn *c) {
    if (!c->is_streaming) unschedule(c);
    else if (c->rate == 0) schedule(c, now_ns());
    else schedule(c, c->begun_ns + (long long)(c->said * 1e9 / c->rate));
}

static void speak(Conn *c) {
    next_segment(c);
    if (flush(c)) schedule_next(c);
}

static void begin(Conn *c, const char *body) {
    c->deltas = 100, c->rate = 50, c->per_segment = 1, c->said = 0;
    const char *plan = NULL;
    for (const char *at = body; (at = strstr(at, "plan ")); at++) plan = at;
    if (plan) sscanf(plan, "plan %ld %lf %ld", &c->deltas, &c->rate, &c->per_segment);
    if (c->per_segment < 1) c->per_segment = 1;
    if (c->per_segment > 8) c->per_segment = 8;
    memcpy(c->out, HEAD, sizeof HEAD - 1);
    c->out_end = sizeof HEAD - 1;
    char role[512];
    add_chunked(c, role, sprintf(role, CHUNK, "\"role\":\"assistant\",\"content\":\"\"", "null"));
    c->is_streaming = 1;
    c->begun_ns = now_ns();
    speak(c);
}

static void answer(Conn *c, const char *body) {
    if (strncmp(c->request, "GET ", 4) != 0) {
        begin(c, body);
        return;
    }
    c->out_end = sprintf(c->out,
                         "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                         "Content-Length: %zu\r\n\r\n%s",
                         sizeof MODELS - 1, MODELS);
    flush(c);
}

/* Requests. */

static void take(Conn *c) {
    ssize_t got = recv(c->fd, c->request + c->got, MAX_REQUEST - c->got - 1, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        drop(c);
        return;
    }
    c->got += got;
    c->request[c->got] = 0;
    char *end = strstr(c->request, "\r\n\r\n");
    if (!end) return;
    size_t length = 0, head = end + 4 - c->request;
    const char *field = strcasestr(c->request, "\r\ncontent-length:");
    if (field && field < end) length = strtoul(field + 17, NULL, 10);
    if (head + length >= MAX_REQUEST) {
        drop(c);
        return;
    }
    if (c->got < head + length) return;
    c->got = 0;
    answer(c, end + 4);
}

static void accept_all(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        if (fd >= MAX_FDS) {
            close(fd);
            continue;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        Conn *c = conns[fd] = calloc(1, sizeof *c);
        c->request = malloc(MAX_REQUEST);
        c->fd = fd;
        c->heap_at = -1;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(fd, (struct sockaddr *)&address, size) || listen(fd, 4096)) die("listen");
    getsockname(fd, (struct sockaddr *)&address, &size);
    printf("http://127.0.0.1:%d/v1\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

/* Each due stream writes once before the next poll of the sockets. */
static void speak_all(void) {
    long long now = now_ns();
    for (int n = heap_size; n > 0 && heap_size && heap[0]->due_ns <= now; n--) speak(heap[0]);
}

int main(int argc, char **argv) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_TIMERSLACK, 1);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(argc > 1 ? atoi(argv[1]) : 0);
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        long long wait_ns = heap_size ? heap[0]->due_ns - now_ns() : 60000000000LL;
        if (wait_ns < 0) wait_ns = 0;
        struct timespec wait = {wait_ns / 1000000000, wait_ns % 1000000000};
        int count = epoll_pwait2(poll_fd, events, EVENTS, &wait, NULL);
        for (int n = 0; n < count; n++) {
            int fd = events[n].data.fd;
            if (fd == listener) {
                accept_all(listener);
                continue;
            }
            if (conns[fd] && events[n].events & EPOLLOUT && flush(conns[fd])) schedule_next(conns[fd]);
            if (conns[fd] && events[n].events & ~EPOLLOUT) take(conns[fd]);
        }
        speak_all();
    }
}
