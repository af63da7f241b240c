/* The physical limit of a fan-out: one write() per client and event, and nothing else.
 *
 *   limit
 *
 * Prints the port it listens on, and answers every request with the head of an event stream. For each
 * line "<rate> <events> <apart>" of stdin, it writes <events> events to every connected client, <rate>
 * a second, in the bytes of Tickertape's native wire. With `apart` 0, it writes an event to all clients
 * at once. With 1, it spreads the writes over the time between two events. It prints "done" after the
 * last event. It has no routing, no Redis and no log.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "payload.h"

#define MAX_CLIENTS 20000

static const char HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";

static int clients[MAX_CLIENTS], client_count;
static int poller, listener, timer;
static uint64_t begin_ns, interval_ns;
static uint32_t events, turns, written; /* `turns`: the number of steps in which one event is written */

static void write_all(int fd, const char *data, size_t length) {
    while (length) {
        ssize_t n = send(fd, data, length, MSG_NOSIGNAL);
        if (n < 0) {
            struct pollfd room = {fd, POLLOUT, 0};
            if (poll(&room, 1, 1000) <= 0 || room.revents & (POLLERR | POLLHUP)) return;
            continue;
        }
        data += n, length -= (size_t)n;
    }
}

static void write_turn(uint64_t now) {
    char body[512], chunk[600];
    char payload[PAYLOAD_BYTES];
    uint32_t seq = written / turns, turn = written++ % turns;
    write_payload(payload, seq, now);
    int size = snprintf(body, sizeof body, "id: 1763856000000-%u\nevent: delta\ndata: {\"text\":\"%.*s\"}\n\n", seq + 1, PAYLOAD_BYTES, payload);
    int length = snprintf(chunk, sizeof chunk, "%x\r\n%s\r\n", size, body);
    for (int i = (int)turn; i < client_count; i += (int)turns) write_all(clients[i], chunk, (size_t)length);
}

static void set_timer(uint64_t at_ns) {
    struct itimerspec when = {{0, 0}, {(time_t)(at_ns / 1000000000u), (long)(at_ns % 1000000000u)}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void on_timer(void) {
    uint64_t expirations;
    if (read(timer, &expirations, sizeof expirations) < 0) return;
    uint32_t all = events * turns;
    while (written < all && begin_ns + written * interval_ns <= now_ns()) write_turn(now_ns());
    if (written < all) {
        set_timer(begin_ns + written * interval_ns);
    } else {
        puts("done"), fflush(stdout);
    }
}

static void on_command(void) {
    char line[100];
    double rate;
    int apart;
    if (!fgets(line, sizeof line, stdin)) exit(0);
    if (sscanf(line, "%lf %u %d", &rate, &events, &apart) != 3) exit(1);
    turns = apart && client_count ? (uint32_t)client_count : 1;
    interval_ns = (uint64_t)(1e9 / rate / turns);
    written = 0;
    begin_ns = now_ns() + interval_ns;
    set_timer(begin_ns);
}

static void watch(int fd) {
    struct epoll_event want = {EPOLLIN, {.fd = fd}};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &want);
}

static void on_connection(void) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(fd);
    }
}

static void on_client(int fd) {
    char request[4096];
    ssize_t n = recv(fd, request, sizeof request, 0);
    if (n > 4 && !memcmp(request + n - 4, "\r\n\r\n", 4) && client_count < MAX_CLIENTS) {
        write_all(fd, HEAD, sizeof HEAD - 1);
        clients[client_count++] = fd;
    } else if (n <= 0) {
        for (int i = 0; i < client_count; i++)
            if (clients[i] == fd) clients[i--] = clients[--client_count];
        close(fd);
    }
}

int main(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof at;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listener, (struct sockaddr *)&at, size) || listen(listener, 4096)) return perror("listen"), 1;
    getsockname(listener, (struct sockaddr *)&at, &size);
    printf("%d\n", ntohs(at.sin_port)), fflush(stdout);
    poller = epoll_create1(0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    watch(listener), watch(timer), watch(0);
    for (struct epoll_event ready[512];;) {
        int n = epoll_wait(poller, ready, 512, -1);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (fd == listener) on_connection();
            else if (fd == timer) on_timer();
            else if (fd == 0) on_command();
            else on_client(fd);
        }
    }
}
