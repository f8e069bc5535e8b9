/* The floor: what sending costs when there is nothing but send(). One thread, one epoll, one send() for each stream.
 *
 *     ./floor PORT
 *
 * It answers what the Python apps answer, GET /events and the harness's /status, /paced and /burst, and takes every
 * request to come in one piece. The events of a burst leave together, one send() for all of them, or one by one if it
 * yields. A stream whose socket is full is closed. */
#define _GNU_SOURCE /* accept4 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FILES 20000
#define BATCH 256
#define SECOND INT64_C(1000000000) /* ns */
#define EVENT_MAX (64 * 1024)
#define BURST_MAX 1000
#define HEAD "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
#define ITEM "\"action\":\"created\",\"price\":1249.25,\"item\":\"espresso machine 2\",\"by\":\"anna.meyer\""

static int streams[FILES];  /* the sockets, without gaps */
static int place_of[FILES]; /* by socket: where it stands in `streams`, or -1 */
static int stream_count;

static struct {
    int asker; /* is answered after the last event; -1 when nothing goes on */
    int left;
    int64_t interval;
    int64_t next;
    size_t size; /* of the text in an event; 0: the usual item */
} pace = {.asker = -1};

static char buffer[BURST_MAX * 256 + EVENT_MAX];

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * SECOND + time.tv_nsec;
}

/* ---- streams ---- */

static void begin_stream(int fd)
{
    place_of[fd] = stream_count;
    streams[stream_count++] = fd;
    send(fd, HEAD, sizeof HEAD - 1, MSG_NOSIGNAL);
}

static void end(int fd)
{
    int place = place_of[fd];
    if (place >= 0) {
        streams[place] = streams[--stream_count];
        place_of[streams[place]] = place;
        place_of[fd] = -1;
    }
    close(fd);
}

static void send_to_all(const char *bytes, size_t size)
{
    for (int i = stream_count; i-- > 0;) /* whoever takes the place of one that ends has been served */
        if (send(streams[i], bytes, size, MSG_NOSIGNAL) != (ssize_t)size)
            end(streams[i]);
}

/* Writes the next event, of the time `ns`, as a chunk. Returns its size. */
static size_t write_event(char *at, int64_t ns, size_t text_size)
{
    static unsigned seq = 100000;
    static char text[EVENT_MAX], event[EVENT_MAX + 256];
    size_t size;
    if (text_size != 0) {
        memset(text, 'x', text_size);
        text[text_size] = '\0';
        size = (size_t)sprintf(event, "event: update\ndata: {\"seq\":%u,\"ts\":%jd,\"text\":\"%s\"}\n\n", seq++,
                               (intmax_t)ns, text);
    } else {
        size = (size_t)sprintf(event, "event: update\ndata: {\"seq\":%u,\"ts\":%jd," ITEM "}\n\n", seq++, (intmax_t)ns);
    }
    return (size_t)sprintf(at, "%zx\r\n%s\r\n", size, event);
}

/* ---- requests ---- */

static void answer(int fd, const char *json)
{
    char text[256];
    int size = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n%s", strlen(json), json);
    send(fd, text, (size_t)size, MSG_NOSIGNAL);
}

static void take_request(int fd, const char *request)
{
    int events, rate, size, yields;
    char status[128];
    if (strncmp(request, "GET /events ", 12) == 0) {
        begin_stream(fd);
    } else if (strncmp(request, "GET /status ", 12) == 0) {
        snprintf(status, sizeof status, "{\"pid\": %d, \"clients\": %d}", (int)getpid(), stream_count);
        answer(fd, status);
    } else if (sscanf(request, "POST /paced?events=%d&rate=%d&size=%d ", &events, &rate, &size) == 3 && rate > 0 &&
               size >= 0 && size < EVENT_MAX - 256) {
        pace.asker = fd;
        pace.left = events;
        pace.interval = SECOND / rate;
        pace.next = clock_ns(CLOCK_MONOTONIC);
        pace.size = (size_t)size;
    } else if (sscanf(request, "POST /burst?events=%d&yields=%d ", &events, &yields) == 2 && events <= BURST_MAX) {
        int64_t start = clock_ns(CLOCK_REALTIME);
        size_t filled = 0;
        for (int i = 0; i < events; i++) {
            filled += write_event(buffer + filled, start, 0);
            if (yields || i == events - 1) {
                send_to_all(buffer, filled);
                filled = 0;
            }
        }
        answer(fd, "{}");
    } else {
        end(fd);
    }
}

static void accept_all(int listener, int epoll)
{
    const int yes = 1;
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct epoll_event interest = {EPOLLIN, {.fd = fd}};
        if (fd >= FILES)
            fail("too many sockets");
        place_of[fd] = -1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &interest) < 0)
            fail("epoll_ctl");
    }
}

static void read_some(int fd)
{
    char request[4096];
    ssize_t got = recv(fd, request, sizeof request - 1, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        end(fd);
        return;
    }
    request[got] = '\0';
    take_request(fd, request);
}

/* ---- the loop ---- */

/* Sends the event that is due, if there is one. Returns how many ms to sleep at most. */
static int keep_pace(void)
{
    while (pace.asker >= 0) {
        int64_t early = pace.next - clock_ns(CLOCK_MONOTONIC);
        if (pace.left > 0 && early > 0)
            return (int)((early + SECOND / 1000 - 1) / (SECOND / 1000));
        if (pace.left-- > 0) {
            send_to_all(buffer, write_event(buffer, clock_ns(CLOCK_REALTIME), pace.size));
            pace.next += pace.interval;
        } else {
            answer(pace.asker, "{}");
            pace.asker = -1;
        }
    }
    return -1;
}

int main(int argc, char **argv)
{
    const int yes = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event notices[BATCH];
    if (argc != 2)
        return 2;
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int epoll = epoll_create1(0);
    struct epoll_event interest = {EPOLLIN, {.fd = listener}};
    if (listener < 0 || epoll < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        bind(listener, (const void *)&address, sizeof address) < 0 || listen(listener, 4096) < 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &interest) < 0)
        fail("listen");
    for (;;) {
        int count = epoll_wait(epoll, notices, BATCH, keep_pace());
        if (count < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            if (notices[i].data.fd == listener)
                accept_all(listener, epoll);
            else
                read_some(notices[i].data.fd);
        }
    }
}
