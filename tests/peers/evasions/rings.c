/* Socket traffic through io_uring. rings direct PORT NAME: plain HTTP on a socket that is in the ring's own table alone, the kernel's
   thread takes the submissions, and the ring's descriptor is registered and closed. rings fixed PORT NAME: buffers registered. rings tls
   PORT NAME: OpenSSL in memory, its records through the ring. */
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SIZE = 1 << 16 };

static int ring, enter_flags, polled;
static uint32_t *sq_tail, *sq_mask, *sq_array, *sq_flags, *cq_head, *cq_tail, *cq_mask;
static struct io_uring_sqe *sqes;
static struct io_uring_cqe *cqes;
static char buffer[SIZE];

static void stop(const char *what) {
    perror(what);
    exit(1);
}

static int pass(struct io_uring_sqe wanted) {
    uint32_t tail = *sq_tail, index = tail & *sq_mask;
    sqes[index] = wanted;
    sq_array[index] = index;
    __atomic_store_n(sq_tail, tail + 1, __ATOMIC_RELEASE);
    unsigned flags = IORING_ENTER_GETEVENTS | enter_flags;
    if (polled && (__atomic_load_n(sq_flags, __ATOMIC_ACQUIRE) & IORING_SQ_NEED_WAKEUP)) flags |= IORING_ENTER_SQ_WAKEUP;
    uint32_t head = *cq_head;
    if (syscall(SYS_io_uring_enter, ring, polled ? 0 : 1, 1, flags, NULL, 0) < 0) stop("io_uring_enter");
    while (head == __atomic_load_n(cq_tail, __ATOMIC_ACQUIRE)) usleep(100);
    int result = cqes[head & *cq_mask].res;
    __atomic_store_n(cq_head, head + 1, __ATOMIC_RELEASE);
    return result;
}

static void make(unsigned flags) {
    struct io_uring_params p;
    memset(&p, 0, sizeof p);
    p.flags = flags;
    p.sq_thread_idle = 100;
    ring = (int)syscall(SYS_io_uring_setup, 8, &p);
    if (ring < 0) stop("io_uring_setup");
    polled = (flags & IORING_SETUP_SQPOLL) != 0;
    size_t sq_size = p.sq_off.array + p.sq_entries * 4, cq_size = p.cq_off.cqes + p.cq_entries * sizeof *cqes;
    char *sq = mmap(0, sq_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
    char *cq = mmap(0, cq_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_CQ_RING);
    sqes = mmap(0, p.sq_entries * sizeof *sqes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
    sq_tail = (uint32_t *)(sq + p.sq_off.tail);
    sq_mask = (uint32_t *)(sq + p.sq_off.ring_mask);
    sq_array = (uint32_t *)(sq + p.sq_off.array);
    sq_flags = (uint32_t *)(sq + p.sq_off.flags);
    cq_head = (uint32_t *)(cq + p.cq_off.head);
    cq_tail = (uint32_t *)(cq + p.cq_off.tail);
    cq_mask = (uint32_t *)(cq + p.cq_off.ring_mask);
    cqes = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
}

static struct sockaddr_in peer(const char *port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return to;
}

static int request(char *place, const char *name, int number) {
    char body[2000];
    memset(body, 'r', sizeof body);
    int head = sprintf(place, "POST /echo?trick=%s&n=1500&number=%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n", name, number);
    memcpy(place + head, body, sizeof body);
    return head + (int)sizeof body;
}

static void ready(void) {
    printf("hidden %d\n", getpid());
    fflush(stdout);
}

/* Takes one answer of the stand-in: a head and 1500 bytes. */
static void answer(int fd, int flags) {
    int got = 0;
    while (got < 1500) {
        int more = pass((struct io_uring_sqe){.opcode = IORING_OP_RECV, .fd = fd, .flags = flags, .addr = (uintptr_t)buffer, .len = SIZE});
        if (more <= 0) stop("recv");
        got += more;
    }
}

static void direct(const char *port, const char *name) {
    struct sockaddr_in to = peer(port);
    make(IORING_SETUP_SQPOLL);
    int none[4] = {-1, -1, -1, -1};
    if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, none, 4) < 0) stop("register files");
    struct io_uring_rsrc_update own = {.offset = -1U, .data = ring};
    if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_RING_FDS, &own, 1) != 1) stop("register ring");
    close(ring);
    ring = (int)own.offset;
    enter_flags = IORING_ENTER_REGISTERED_RING;
    /* A socket in place 0 of the table (file_index counts from 1). */
    if (pass((struct io_uring_sqe){.opcode = IORING_OP_SOCKET, .fd = AF_INET, .off = SOCK_STREAM, .file_index = 1}) < 0) stop("socket");
    if (pass((struct io_uring_sqe){.opcode = IORING_OP_CONNECT, .flags = IOSQE_FIXED_FILE, .addr = (uintptr_t)&to, .off = sizeof to}) < 0)
        stop("connect");
    ready();
    for (int number = 0; number < 10; number++) {
        int size = request(buffer, name, number);
        if (pass((struct io_uring_sqe){.opcode = IORING_OP_SEND, .flags = IOSQE_FIXED_FILE, .addr = (uintptr_t)buffer, .len = size}) != size)
            stop("send");
        answer(0, IOSQE_FIXED_FILE);
        sleep(1);
    }
}

