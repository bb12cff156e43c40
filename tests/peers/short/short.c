/* Many processes that live for some milliseconds, each with one call over TLS, under process numbers that come again.

   short serve FOLDER: the other end: a certificate and its key lie in FOLDER, `short_port` is written there, and each request's target to
   standard output. It ends with its standard input.
   short launch COUNT NUMBERS FIRST PORT CA PROGRAM...: COUNT processes of the PROGRAMs in turn, in a namespace of NUMBERS process numbers,
   that are FIRST and the following ones outside. Says `launcher PID`, then `process NUMBER MICROSECONDS` of each that has ended.
   short ask PORT CA NUMBER: one request; every PROGRAM is a copy of this one. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void stop(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000LL + at.tv_nsec / 1000;
}

static int serve(const char *folder) {
    char path[4096];
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    snprintf(path, sizeof path, "%s/server.crt", folder);
    if (SSL_CTX_use_certificate_chain_file(context, path) != 1) stop(path);
    snprintf(path, sizeof path, "%s/server.key", folder);
    if (SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM) != 1) stop(path);
    SSL_CTX_set_num_tickets(context, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int door = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(door, (struct sockaddr *)&at, size) || listen(door, 512) || getsockname(door, (struct sockaddr *)&at, &size)) stop("listen");
    snprintf(path, sizeof path, "%s/short_port", folder);
    FILE *port = fopen(path, "w");
    fprintf(port, "%d", ntohs(at.sin_port));
    fclose(port);
    struct pollfd both[2] = {{.fd = 0, .events = POLLIN}, {.fd = door, .events = POLLIN}};
    while (poll(both, 2, -1) > 0 && !both[0].revents) {
        int fd = accept(door, NULL, NULL);
        SSL *tls = SSL_new(context);
        SSL_set_fd(tls, fd);
        char request[1024];
        int got = SSL_accept(tls) == 1 ? SSL_read(tls, request, sizeof request - 1) : 0;
        if (got > 0) {
            static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            request[got] = 0;
            printf("%s\n", strtok(request, "\r\n"));
            SSL_write(tls, answer, sizeof answer - 1);
        }
        SSL_free(tls);
        close(fd);
    }
    return 0;
}

static int ask(const char *port, const char *authority, const char *number) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (SSL_CTX_load_verify_locations(context, authority, NULL) != 1) return 1;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&at, sizeof at)) return 2;
    SSL *tls = SSL_new(context);
    SSL_set_fd(tls, fd);
    if (SSL_connect(tls) != 1) return 3;
    char text[256];
    int size = snprintf(text, sizeof text, "GET /short/%s HTTP/1.1\r\nHost: localhost:%s\r\n\r\n", number, port);
    if (SSL_write(tls, text, size) != size) return 4;
    return SSL_read(tls, text, sizeof text) > 0 ? 0 : 5;
}

/* In the namespace: `first` is the number outside of the process with number `low` inside. */
static int launch(int count, int numbers, int first, char **words, int programs) {
    enum { LOW = 50, AT_ONCE = 3 };
    struct { pid_t pid; int number; int64_t since; } running[AT_ONCE] = {{0}};
    int failed = 0, places = numbers - LOW - 10;
    for (int number = 0, left = 0; number < count + AT_ONCE; number++) {
        int slot = number % AT_ONCE;
        if (running[slot].pid) {
            int status;
            waitpid(running[slot].pid, &status, 0);
            printf("process %d %lld\n", running[slot].number, (long long)(now() - running[slot].since));
            failed += status != 0;
            running[slot].pid = 0;
        }
        if (number >= count) continue;
        char text[16];
        snprintf(text, sizeof text, "%d", number);
        /* Somebody else may have taken one outside. */
        for (int tries = 0; !running[slot].pid; left++, tries++) {
            pid_t both[2] = {LOW + left % places, first + left % places};
            struct clone_args wanted = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)both, .set_tid_size = 2};
            int64_t since = now();
            pid_t pid = (pid_t)syscall(SYS_clone3, &wanted, sizeof wanted);
            if (pid == 0) {
                char *program = words[2 + number % programs];
                execl(program, program, "ask", words[0], words[1], text, NULL);
                _exit(9);
            }
            if (pid > 0) {
                running[slot].pid = pid;
                running[slot].number = number;
                running[slot].since = since;
            } else if (tries > places) stop("clone3");
        }
    }
    return failed ? 3 : 0;
}

int main(int count, char **words) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count == 3 && !strcmp(words[1], "serve")) return serve(words[2]);
    if (count == 5 && !strcmp(words[1], "ask")) return ask(words[2], words[3], words[4]);
    if (count < 8 || strcmp(words[1], "launch")) return 1;
    if (unshare(CLONE_NEWPID | CLONE_NEWNS)) stop("unshare");
    pid_t child = fork();
    if (child) {
        int status;
        printf("launcher %d\n", child);
        waitpid(child, &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 4;
    }
    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    if (mount("proc", "/proc", "proc", 0, NULL)) stop("mount");
    /* The namespace's own, from Linux 6.14 on. */
    int limit = open("/proc/sys/kernel/pid_max", O_WRONLY);
    if (limit < 0 || write(limit, words[3], strlen(words[3])) < 0) stop("pid_max");
    close(limit);
    return launch(atoi(words[2]), atoi(words[3]), atoi(words[4]), words + 5, count - 7);
}
