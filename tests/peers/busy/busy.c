/* TLS in memory, both ends in one process, until standard input ends: every message is compared with what was sent. It fails at the first
   that differs. busy FOLDER [confined]: with `confined`, under a filter of system calls that kills for all but a few. */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void confine(void) {
    static const int allowed[] = {SYS_read, SYS_write, SYS_poll, SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_madvise, SYS_futex,
                                  SYS_getrandom, SYS_getpid, SYS_rt_sigreturn, SYS_exit, SYS_exit_group};
    enum { COUNT = sizeof allowed / sizeof *allowed };
    struct sock_filter filter[COUNT * 2 + 2];
    int at = 0;
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int number = 0; number < COUNT; number++) {
        filter[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[number], 0, 1);
        filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {.len = at, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) exit(9);
}

int main(int count, char **words) {
    if (count < 2) return 1;
    char path[4096];
    SSL_CTX *server = SSL_CTX_new(TLS_server_method()), *client = SSL_CTX_new(TLS_client_method());
    snprintf(path, sizeof path, "%s/server.crt", words[1]);
    if (SSL_CTX_use_certificate_chain_file(server, path) != 1) return 1;
    snprintf(path, sizeof path, "%s/server.key", words[1]);
    if (SSL_CTX_use_PrivateKey_file(server, path, SSL_FILETYPE_PEM) != 1) return 1;
    SSL *near = SSL_new(client), *far = SSL_new(server);
    BIO *one, *other;
    BIO_new_bio_pair(&one, 1 << 17, &other, 1 << 17);
    SSL_set_bio(near, one, one);
    SSL_set_bio(far, other, other);
    SSL_set_connect_state(near);
    SSL_set_accept_state(far);
    for (int turn = 0; turn < 8; turn++) {
        SSL_do_handshake(near);
        SSL_do_handshake(far);
    }
    puts("busy");
    fflush(stdout);
    if (count > 2) confine();
    static char sent[4096], got[4096];
    struct pollfd input = {.fd = 0, .events = POLLIN};
    unsigned long number = 0;
    for (; number % 64 || poll(&input, 1, 0) == 0; number++) {
        int size = 1 + (int)(number * 37 % sizeof sent);
        memset(sent, (int)(number % 251), size);
        memcpy(sent, &number, size < (int)sizeof number ? size : (int)sizeof number);
        SSL *from = number % 2 ? near : far, *to = number % 2 ? far : near;
        size_t done = 0;
        if (number % 3 ? SSL_write(from, sent, size) != size : SSL_write_ex(from, sent, size, &done) != 1) return 2;
        memset(got, 0, sizeof got);
        if (number % 3 ? SSL_read_ex(to, got, sizeof got, &done) != 1 || (int)done != size : SSL_read(to, got, sizeof got) != size) return 3;
        if (memcmp(sent, got, size)) return 4;
    }
    char said[64];
    snprintf(said, sizeof said, "%lu messages\n", number);
    return write(1, said, strlen(said)) < 0;
}