static void fixed(const char *port, const char *name) {
    struct sockaddr_in to = peer(port);
    make(0);
    struct iovec all = {buffer, SIZE};
    if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &all, 1) < 0) stop("register buffers");
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) stop("connect");
    /* One honest call, so that the socket is known. */
    int size = request(buffer, name, -1);
    if (write(fd, buffer, size) != size || read(fd, buffer, SIZE) <= 0) stop("write");
    usleep(300000);
    if (recv(fd, buffer, SIZE, MSG_DONTWAIT) == 0) stop("read");
    ready();
    for (int number = 0; number < 10; number++) {
        size = request(buffer, name, number);
        if (pass((struct io_uring_sqe){.opcode = IORING_OP_WRITE_FIXED, .fd = fd, .addr = (uintptr_t)buffer, .len = size}) != size)
            stop("write fixed");
        answer(fd, 0);
        sleep(1);
    }
}

static void flush(BIO *out, int fd) {
    int size;
    while ((size = BIO_read(out, buffer, SIZE)) > 0)
        if (pass((struct io_uring_sqe){.opcode = IORING_OP_SEND, .fd = fd, .addr = (uintptr_t)buffer, .len = size}) != size) stop("send");
}

static void fill(BIO *in, int fd) {
    int size = pass((struct io_uring_sqe){.opcode = IORING_OP_RECV, .fd = fd, .addr = (uintptr_t)buffer, .len = SIZE});
    if (size <= 0) stop("recv");
    BIO_write(in, buffer, size);
}

static void tls(const char *port, const char *name) {
    struct sockaddr_in to = peer(port);
    make(0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (pass((struct io_uring_sqe){.opcode = IORING_OP_CONNECT, .fd = fd, .addr = (uintptr_t)&to, .off = sizeof to}) < 0) stop("connect");
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);
    while (SSL_do_handshake(ssl) != 1) {
        flush(out, fd);
        fill(in, fd);
    }
    flush(out, fd);
    ready();
    static char text[SIZE];
    for (int number = 0; number < 10; number++) {
        int size = request(text, name, number), got = 0, more;
        if (SSL_write(ssl, text, size) != size) stop("SSL_write");
        flush(out, fd);
        while (got < 1500) {
            while ((more = SSL_read(ssl, text, SIZE)) > 0) got += more;
            if (got < 1500) fill(in, fd);
        }
        sleep(1);
    }
}

int main(int count, char **words) {
    if (count != 4) return 1;
    if (!strcmp(words[1], "direct")) direct(words[2], words[3]);
    else if (!strcmp(words[1], "fixed")) fixed(words[2], words[3]);
    else tls(words[2], words[3]);
    return 0;
}
